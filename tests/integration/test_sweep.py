"""Multiruns of real runs: a failing job, each launcher and each sweeper."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.helpers import secrets as canaries
from tests.helpers import tiny
from tests.helpers.multirun import command, environment, jobs, times

Sweep = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sweep(
    student: Path, small_data: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> Sweep:
    """Overrides of runs of a few seconds without a teacher, with secrets in the environment."""
    canaries.plant(monkeypatch)
    given = tiny.scripted(student, small_data, workplace / "replies.sqlite")
    overrides = [*given, "method=shots", "training.start_epochs=1", *canaries.CONFIGURED]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*overrides, *more),
            cwd=workplace,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


def test_a_failing_job_ends_no_other_and_a_rerun_does_what_is_missing(
    sweep: Sweep, workplace: Path
) -> None:
    ended = sweep("shots=99,1", "seed=1")
    assert ended.returncode == 3, ended.stderr
    (first,) = times(workplace)
    assert [job["state"] for job in jobs(first)] == ["failed", "done"]
    assert "✗ job 0  shots=99   " in ended.stdout
    assert "99 shots per class were requested" in ended.stdout
    assert "✓ job 1  shots=1   accuracy" in ended.stdout
    assert json.loads((first / "1" / "result.json").read_text())["seed"] == 1
    assert (first / "1" / "report.html").is_file()
    assert not (workplace / "outputs").exists()
    # The resume command of a single job has the job's own values.
    status = json.loads((first / "0" / "status.json").read_text())
    assert "shots=99 " in status["resume_command"]
    assert "99,1" not in status["resume_command"]

    time.sleep(1.1)  # folder names have a resolution of one second
    ended = sweep("shots=1", "seed=1,2")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    second = times(workplace)[1]
    assert [(job["state"], job["found"]) for job in jobs(second)] == [
        ("done", "done"),
        ("done", ""),
    ]
    assert (second / "0" / "result.json").samefile(first / "1" / "result.json")
    assert "2 done (1 of them before), 0 failed" in ended.stdout
    report = (second / "report.html").read_text()
    assert '<th scope="row" class="free" dir="auto">shots</th>' in report
    assert f"report   {second.relative_to(workplace)}/report.html" in ended.stdout
    assert "Job 0 failed (shots=99)" in (first / "report.html").read_text()
    assert canaries.leaks(workplace, ended.stdout, ended.stderr) == []


def test_a_value_that_its_job_refuses_ends_no_other(sweep: Sweep, workplace: Path) -> None:
    # The first one is refused where the sweep composes it, the second by its own process.
    ended = sweep("training.keep=last,bets", "seed=1")
    assert ended.returncode == 2, ended.stderr
    (folder,) = times(workplace)
    assert [job["state"] for job in jobs(folder)] == ["done", "failed"]
    assert "Unknown training.keep 'bets'. Did you mean 'best'?" in ended.stdout
    time.sleep(1.1)
    ended = sweep("loss.label_smoothing=0.1,high", "seed=1")
    assert ended.returncode == 2, ended.stderr
    folder = times(workplace)[1]
    assert [job["state"] for job in jobs(folder)] == ["done", "failed"]
    assert "loss.label_smoothing='high' is not a number" in ended.stdout


def test_a_wrong_value_of_every_job_ends_it_before_the_first(sweep: Sweep, workplace: Path) -> None:
    ended = sweep("seed=1,2", "loss.label_smoothing=high")
    assert ended.returncode == 2
    assert "tutelage: loss.label_smoothing='high' is not a number." in ended.stderr
    assert not (workplace / "multirun_sweeps").exists()


def test_paths_as_they_are_typed_reach_the_jobs(
    sweep: Sweep, small_data: Path, workplace: Path
) -> None:
    shutil.copytree(small_data, workplace / "my data (v2)")
    # Flags may stand between overrides.
    ended = sweep("seed=1", "--multirun", "data.path=my data (v2)")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (folder,) = times(workplace)
    (job,) = jobs(folder)
    assert job["state"] == "done"
    assert "my data (v2)" in (folder / "0" / "config.yaml").read_text()


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_other_launchers(sweep: Sweep, workplace: Path, launcher: str) -> None:
    more = {
        "joblib": ["seed=1,2", "hydra.launcher.n_jobs=2"],
        "submitit_local": ["seed=1", "hydra.launcher.timeout_min=3"],
    }[launcher]
    ended = sweep(f"hydra/launcher={launcher}", *more)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (folder,) = times(workplace)
    count = {"joblib": 2, "submitit_local": 1}[launcher]
    assert [(job["state"], job["code"]) for job in jobs(folder)] == [("done", 0)] * count
    assert f"{count} done (0 of them before)" in ended.stdout


def test_optuna_optimises_the_metric_and_outlives_a_failing_trial(
    sweep: Sweep, workplace: Path
) -> None:
    # With this seed the failing trial comes first.
    search = [
        "hydra/sweeper=optuna",
        "hydra/sweeper/sampler=random",
        "hydra.sweeper.sampler.seed=10",
        "hydra.sweeper.n_trials=2",
    ]
    ended = sweep(
        *search,
        "hydra.sweeper.n_jobs=1",
        "hydra.sweeper.direction=maximize",
        "sweep.metric=macro_f1",
        "shots=choice(99,1)",
    )
    assert ended.returncode == 3, ended.stdout + ended.stderr
    (folder,) = times(workplace)
    assert [job["state"] for job in jobs(folder)] == ["failed", "done"]
    (result,) = folder.glob("*/result.json")
    score = json.loads(result.read_text())["after"]["macro_f1"]
    assert jobs(folder)[1]["score"] == score
    assert f"best_value: {score}" in (folder / "optimization_results.yaml").read_text()
    assert "report   " in ended.stdout


def test_a_grid_whose_last_trial_fails_is_told_as_such(sweep: Sweep, workplace: Path) -> None:
    search = [
        "hydra/sweeper=optuna",
        "hydra/sweeper/sampler=grid",
        "hydra.sweeper.n_jobs=1",
        "shots=choice(99)",
    ]
    ended = sweep(*search)
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "The last trial of the grid failed" in ended.stdout
    assert "0 done (0 of them before), 1 failed" in ended.stdout


def test_a_metric_that_no_job_will_have_ends_it_before_the_first(
    sweep: Sweep, workplace: Path
) -> None:
    ended = sweep("seed=1,2", "sweep.metric=f1_strict")
    assert ended.returncode == 2
    assert "Unknown sweep.metric 'f1_strict'. Available: accuracy, macro_f1." in ended.stderr
    assert not (workplace / "multirun_sweeps").exists()
