"""Multiruns of real runs (a tiny student, a scripted teacher): under each launcher and sweeper, killed, and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import canaries, tiny

ROOT = Path(__file__).parents[2]


@pytest.fixture
def words(student: Path, small_data: Path, workplace: Path) -> list[str]:
    """A run of a few seconds without a teacher."""
    return [
        *tiny.scripted(student, small_data, workplace / "replies.sqlite"),
        "method=shots",
        "method.training.start_epochs=1",
        *canaries.CONFIGURED,
    ]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    canaries.plant(monkeypatch)
    return dict(os.environ)


Sweep = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sweep(environment: dict[str, str], words: list[str], workplace: Path) -> Sweep:
    def run(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tutelage.cli", "train", "-m", *words, "sweep.name=mine", *more]
        return subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True, timeout=240, check=False)

    return run


def times(workplace: Path) -> list[Path]:
    return sorted((workplace / "multirun_sweeps" / "mine").iterdir())


def jobs(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "jobs").glob("*.json"))]


def test_a_failing_job_ends_no_other_and_a_rerun_does_what_is_missing(sweep: Sweep, workplace: Path) -> None:
    ended = sweep("shots=99,1", "seed=1")
    assert ended.returncode == 3, ended.stderr
    (first,) = times(workplace)
    assert [job["state"] for job in jobs(first)] == ["failed", "done"]
    assert "✗ job 0  shots=99   " in ended.stdout
    assert "99 shots per class were asked for" in ended.stdout
    assert "✓ job 1  shots=1   accuracy" in ended.stdout
    assert json.loads((first / "1" / "result.json").read_text())["seed"] == 1
    assert (first / "1" / "report.html").is_file()
    assert not (workplace / "outputs").exists()
    # The command that goes on with a single job names its own values.
    status = json.loads((first / "0" / "status.json").read_text())
    assert "shots=99 " in status["resume_command"]
    assert "99,1" not in status["resume_command"]

    time.sleep(1.1)  # a folder's name is its second
    ended = sweep("shots=1", "seed=1,2")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    second = times(workplace)[1]
    assert [(job["state"], job["found"]) for job in jobs(second)] == [("done", "done"), ("done", "")]
    assert (second / "0" / "result.json").samefile(first / "1" / "result.json")
    assert "2 done (1 of them before), 0 failed" in ended.stdout
    report = (second / "report.html").read_text()
    assert '<th scope="row" class="free" dir="auto">shots</th>' in report
    assert f"report   {second.relative_to(workplace)}/report.html" in ended.stdout
    assert "Job 0 failed (shots=99)" in (first / "report.html").read_text()
    assert canaries.leaks(workplace, ended.stdout, ended.stderr) == []


def started(command: list[str], environment: dict[str, str], workplace: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(command, cwd=workplace, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def until(true: Callable[[], bool], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


@pytest.fixture
def slow(environment: dict[str, str], overrides: list[str], workplace: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Begins a sweep of two growing runs, whose teacher takes its time."""
    running: list[subprocess.Popen[str]] = []

    def begin(*more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tutelage.cli", "train", "-m", *overrides, "sweep.name=mine", "seed=1,2", *more]
        running.append(started(command, environment, workplace))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def run_processes(workplace: Path) -> list[int]:
    """Processes that are at work on a run of this test."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(word.startswith(("hydra.run.dir=", "resume=")) and str(workplace) in word for word in words):
            found.append(int(path.parent.name))
    return found


def at_work(workplace: Path) -> bool:
    """Whether the first job has begun to grow."""
    return any(workplace.glob("multirun_sweeps/mine/*/0/growth/*")) or any(workplace.glob("multirun_sweeps/mine/*/0/checkpoints/*"))


def test_a_killed_job_is_told_and_the_same_sweep_goes_on_with_it(slow: Any, workplace: Path) -> None:
    process = slow("+teacher.delay=0.02")
    until(lambda: at_work(workplace))
    os.kill(run_processes(workplace)[0], signal.SIGKILL)
    out, _ = process.communicate(timeout=180)
    (first,) = times(workplace)
    assert [(job["state"], job["code"]) for job in jobs(first)] == [("failed", 1), ("done", 0)], out
    assert "its process was killed (signal 9, SIGKILL)" in out
    out, _ = slow("+teacher.delay=0.02").communicate(timeout=180)
    assert [(job["state"], job["found"]) for job in jobs(times(workplace)[1])] == [("done", "unfinished"), ("done", "done")], out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_or_killed_sweep_leaves_no_run_behind(slow: Any, workplace: Path, number: signal.Signals) -> None:
    process = slow("+teacher.delay=0.05")
    until(lambda: at_work(workplace))
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130)
    until(lambda: not run_processes(workplace), 30)
    status = json.loads(next(workplace.glob("multirun_sweeps/mine/*/0/status.json")).read_text())
    assert status["state"] == "interrupted"
    assert not any(workplace.glob("multirun_sweeps/mine/*/1/status.json"))


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_other_launchers(sweep: Sweep, workplace: Path, launcher: str) -> None:
    more = {"joblib": ["seed=1,2", "hydra.launcher.n_jobs=2"], "submitit_local": ["seed=1", "hydra.launcher.timeout_min=3"]}[launcher]
    ended = sweep(f"hydra/launcher={launcher}", *more)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (folder,) = times(workplace)
    count = {"joblib": 2, "submitit_local": 1}[launcher]
    assert [(job["state"], job["code"]) for job in jobs(folder)] == [("done", 0)] * count
    assert f"{count} done (0 of them before)" in ended.stdout


def test_optuna_optimises_the_metric_and_outlives_a_failing_trial(sweep: Sweep, workplace: Path) -> None:
    search = ["hydra/sweeper=optuna", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1"]
    ended = sweep(*search, "hydra.sweeper.direction=maximize", "sweep.metric=macro_f1", "shots=choice(99,1)")
    assert ended.returncode == 3, ended.stdout + ended.stderr
    (folder,) = times(workplace)
    assert sorted(job["state"] for job in jobs(folder)) == ["done", "failed"]
    (score,) = (job["score"] for job in jobs(folder) if job["state"] == "done")
    (result,) = folder.glob("*/result.json")
    assert json.loads(result.read_text())["after"]["macro_f1"] == score
    assert f"best_value: {score}" in (folder / "optimization_results.yaml").read_text()
    assert "report   " in ended.stdout


def test_a_metric_that_no_job_will_have_ends_it_before_the_first(sweep: Sweep, workplace: Path) -> None:
    ended = sweep("seed=1,2", "sweep.metric=f1_strict")
    assert ended.returncode == 2
    assert "Unknown sweep.metric 'f1_strict'. Available: accuracy, macro_f1." in ended.stderr
    assert not (workplace / "multirun_sweeps").exists()
