"""Starts a multirun from the command line and reads its folders."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def command(*overrides: str) -> list[str]:
    """The command line of a multirun; run it in :func:`environment`."""
    return [sys.executable, "-m", "tutelage.cli", "train", "-m", *overrides, "sweep.name=mine"]


def environment() -> dict[str, str]:
    """Environment variables; jobs can import the tests' helpers."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def times(workplace: Path) -> list[Path]:
    """The folder of each multirun, oldest first."""
    return sorted((workplace / "multirun_sweeps" / "mine").iterdir())


def jobs(folder: Path) -> list[dict[str, Any]]:
    """The records of a multirun's jobs."""
    return [json.loads(path.read_text()) for path in sorted((folder / "jobs").glob("*.json"))]
