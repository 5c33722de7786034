"""What a fit asks before the teacher is paid, and how a method sees texts in it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.helpers.classification import NAMES, TASK, WordTeacher, make_text, obliging
from tests.helpers.methods import freeal, llmaaa
from tests.helpers.ner import TYPES
from tests.helpers.pool import method_arguments, pool_context
from tests.helpers.tiny_student import tiny_encoder, tiny_network, tiny_tokenizer

from tutelage.config.build_fit import check_gold, class_names_of, guide_for, keeps_best
from tutelage.config.compose import compose_config
from tutelage.errors import ConfigError
from tutelage.interruption import Interrupted, Interruption
from tutelage.labelling.calibration import TemperatureCalibration
from tutelage.records import Example, Feedback
from tutelage.run import _gold
from tutelage.selectors.confirmed import Confirmed
from tutelage.selectors.row_selection import EveryRow, GradientSimilarity
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.meta import MetaReweightedLoss, SunGenLoss
from tutelage.student.module import StudentModule
from tutelage.student.pool_view import PredictionCache
from tutelage.student.schedule import RateSchedule
from tutelage.tasks.ner import NerTask
from tutelage.training import pool_viewer

NOTHING = Feedback(0, (), {})
SHOTS = (Example("shot", "a text", NAMES[0]),)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def student(encoder: Path) -> StudentModule:
    rates = {"learning_rate": 1e-3, "head_learning_rate": 1e-1, "weight_decay": 0.0}
    return StudentModule(
        tiny_network(encoder),
        TASK,
        CrossEntropyLoss(),
        RateSchedule(),
        EveryRow(),
        batch_size=4,
        **rates,
    )


COMPARING = {"gradient_similarity": GradientSimilarity, "select=confirmed": Confirmed}
GUIDED = {"loss=meta": MetaReweightedLoss, "loss=sungen": SunGenLoss}


def checked(*overrides: str, shots: tuple[Example, ...] = SHOTS, asks_teacher: bool = True) -> None:
    config = compose_config([*overrides])
    chosen = " ".join(overrides)
    module: Any = SimpleNamespace(
        loss=next((made() for name, made in GUIDED.items() if name in chosen), CrossEntropyLoss()),
        selector=next((made() for name, made in COMPARING.items() if name in chosen), EveryRow()),
    )
    check_gold(
        config,
        module,
        () if "gold=none" in chosen or "zerogen" in chosen else shots,
        has_others=asks_teacher,
    )


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            "method=zerogen loss=meta",
            r"loss=meta .* this run has none: set shots=1 or more and training\.gold=shots",
        ),
        (
            "method=llkd training.gold=none loss=meta",
            r"training\.gold=shots \(training\.gold=none hides the shots from the run\)",
        ),
        ("method=llkd shots=0 loss=meta", r"set shots=1 or more"),
        (
            "method=full_pool select=gradient_similarity",
            r"method=full_pool trains on none; give method\.train_on_shots=true",
        ),
        (
            "method=full_pool method.train_on_shots=true training.gold=none "
            "select=gradient_similarity",
            r"training\.gold=none keeps them from the run; give shots=1 or more and "
            r"training\.gold=shots",
        ),
        (
            "method=full_pool select=confirmed",
            r"method=full_pool trains on none; give method\.train_on_shots=true",
        ),
        (
            "method=zerogen select=gradient_similarity",
            r"training\.gold=none keeps them from the run",
        ),
    ],
)
def test_what_needs_gold_rows_and_will_see_none_is_refused_with_the_setting_that_gives_some(
    overrides: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        checked(*overrides.split())


@pytest.mark.parametrize("method", ["evokd", "pgkd"])  # pgkd has a patience, which uses dev anyway
def test_which_student_is_kept_is_checked_before_anything_is_written(method: str) -> None:
    with pytest.raises(ConfigError, match=r"Unknown training\.keep 'bets'\. Did you mean 'best'"):
        compose_config([f"method={method}", "training.keep=bets"])


def test_the_best_student_is_kept_where_there_are_rounds_and_dev_labels_count_as_used() -> None:
    grows: Any = SimpleNamespace(rounds=3)
    grows_not: Any = SimpleNamespace(rounds=0)
    dataset: Any = SimpleNamespace(dev=range(5), shots=lambda count, seed: range(count))
    for overrides, method, keeps, dev in (
        ([], grows, False, 0),
        (["training.keep=best"], grows, True, 5),
        (["training.keep=best"], grows_not, False, 0),
        (["training.patience=3"], grows, False, 5),
        (["method.scores_from=dev"], grows, False, 5),
        (["method=pgkd"], grows, True, 5),
    ):
        config = compose_config(overrides)
        assert keeps_best(config, method) is keeps
        assert _gold(config, dataset, method, None) == {"shots": 1, "dev": dev, "calibration": 0}


def test_no_shots_are_no_gold_rows() -> None:
    with pytest.raises(ConfigError, match=r"shots=0 gives none"):
        checked("method=evokd", "shots=0", "select=gradient_similarity", shots=())


@pytest.mark.parametrize(
    "overrides",
    [
        "method=zerogen",
        "method=llkd loss=meta",
        "method=zerogen loss=sungen",
        "method=full_pool method.train_on_shots=true select=gradient_similarity",
        "method=evokd select=gradient_similarity",
        "method=full_pool student.class_names=true select=confirmed",
        "method=zerogen student.class_names=true loss=meta",
    ],
)
def test_what_has_its_gold_rows_is_let_through(overrides: str) -> None:
    checked(*overrides.split())


def test_shots_and_class_names_guide_a_loss_that_reweighs_rows() -> None:
    dataset: Any = SimpleNamespace(shots=lambda count, seed: SHOTS[:count])
    config = compose_config(["shots=1", "student.class_names=true"])
    names = class_names_of(config, TASK)
    guide = guide_for(config, dataset, names)
    assert guide[:1] == SHOTS[:1]
    assert [(one.text, one.label) for one in guide[1:]] == [(row.text, row.target) for row in names]
    hidden = compose_config(["shots=1", "training.gold=none"])
    assert guide_for(hidden, dataset, names) == guide[1:]
    assert guide_for(hidden, dataset, ()) == ()


def test_entity_types_have_no_names_to_learn_from() -> None:
    config = compose_config(["student.class_names=true"])
    assert {row.target for row in class_names_of(config, TASK)} == {*NAMES}
    assert class_names_of(compose_config([]), TASK) == []
    with pytest.raises(ConfigError, match=r"student\.class_names=false"):
        class_names_of(config, NerTask(TYPES))


def test_the_ceiling_has_gold_rows_though_the_method_trains_on_none() -> None:
    checked(
        "method=full_pool",
        "training.gold=pool",
        "select=gradient_similarity",
        asks_teacher=False,
    )


class Told:
    """A progress reporter that counts, and interrupts the run after some chunks."""

    def __init__(self, interruption: Interruption, stop_after: int = 10**9) -> None:
        self.chunks: list[tuple[int, int]] = []
        self._interruption, self._stop_after = interruption, stop_after

    def progress(self, done: int, total: int) -> None:
        self.chunks.append((done, total))
        self._interruption.asked = len(self.chunks) >= self._stop_after


def test_a_look_at_the_pool_stops_after_the_chunk_in_which_it_is_asked_to(
    student: StudentModule,
) -> None:
    interruption = Interruption()
    told: Any = Told(interruption, stop_after=2)
    view_pool = pool_viewer(
        compose_config([]), student, tiny_tokenizer(), PredictionCache(), told, interruption
    )
    view: Any = view_pool([make_text(NAMES[n % 3], n) for n in range(10)], [])
    view._chunk = 3
    with pytest.raises(Interrupted, match="Stopped on request"):
        view.probabilities()
    assert told.chunks == [(3, 10), (6, 10)]
    assert student.training, "what was begun is put back"


def texts_seen(student: StudentModule) -> list[int]:
    """Rows of each pass of the student from now on."""
    passed: list[int] = []
    student.network.register_forward_hook(
        lambda _module, _inputs, output: passed.append(len(output.logits))
    )
    return passed


@pytest.mark.parametrize(
    "calibrator", [None, TemperatureCalibration], ids=["plain", "fitted on dev"]
)
@pytest.mark.parametrize("method", ["freeal", "llmaaa"])
def test_no_text_is_run_through_the_student_twice_in_a_round(
    tmp_path: Path, student: StudentModule, method: str, calibrator: Any
) -> None:
    interruption = Interruption()
    seen, told = PredictionCache(), Told(interruption)
    given: Any = told
    view_pool = pool_viewer(
        compose_config([]), student, tiny_tokenizer(), seen, given, interruption
    )
    build: Any = freeal if method == "freeal" else llmaaa
    own: dict[str, Any] = (
        {"a_class": 2, "nearest": 3, "threshold": 0.7}
        if method == "freeal"
        else {"demonstrations": 2}
    )
    sizes: dict[str, Any] = (
        {"rounds": 2, "n_texts": None}
        if method == "freeal"
        else {"first": 4, "rounds": 2, "n_texts": 3}
    )
    one = build(**method_arguments(method, calibrator=calibrator, **sizes, **own))
    pool = [
        Example(f"pool-{name}-{n}", make_text(name, 8000 + n)) for n in range(10) for name in NAMES
    ]
    method_context = pool_context(
        tmp_path, WordTeacher(obliging), student=view_pool, unlabelled=tuple(pool)
    )
    one.setup(method_context)
    passed = texts_seen(student)
    method_context.pool.append(one.first_rows().rows)
    dev = len(method_context.dev) if calibrator else 0
    assert sum(passed) == (0 if method == "freeal" else dev + 4 + len(method_context.shots))
    seen.forget()
    passed.clear()
    labelled = one.next_rows(NOTHING, 1).rows
    assert labelled, "some texts were acquired"
    # FreeAL sees the whole pool, dev again where demonstrations are chosen anew, and acquires among
    # the rest; LLMaAA acquires among the texts without a label and then finds the neighbours of the
    # chosen ones.
    assert sum(passed) == (len(pool) + dev if method == "freeal" else len(pool) - 4) + len(
        method_context.shots
    )
