"""Multiruns with growth (tiny student, slow scripted teacher), killed, stopped and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.multirun import command, environment, jobs, times
from tests.helpers.offline_wandb import offline_runs


def until(true: Callable[[], bool], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


@pytest.fixture
def slow(overrides: list[str], workplace: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a sweep of two runs with a slow teacher."""
    running: list[subprocess.Popen[str]] = []

    def begin(*more: str) -> subprocess.Popen[str]:
        arguments = command(*overrides, "seed=1,2", *more)
        running.append(
            subprocess.Popen(
                arguments,
                cwd=workplace,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def run_processes(workplace: Path) -> list[int]:
    """Processes working on a run of this test."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(
            one.startswith(("hydra.run.dir=", "resume=")) and str(workplace) in one
            for one in arguments
        ):
            found.append(int(path.parent.name))
    return found


def at_work(workplace: Path) -> bool:
    """Returns whether the first job has started growing."""
    return any(workplace.glob("multirun_sweeps/mine/*/0/growth/*")) or any(
        workplace.glob("multirun_sweeps/mine/*/0/checkpoints/*")
    )


def test_a_killed_job_is_told_and_the_same_sweep_goes_on_with_it(
    slow: Any, workplace: Path
) -> None:
    process = slow("+teacher.delay=0.02", "logger=wandb")
    until(lambda: at_work(workplace))
    os.kill(run_processes(workplace)[0], signal.SIGKILL)
    out, _ = process.communicate(timeout=180)
    (first,) = times(workplace)
    assert [(job["state"], job["code"]) for job in jobs(first)] == [("failed", 1), ("done", 0)], out
    assert "its process was killed (signal 9, SIGKILL)" in out
    # The killed run's mirror notices and tells wandb, but no process waits for it.
    until(lambda: [run.exit_code for run in offline_runs(first / "0")] == [1])
    assert [run.exit_code for run in offline_runs(first / "0")] == [1]
    assert [run.exit_code for run in offline_runs(first / "1")] == [0]
    out, _ = slow("+teacher.delay=0.02").communicate(timeout=180)
    assert [(job["state"], job["found"]) for job in jobs(times(workplace)[1])] == [
        ("done", "unfinished"),
        ("done", "done"),
    ], out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_or_killed_sweep_leaves_no_run_behind(
    slow: Any, workplace: Path, number: signal.Signals
) -> None:
    process = slow("+teacher.delay=0.05")
    until(lambda: at_work(workplace))
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130)
    until(lambda: not run_processes(workplace), 30)
    status = json.loads(next(workplace.glob("multirun_sweeps/mine/*/0/status.json")).read_text())
    assert status["state"] == "interrupted"
    assert not any(workplace.glob("multirun_sweeps/mine/*/1/status.json"))
