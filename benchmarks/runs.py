"""Shared by the benchmarks: single runs of ``tutelage train`` and their numbers."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy import stats


def command(*overrides: str) -> list[str]:
    """The command line of ``tutelage train`` in this Python environment."""
    return [sys.executable, "-m", "tutelage.cli", "train", *overrides]


def train(folder: Path, overrides: Sequence[str], *, quiet: bool = False) -> dict[str, Any]:
    """Trains in ``folder`` unless it has a result, and returns the content of result.json.

    Args:
        folder: The folder of the run.
        overrides: As on the command line.
        quiet: Hides the output of the run.

    Raises:
        subprocess.CalledProcessError: The run failed.
    """
    if not (folder / "result.json").exists():
        subprocess.run(
            command(*overrides, f"hydra.run.dir={folder}"), check=True, capture_output=quiet
        )
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def interval(values: Sequence[float]) -> str:
    """Mean and half of Student's 95 % interval, in points; values are in [0, 1]."""
    half = float("nan")
    if len(values) > 1:
        deviation = statistics.stdev(values) / len(values) ** 0.5
        half = stats.t.ppf(0.975, len(values) - 1) * deviation
    return f"{100 * statistics.mean(values):6.1f} ± {100 * half:4.1f}"
