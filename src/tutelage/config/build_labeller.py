"""From the configuration to the labeller and its calibrator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tutelage.config.build import build
from tutelage.config.build_student import build_encoder
from tutelage.config.build_teacher import build_prompts
from tutelage.config.check import declared, locate
from tutelage.config.schema import RunConfig
from tutelage.errors import ConfigError
from tutelage.labelling.base import Labeller, Nearest
from tutelage.labelling.calibration import Calibrator
from tutelage.labelling.calibration_prior import shares_by_name
from tutelage.labelling.ensemble import MemberTeacher
from tutelage.labelling.showing import Embed
from tutelage.records import Example
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import Teacher
from tutelage.teacher.prompts import PromptSet
from tutelage.teacher.wrappers.routing import NamedTeacher, others_of


def build_labeller(
    config: RunConfig,
    prompts: PromptSet,
    task: Task,
    teacher: Teacher,
    demonstrations: Sequence[Example],
    nearest: Nearest | None = None,
    embed: Embed | None = None,
) -> Labeller:
    """Builds the labeller, with its own calibrator.

    See :class:`tutelage.labelling.base.NewLabeller`.

    Args:
        embed: embeds texts; None loads the student's encoder where it is needed.

    Raises:
        ConfigError: the labelling is for another task.
    """
    # Before it reads the shots, whose labels have the form of the task's own.
    made = locate(config.labelling.target, "labelling")
    _check_labelling(config, task, getattr(_made_by(made), "is_token_level", None))
    names = [label.name for label in task.labels]
    more = {
        "embed": embed or build_encoder(config),
        "seed": config.seed,
        "open_teacher": partial(_member_teacher, config, prompts, teacher, names),
    }
    takes = declared(made)
    labeller: Labeller = build(
        config.labelling,
        "labelling",
        teacher=teacher,
        labels=task.labels,
        prompts=prompts,
        shots=demonstrations,
        calibrator=build_calibrator(config, prompts, names),
        nearest=nearest,
        **{name: value for name, value in more.items() if takes.open or name in takes.types},
    )
    _check_labelling(config, task, labeller.is_token_level)
    return labeller


def _member_teacher(
    config: RunConfig, prompts: PromptSet, teacher: Teacher, names: Sequence[str], name: str
) -> MemberTeacher:
    """Returns a teacher of ``labelling.teachers``, with prompts and a calibrator that suit it."""
    own = others_of(teacher)[name]
    fitted = build_prompts(config, own.engine, own.teacher)
    # Texts that any of the teachers sees cut are counted together.
    fitted.cut = prompts.cut
    return MemberTeacher(
        name,
        NamedTeacher(name, teacher, own.teacher),
        fitted,
        build_calibrator(config, fitted, names),
    )


def build_calibrator(config: RunConfig, prompts: PromptSet, names: Sequence[str]) -> Calibrator:
    """Builds a calibrator of conf/calibration for the teacher that the prompts are fitted to.

    Args:
        names: names of the labels, in order, for a prior by name.
    """
    takes = declared(locate(config.calibration.target, "calibration"))
    given: dict[str, Any] = {}
    if "suits_chat" in takes.types:
        given["suits_chat"] = prompts.suits_chat
    if "labels" in takes.types:
        given["labels"] = len(names)
    component = config.calibration
    if isinstance(prior := component.get("prior"), Mapping):
        shares = shares_by_name(prior, names)
        component = replace(component, settings={**component.settings, "prior": shares})
    calibrator: Calibrator = build(component, "calibration", **given)
    return calibrator


def _made_by(target: Any) -> Any:
    """The class that a class or a function builds; None where a function does not say it."""
    import inspect
    import typing

    if inspect.isclass(target):
        return target
    try:
        return typing.get_type_hints(target).get("return")
    except (NameError, TypeError):  # names that only a type checker imports
        return None


def _check_labelling(config: RunConfig, task: Task, marks: Any) -> None:
    """Refuses a labelling that marks entities where the task has classes, or the reverse.

    Args:
        marks: whether it marks entities; anything but true and false is not known yet.
    """
    if isinstance(marks, bool) and marks != task.is_token_level:
        raise ConfigError(
            f"labelling={config.hydra.choices.get('labelling')} labels "
            f"{'entities' if marks else 'whole texts'}, and task={task.name} "
            "does not. Leave labelling out, or choose one for the task."
        )
