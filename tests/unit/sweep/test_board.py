"""What a person is told of a sweep's jobs."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

import pytest
from rich.console import Console

from tutelage.errors import RunError
from tutelage.runs.folder import RunFolder
from tutelage.sweep.board import Board
from tutelage.sweep.record import JobRecord, SweepFolder


def title(job: JobRecord) -> str:
    return job.title(frozenset({"seed", "ablation"}))


def job(number: int, state: str = "done", **more: object) -> JobRecord:
    overrides = ("method=evokd", f"seed={number}", "ablation=no_feedback")
    return JobRecord(number, overrides, "h", str(number), state, **more)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "sweep")


def told(folder: SweepFolder, *, terminal: bool = False, total: int | None = 4) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200, color_system=None)
    with Board(folder, total, title, "accuracy", console):
        pass
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return str(text)


def test_a_line_for_each_job_that_ended_with_what_tells_it_from_the_others(
    folder: SweepFolder,
) -> None:
    folder.write(job(0, score=0.8125, began=100.0, ended=340.0))
    folder.write(job(1, "failed", began=1.0, ended=31.0, error="it went wrong", code=5))
    folder.write(job(2, "left out", ended=1.0))
    folder.write(job(3, found="done", score=0.5, began=1.0, ended=1.0))
    folder.write(job(4, "running", began=time.time()))
    lines = told(folder).splitlines()
    assert lines[0] == "✓ job 0  seed=0  ablation=no_feedback   accuracy 0.812   4 min 0 s"
    assert lines[1] == "✗ job 1  seed=1  ablation=no_feedback   30.0 s"
    assert lines[2:4] == ["  it went wrong", f"  see {folder.path / '1' / 'console.log'}"]
    assert "left out: an earlier job failed" in lines[4]
    assert lines[5].endswith("accuracy 0.500   done before")
    assert len(lines) == 6


def test_a_terminal_has_a_table_of_what_runs(folder: SweepFolder) -> None:
    folder.write(job(0, began=0.0, ended=60.0))
    folder.write(job(1, "running", began=time.time() - 20))
    run = RunFolder(folder.path / "1")
    run.write_json("status.json", {"state": "running", "round": 3, "phase": "training"})
    shown = told(folder, terminal=True)
    assert re.search(r"1 done, 1 running, 0 failed, 2 left, about 2 min (40|3\d) s to go", shown)
    assert "round 3, training" in shown


def test_the_time_that_is_left_is_the_mean_job_s(folder: SweepFolder) -> None:
    board = Board(folder, 10, title)
    assert board.left((), 0.0) == (10, None)
    ended = tuple(job(number, began=0.0, ended=100.0) for number in range(2))
    found = (job(2, found="done", began=5.0, ended=5.0),)
    running = tuple(job(number, "running", began=900.0) for number in (3, 4))
    # 5 are waiting, 100 s each; two that run have 60 s to go each; two at once.
    assert board.left((*ended, *found, *running), 940.0) == (5, (5 * 100 + 2 * 60) / 2)
    assert Board(folder, None, title).left(ended, 0.0) == (None, None)


def test_a_record_that_was_altered_is_named(folder: SweepFolder) -> None:
    folder.write(job(0))
    path = folder.path / "jobs" / "000.json"
    path.write_text('{"number": 0}')
    with pytest.raises(RunError, match=r"000\.json is no job's record"):
        folder.jobs()
