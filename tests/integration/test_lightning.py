"""What reaches Lightning: keys of its Trainer, its loggers, and callbacks of a user's own."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tests.conftest import Command
from tests.helpers.tiny import grow, lines

from tutelage.errors import ConfigError
from tutelage.interruption import Interrupted

MINE = "+callbacks.mine._target_=tests.helpers.callbacks.BatchCounter"


def batches(path: Path) -> list[int]:
    return [int(line) for line in path.read_text(encoding="utf-8").splitlines()]


def logged(run: Path) -> list[dict[str, str]]:
    """The lines of metrics.csv that a stage's end has written."""
    with (run / "csv" / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [line for line in csv.DictReader(file) if line["dev/accuracy"]]


def test_a_key_of_the_trainer_reaches_it_and_a_callback_of_one_s_own_is_called(
    overrides: list[str], workplace: Path
) -> None:
    whole, part = workplace / "whole.txt", workplace / "part.txt"
    many = [*overrides, "method=supervised", "training.start_epochs=2", MINE]
    many = [one for one in many if not one.startswith(("method.", "training.round", "training.f"))]
    grow(workplace / "whole", [*many, f"+callbacks.mine.path={whole}"])
    grow(
        workplace / "part",
        [*many, f"+callbacks.mine.path={part}", "trainer.limit_train_batches=2"],
    )
    # 84 gold rows in batches of 16.
    assert (batches(whole), batches(part)) == ([6, 6], [2, 2])


def test_csv_has_the_dev_metrics_of_each_stage_and_the_loss(
    overrides: list[str], workplace: Path
) -> None:
    run = workplace / "run"
    result = grow(run, [*overrides, "logger=csv"])
    stages = lines(run / "metrics.jsonl")
    found = logged(run)
    assert [int(float(line["round"])) for line in found] == [line["round"] for line in stages]
    assert [float(line["dev/accuracy"]) for line in found] == [
        line["dev"]["accuracy"] for line in stages
    ]
    assert [float(line["dev/macro_f1"]) for line in found] == [
        line["dev"]["macro_f1"] for line in stages
    ]
    assert [float(line["train_loss"]) for line in found] == pytest.approx(
        [line["train_loss"] for line in stages]
    )
    assert [int(float(line["billed_tokens"])) for line in found] == [
        line["billed_tokens"] for line in stages
    ]
    steps = [int(line["step"]) for line in found]
    assert steps == sorted({*steps})
    # A logger changes nothing of the run.
    plain = grow(workplace / "plain", overrides)
    assert (result["after"], result["pool_hash"]) == (plain["after"], plain["pool_hash"])
    assert not (workplace / "plain" / "csv").exists()


def test_a_resumed_run_s_logger_has_every_stage_and_its_callback_its_state(
    overrides: list[str], workplace: Path
) -> None:
    counts, run = workplace / "counts.txt", workplace / "run"
    mine = [*overrides, "logger=csv", MINE, f"+callbacks.mine.path={counts}"]
    grow(workplace / "whole", mine)
    undisturbed = batches(counts)
    counts.unlink()
    # The first stage has 6 epochs; the second round's begins at the ninth.
    with pytest.raises(Interrupted):
        grow(run, [*mine, "+callbacks.mine.fails_at=8"])
    before = logged(run)
    assert len(before) == 2
    grow(run, [*mine, "+callbacks.mine.fails_at=-1", "resume=true"])
    assert logged(run)[:2] == before
    assert logged(run) == logged(workplace / "whole")
    assert batches(counts)[-len(undisturbed[8:]) :] == undisturbed[8:]


def test_two_of_lightning_s_callbacks_write_to_its_logger(
    overrides: list[str], workplace: Path
) -> None:
    run = workplace / "run"
    both = ["callbacks=[lr_monitor,device_stats]", "logger=csv", "trainer.log_every_n_steps=1"]
    grow(run, [*overrides, *both])
    with (run / "csv" / "metrics.csv").open(newline="", encoding="utf-8") as file:
        names = csv.DictReader(file).fieldnames or []
    assert any(name.startswith("lr-") for name in names)
    assert any(name.startswith("DeviceStatsMonitor.") for name in names)
    assert "dev/accuracy" in names


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "trainer.num_nodes=2",
            "trainer.num_nodes=2 is not one: the student trains on one machine",
        ),
        ("+trainer.max_epochs=3", "trainer.max_epochs cannot be set: the stages end the run"),
        ("+trainer.foo=1", "trainer.foo: Unknown setting of Trainer 'foo'. Available: accelerator"),
        ("callbacks=lr_monitor", "callbacks=lr_monitor writes to a logger, and there is none"),
        ("trainer.accelerator=abacus", "Lightning's Trainer refuses a setting of trainer or"),
        ("trainer.precision=7", "Lightning's Trainer refuses a setting of trainer or callbacks"),
        (
            "+callbacks.mine._target_=pytorch_lightning.callbacks.ModelCheckpoint",
            "Lightning's Trainer refuses a setting of trainer or callbacks",
        ),
        ("+callbacks.mine._target_=pathlib.Path", "builds a PosixPath, which is no pytorch_lightn"),
    ],
)
def test_what_lightning_cannot_be_given_is_refused_before_the_teacher_is_asked(
    tutelage: Command, overrides: list[str], override: str, said: str, workplace: Path
) -> None:
    ended = tutelage("train", *overrides, "method.n_first=7", override)
    assert (ended.code, said in ended.err) == (2, True), ended.err
    assert not list(workplace.glob("outputs/*/*/teacher/transcript.jsonl"))


def test_a_callback_that_is_not_there_says_where_to_put_it(overrides: list[str]) -> None:
    with pytest.raises(
        ConfigError, match=r"callbacks\.mine\._target_=mine\.Own cannot be imported"
    ):
        grow(Path("run"), [*overrides, "+callbacks.mine._target_=mine.Own"])
