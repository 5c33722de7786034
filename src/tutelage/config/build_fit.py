"""From configuration, data and method to the parts of a fit: gold rows, loaders, stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tutelage.config.schema import RunConfig
from tutelage.data.dataset import Dataset
from tutelage.data.growing import NO_GUIDE, GrowingDataModule
from tutelage.data.pool import Pool
from tutelage.data.training_view import RoundView
from tutelage.errors import ConfigError
from tutelage.methods.base import (
    Method,
    MethodContext,
    OnPhase,
    class_name_rows,
    drawn_pool,
    follows_mistakes,
)
from tutelage.ranks import Ranks
from tutelage.records import Example, Outcome, Row, derive_seed
from tutelage.selectors.protocol import PoolView
from tutelage.student.module import StudentModule
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import Teacher
from tutelage.timeline import Timeline


def timeline(config: RunConfig) -> Timeline:
    """Returns the lengths of the stages."""
    training = config.training
    # Only a method that aims at mistakes runs out of them.
    aims = follows_mistakes(config.method.get("feedback")) and training.predict_then_train
    return Timeline(
        training.start_epochs,
        training.round_epochs,
        training.final_epochs,
        training.patience,
        config.evaluate.test_every_round,
        training.start_max_steps,
        training.round_max_steps,
        training.final_max_steps,
        training.stop_after_empty,
        training.stop_after_empty if aims else 0,
    )


def new_students(config: RunConfig) -> tuple[str, ...]:
    """Returns the stages that a new student starts in."""
    later = {"round": config.training.round_student, "final": config.training.final_student}
    return ("start", *(stage for stage, student in later.items() if student == "new"))


def keeps_best(config: RunConfig, method: Method) -> bool:
    """Returns whether the run ends with the student that scored best on dev.

    A method without rounds has one student only.
    """
    return config.training.keep == "best" and method.rounds > 0


def check_gold(
    config: RunConfig, module: StudentModule, shots: Sequence[Example], *, has_others: bool
) -> None:
    """Refuses a selector or a loss that compares with gold rows where there will be none.

    It does so before the teacher is paid for the others.

    Args:
        has_others: whether the method adds rows to the gold ones.

    Raises:
        ConfigError: there will be no gold rows.
    """
    names = config.student.class_names
    by_given = module.loss.needs_guide and module.loss.guide_from == "given"
    without = not config.shots and not config.data.get("gold")
    if by_given and not names and (config.training.gold == "none" or without):
        raise ConfigError(NO_GUIDE)
    needs = module.selector.needs
    compares = "gradients" in needs or ("confirmed" in needs and not names)
    if not has_others or not compares:
        return
    select = config.hydra.choices.get("select") or config.select.kind
    trains_on_shots = config.method.get("train_on_shots", True)
    others = "choose another select="
    if "confirmed" in needs:
        others = f"student.class_names=true (for classes), or {others}"
    if not shots:
        why = "shots=0 gives none"
        if config.training.gold == "none":
            why = "training.gold=none keeps them from the run"
        needed = ["shots=1 or more", "training.gold=shots"]
        needed += [] if trains_on_shots else ["method.train_on_shots=true"]
        raise ConfigError(
            f"select={select} compares rows with gold ones, and {why}; give "
            f"{', '.join(needed[:-1])} and {needed[-1]}, or {others}."
        )
    if not trains_on_shots:
        raise ConfigError(
            f"select={select} compares rows with the gold ones that are trained on, and "
            f"method={config.method_name} trains on none; give method.train_on_shots=true, or "
            f"{others}."
        )


def class_names_of(config: RunConfig, task: Task) -> list[Row]:
    """Returns the rows of ``student.class_names``; none where it is off.

    Raises:
        ConfigError: The task has no classes of whole texts.
    """
    if not config.student.class_names:
        return []
    if task.head != "sequence":
        raise ConfigError(
            "student.class_names=true trains on the names of classes as texts of these classes, "
            "and the name of an entity type is no entity. Give student.class_names=false."
        )
    return class_name_rows(task.labels)


def guide_for(config: RunConfig, dataset: Dataset, names: Sequence[Row]) -> tuple[Example, ...]:
    """Returns what guides a loss that reweighs rows: the shots, then the class names."""
    class_names = (Example(row.id, row.text, row.target) for row in names)
    return (*_shots(config, dataset), *class_names)


def gold_for(config: RunConfig, dataset: Dataset) -> tuple[Example, ...]:
    """Returns the gold labels that a run's method may use: shots, the whole pool, or none."""
    if config.training.gold == "pool":
        return dataset.supervised()
    return _shots(config, dataset)


def _shots(config: RunConfig, dataset: Dataset) -> tuple[Example, ...]:
    return () if config.training.gold == "none" else dataset.shots(config.shots, config.seed)


def method_context(
    config: RunConfig,
    dataset: Dataset,
    task: Task,
    pool: Pool,
    shots: tuple[Example, ...],
    teacher: Teacher | None,
    on_phase: OnPhase,
    on_reply: Callable[[Any], None],
    view_pool: Callable[[Sequence[str], Sequence[str]], PoolView],
    predict: Callable[[Sequence[Row]], Sequence[Outcome]],
    class_names: Sequence[Row] = (),
) -> MethodContext:
    """Returns what a method is given; the unlabelled pool's gold labels are left behind here."""
    held_out = [
        (split, example.text)
        for split, examples in (("dev", dataset.dev), ("test", dataset.test))
        for example in examples
    ]
    return MethodContext(
        task,
        pool,
        shots,
        dataset.pool,
        dataset.dev,
        tuple(held_out),
        config.seed,
        teacher,
        on_phase,
        on_reply,
        view_pool,
        predict,
        tuple(class_names),
    )


def drawn_from(method: Method, dataset: Dataset) -> int:
    """Returns how many unlabelled texts the method may draw from; 0 where it draws from none."""
    settings = getattr(method, "settings", None)
    if settings is None or not hasattr(settings, "pool_size"):
        return 0
    return min(len(dataset.pool), settings.pool_size or len(dataset.pool))


def unlabelled_texts(config: RunConfig, method: Method, dataset: Dataset) -> list[str]:
    """Returns the unlabelled texts that a run may use: those that the method draws from, or all."""
    size = getattr(getattr(method, "settings", None), "pool_size", None)
    return [example.text for example in drawn_pool(dataset.pool, size, config.seed)]


def round_view(config: RunConfig, source: str) -> RoundView:
    """Returns the view that chooses the rows of each epoch.

    Args:
        source: What gives a run its first rows where it is neither shots nor the pool.

    Raises:
        ConfigError: A new student per round would learn from the rows of its round alone.
    """
    training = config.training
    if training.round_student == "new" and training.train_on != "all":
        raise ConfigError(
            f"training.round_student=new forgets the rows before, and training.train_on="
            f"{training.train_on} shows each round its own alone. Give training.train_on=all, or "
            "training.round_student=trained."
        )
    sources = {"shots": f"shots={config.shots}", "pool": "the pool's gold labels"}
    return RoundView(
        training.train_on,
        training.gold_repeats,
        training.review_every,
        training.review_size,
        config.seed,
        sources.get(training.gold, source),
    )


def growing_data(
    config: RunConfig,
    task: Task,
    pool: Pool,
    tokenizer: Any,
    view: RoundView,
    *,
    dev: Sequence[Example] = (),
    test: Sequence[Example] = (),
    guide: Sequence[Example] = (),
    texts: Sequence[str] = (),
    ranks: Ranks,
) -> GrowingDataModule:
    """Returns the loaders over a growing pool; followers of rank 0 have the training rows alone."""
    return GrowingDataModule(
        pool,
        task,
        tokenizer,
        dev,
        test,
        guide,
        texts,
        batch_size=config.student.batch_size,
        eval_batch_size=config.student.eval_batch_size,
        max_length=config.student.max_length,
        seed=derive_seed("order", config.seed, bits=31),
        view=view,
        ranks=ranks,
    )
