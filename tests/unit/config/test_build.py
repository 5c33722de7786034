"""From configuration to objects: what cannot be built says why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from pytorch_lightning import Callback
from tests.helpers.classification import WordTeacher, obliging

from tutelage.config.build import build, build_callbacks, build_loggers, build_mirrors, task_class
from tutelage.config.build_labeller import build_labeller
from tutelage.config.build_method import build_method
from tutelage.config.build_student import build_student
from tutelage.config.build_teacher import build_stack, shares_engine
from tutelage.config.compose import compose_config
from tutelage.config.schema import Component
from tutelage.errors import ConfigError
from tutelage.ranks import Ranks
from tutelage.records import Label
from tutelage.tasks.classification import ClassificationTask
from tutelage.tasks.ner import NerTask

HERE = "tests.unit.config.test_build"


@dataclass(frozen=True)
class Settings:
    size: int
    name: str = "mine"


class Sized:
    settings_type = Settings

    def __init__(self, settings: Settings, extra: str = "") -> None:
        self.settings, self.extra = settings, extra


class Strict:
    def __init__(self, size: int) -> None:
        raise TypeError("a size is needed that fits")


class Counting(Callback):
    def __init__(self, step: int = 1) -> None:
        self.step = step


class NoMirror:
    def __init__(self, folder: Path, resume: bool) -> None:
        pass


class Mirror(NoMirror):
    opened: tuple[str, ...] = ()

    def __enter__(self) -> None:
        Mirror.opened = (*Mirror.opened, "in")

    def __exit__(self, *_: object) -> None:
        Mirror.opened = (*Mirror.opened, "out")


def test_the_task_chooses_prompt_student_labelling_and_calibration() -> None:
    config = compose_config(["task=ner", "data=wikigold"])
    assert "extract" in config.prompt.settings["chat"]
    assert config.student.learning_rate == 2e-4
    assert config.labelling.kind == "span_verifier"
    assert config.calibration.kind == "BatchCalibration"
    other = compose_config([])
    assert "extract" not in other.prompt.settings["chat"]
    assert (other.labelling.kind, other.calibration.kind) == ("TextLabeller", "suited_calibration")


def test_what_is_given_needs_no_configuration() -> None:
    config = compose_config(["task=ner", "data=wikigold"])
    task = build(config.task, "task", labels=())
    assert isinstance(task, NerTask)
    assert task.outputs == ("O",)
    assert task_class(config) is NerTask


def test_a_target_with_a_settings_dataclass_is_given_one() -> None:
    built = build(Component(f"{HERE}.Sized", {"size": 3}), "mine", extra="more")
    assert (built.settings, built.extra) == (Settings(3), "more")


def test_what_refuses_its_settings_is_named_with_its_own_words() -> None:
    with pytest.raises(
        ConfigError,
        match=rf"mine={HERE}\.Strict could not be built: a size is needed that fits\.",
    ):
        build(Component(f"{HERE}.Strict", {"size": 3}), "mine")
    with pytest.raises(ConfigError, match=r"mine\._target_=no\.such\.Thing cannot be imported"):
        build(Component("no.such.Thing", {}), "mine")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            "method=llkd accept=scored",
            "accept=scored decides about generated texts, and method=llkd has no such stage",
        ),
        (
            "method=evokd acquire=badge",
            "method=evokd with method.feedback=generated labels no pool text, so the acquire",
        ),
        ("method=shots acquire=badge", "method=shots has no such stage. Leave it out, or give "),
        (
            "method=evokd accept=none",
            "method=evokd needs a selector that decides about generated texts: give accept=…",
        ),
        (
            "method=llkd acquire=none",
            "method=llkd needs a selector that chooses texts of the unlabelled pool",
        ),
        (
            "method=llkd acquire=badge",
            "method=llkd has 0 rounds, so it labels its texts before there is a student, and "
            "acquire=badge would never be asked. Give method.rounds=4",
        ),
        ("method=llmaaa method.rounds=0 acquire=entropy", "acquire=entropy would never be asked"),
    ],
)
def test_a_selector_for_a_stage_that_the_method_has_not_is_refused(
    overrides: str, said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        build_method(compose_config(overrides.split()))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "overrides",
    [
        "method=llkd acquire=random",
        "method=llmaaa method.rounds=0",
        "method=llkd acquire=badge method.rounds=1 method.n_texts=5 method.first=5",
        "method=llkd_on_demand acquire=badge",
        "method=evokd accept=agreement",
        "method=shots select=surest",
    ],
)
def test_a_selector_of_a_stage_of_the_method_is_taken(overrides: str) -> None:
    build_method(compose_config(overrides.split()))


def test_the_method_s_labeller_is_of_the_run_s_task() -> None:
    labels = (Label("PER", "person", "people"), Label("LOC", "place", "places"))
    teacher = WordTeacher(obliging)
    for overrides, said in (
        (
            "task=ner data=wikigold labelling=text",
            "labelling=text labels whole texts, and task=ner",
        ),
        ("labelling=verify", "labelling=verify labels entities, and task=classification does not"),
    ):
        config = compose_config(overrides.split())
        task = build(config.task, "task", labels=labels)
        with pytest.raises(ConfigError, match=said):
            build_labeller(config, build(config.prompt, "prompt"), task, teacher, ())


def test_an_engine_of_its_own_process_is_shared_and_has_a_log_in_the_run_s_folder(
    tmp_path: Path,
) -> None:
    assert shares_engine(compose_config([]))
    assert not shares_engine(compose_config(["teacher=local"]))
    assert not shares_engine(compose_config(["teacher=server", "teacher.model=mine"]))
    config = compose_config(["teacher.cache=null"])
    build_stack(config, tmp_path).close()
    assert (tmp_path / "teacher").is_dir()


def test_loggers_write_below_the_run_s_folder_unless_told_otherwise(tmp_path: Path) -> None:
    (csv,) = build_loggers(compose_config(["logger=csv"]), tmp_path)
    assert Path(csv.log_dir or "").resolve() == tmp_path / "csv"
    elsewhere = compose_config(["logger=csv", f"+logger.csv.save_dir={tmp_path / 'other'}"])
    (csv,) = build_loggers(elsewhere, tmp_path)
    assert Path(csv.log_dir or "").resolve() == tmp_path / "other" / "csv"
    assert build_loggers(compose_config([]), tmp_path) == []
    assert build_loggers(compose_config(["logger=wandb"]), tmp_path) == []


@pytest.mark.parametrize("option", ["tensorboard", "mlflow"])
def test_a_logger_without_its_package_says_so(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*given: object, **settings: object) -> None:
        raise ModuleNotFoundError(f"No module named '{option}'")

    kind = {"tensorboard": "TensorBoardLogger", "mlflow": "MLFlowLogger"}[option]
    monkeypatch.setattr(f"pytorch_lightning.loggers.{kind}.__init__", lacking)
    with pytest.raises(
        ConfigError,
        match=rf"logger={option} needs a package that is not installed: No module named '{option}'",
    ):
        build_loggers(compose_config([f"logger={option}"]), tmp_path)


def test_a_callback_of_one_s_own_is_built_and_anything_else_refused() -> None:
    config = compose_config([f"+callbacks.mine._target_={HERE}.Counting", "+callbacks.mine.step=3"])
    (mine,) = build_callbacks(config)
    assert isinstance(mine, Counting)
    assert mine.step == 3
    config = compose_config([f"+callbacks.mine._target_={HERE}.Settings", "+callbacks.mine.size=3"])
    with pytest.raises(
        ConfigError, match=r"callbacks\.mine: .*\.Settings builds a Settings, which is no pytorch_"
    ):
        build_callbacks(config)


def test_a_callback_that_writes_to_a_logger_needs_one() -> None:
    for name in ("lr_monitor", "device_stats"):
        for logger in ("none", "wandb"):
            config = compose_config([f"callbacks={name}", f"logger={logger}"])
            with pytest.raises(ConfigError, match=rf"callbacks={name} writes to a logger.*=csv"):
                build_callbacks(config)
        assert len(build_callbacks(compose_config([f"callbacks={name}", "logger=csv"]))) == 1


def test_a_mirror_is_open_while_the_run_is_and_anything_else_refused(tmp_path: Path) -> None:
    Mirror.opened = ()
    config = compose_config([f"+logger.mine._target_={HERE}.Mirror"])
    assert build_loggers(config, tmp_path) == []
    with build_mirrors(config, tmp_path, resume=False):
        assert Mirror.opened == ("in",)
    assert Mirror.opened == ("in", "out")
    with (
        pytest.raises(ConfigError, match=r"logger\.mine: .* is neither a Lightning logger nor a"),
        build_mirrors(
            compose_config([f"+logger.mine._target_={HERE}.NoMirror"]), tmp_path, resume=False
        ),
    ):
        pass


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["teacher.lifecycle=restart"], "teacher.lifecycle=restart takes it out of memory then"),
        (["teacher=local"], "teacher=local computes in the run's"),
        (["teacher.cache=null"], "teacher.cache=null has none"),
    ],
)
def test_what_is_asked_ahead_needs_an_engine_beside_the_run_and_a_cache(
    tmp_path: Path, overrides: list[str], says: str
) -> None:
    config = compose_config(["training.prefetch=true", *overrides])
    with pytest.raises(ConfigError, match=says):
        build_stack(config, tmp_path)


def test_a_loss_that_compares_rows_needs_one_device(student: Path) -> None:
    task = ClassificationTask([Label("a", "a", "an a"), Label("b", "b", "a b")])
    given = [f"student.model={student}", "data=files", "data.path=x", "trainer.devices=2"]
    config = compose_config([*given, "loss=contrastive"])
    with pytest.raises(ConfigError, match=r"loss=contrastive compares or remembers.*devices=2"):
        build_student(config, task, Ranks(0, 2))
    build_student(config, task)
    module, _ = build_student(compose_config(given), task, Ranks(1, 2))
    assert module.ranks.several
