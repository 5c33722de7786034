"""What is written as each stage closes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.helpers.classification import NAMES, TASK, outcome
from tests.helpers.fitting import RecordingReporter, ScriptedMethod

from tutelage.callbacks.round_logger import RoundLogger
from tutelage.data.pool import Pool
from tutelage.records import Growth
from tutelage.runs.folder import RunFolder, Status
from tutelage.timeline import Position

RIGHT = [outcome(name, name, n) for name in NAMES for n in range(2)]
HALF = [outcome("Tool", "Tool", 1), outcome("Tool", "Food", 2)]
START, ROUND, FINAL = (
    Position("start", 0, 0, 1),
    Position("round", 1, 0, 1),
    Position("final", 2, 0, 1),
)


def round_logger(folder: Path) -> tuple[RoundLogger, RunFolder, RecordingReporter]:
    run_folder = RunFolder(folder)
    pool = Pool.open(folder / "pool" / "rows.jsonl")
    if not len(pool):
        pool.append(ScriptedMethod(1).first_rows().rows)
    reporter = RecordingReporter()
    return (
        RoundLogger(run_folder, Status(run_folder, "resume me"), TASK, pool, reporter),
        run_folder,
        reporter,
    )


def test_a_stage_s_line(tmp_path: Path) -> None:
    subject, folder, reporter = round_logger(tmp_path)
    subject.spend("training", 1.5)
    subject.spend("training", 0.25)
    dev = subject.close_stage(START, 3, RIGHT, HALF, HALF, 0.7, None)
    (line,) = folder.read_lines("metrics.jsonl")
    assert dev["accuracy"] == line["dev"]["accuracy"] == 1.0
    assert line["fresh"] == {"accuracy": 0.5, "count": 2}
    assert line["seconds"] == {"training": 1.75}
    assert (line["round"], line["stage"], line["epoch"], line["train_loss"]) == (0, "start", 3, 0.7)
    assert (line["billed_tokens"], line["spent_tokens"], line["accepted"], line["rejected"]) == (
        0,
        0,
        3,
        0,
    )
    assert reporter.stages == [("start", 0, (3, 0))]


def test_before_and_after(tmp_path: Path) -> None:
    subject, folder, _ = round_logger(tmp_path)
    subject.close_stage(START, 0, RIGHT, [], HALF, None, None)
    subject.close_stage(ROUND, 1, RIGHT, [], None, None, None)
    assert subject.before == subject.after == {"accuracy": 0.5, "macro_f1": pytest.approx(1 / 3)}
    subject.close_stage(FINAL, 2, RIGHT, [], RIGHT, None, None)
    assert (subject.before["accuracy"], subject.after["accuracy"]) == (0.5, 1.0)
    assert [
        line["test"] and line["test"]["accuracy"] for line in folder.read_lines("metrics.jsonl")
    ] == [0.5, None, 1.0]
    assert len(folder.read_lines("predictions/test-before.jsonl")) == 2
    assert len(folder.read_lines("predictions/test-after.jsonl")) == 6


def test_seconds_are_by_stage_and_in_all(tmp_path: Path) -> None:
    subject, folder, reporter = round_logger(tmp_path)
    assert subject.measured("testing", lambda: 42) == 42
    subject.close_stage(START, 0, RIGHT, [], HALF, None, None)
    subject.write_growth(Growth(1, (), seconds={"generation": 2.0}))
    subject.close_stage(ROUND, 1, RIGHT, [], None, None, None)
    first, second = folder.read_lines("metrics.jsonl")
    assert set(first["seconds"]) == {"testing"}
    assert second["seconds"] == {"generation": 2.0}
    assert set(subject.seconds) == {"testing", "generation"}
    assert reporter.phases == [("testing", 0)]
    assert folder.read_json("status.json")["phase"] == "testing"


def test_growth_is_written_without_its_rows(tmp_path: Path) -> None:
    subject, folder, _ = round_logger(tmp_path)
    rows = ScriptedMethod(1).first_rows().rows
    subject.write_growth(
        Growth(
            7,
            rows,
            "weak",
            "the prompt",
            {"Tool/hard": 3},
            {"analysis": 0.12345},
            asked=9,
            answered=8,
            rejected=2,
            failed=1,
        )
    )
    assert folder.read_json("growth/round-007.json") == {
        "round": 7, "analysis": "weak", "prompt": "the prompt", "quota": {"Tool/hard": 3},
        "seconds": {"analysis": 0.123},
        "asked": 9, "answered": 8, "rejected": 2, "failed": 1,
    }  # fmt: skip


def test_a_resumed_ledger_takes_back_later_lines(tmp_path: Path) -> None:
    subject, folder, _ = round_logger(tmp_path)
    subject.spend("training", 3.0)
    subject.close_stage(START, 0, RIGHT, [], HALF, None, None)
    subject.spend("generation", 1.0)
    state = json.loads(json.dumps(subject.state_dict()))
    subject.close_stage(ROUND, 1, RIGHT, [], None, None, None)
    resumed, folder, _ = round_logger(tmp_path)
    resumed.load_state_dict(state)
    assert [line["round"] for line in folder.read_lines("metrics.jsonl")] == [0]
    assert resumed.seconds == {"training": 3.0, "generation": 1.0}
    assert resumed.before == resumed.after
    resumed.close_stage(ROUND, 1, RIGHT, [], None, None, None)
    assert [(line["round"], line["seconds"]) for line in folder.read_lines("metrics.jsonl")] == [
        (0, {"training": 3.0}), (1, {"generation": 1.0}),
    ]  # fmt: skip


def test_a_phase_knows_its_round(tmp_path: Path) -> None:
    subject, folder, reporter = round_logger(tmp_path)
    subject.training(ROUND)
    subject.growing(2)
    subject.phase("analysis", 1)
    assert reporter.phases == [("training", 1), ("analysis", 2)]
    assert (folder.read_json("status.json")["phase"], folder.read_json("status.json")["round"]) == (
        "analysis",
        2,
    )
