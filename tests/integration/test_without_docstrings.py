"""Python without assertions and docstrings does the same as with them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers import tiny
from tests.helpers.warm_runs import ROOT


def test_a_run_without_docstrings(student: Path, small_data: Path, workplace: Path) -> None:
    given = tiny.scripted(student, small_data, workplace / "replies.sqlite")

    stages = ["method.rounds=1", "training.start_epochs=1", "training.round_epochs=1"]
    command = ["train", *given, *tiny.EVOKD, *stages, "hydra.run.dir=run"]
    done = subprocess.run(
        [sys.executable, "-OO", "-m", "tutelage.cli", *command],
        cwd=workplace,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert "student after" in done.stdout
    assert (workplace / "run" / "report.html").stat().st_size > 20_000
