"""A multirun as a person types it, and what it leaves; its runs are of a tiny student with a scripted teacher."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def command(*words: str) -> list[str]:
    """Its jobs can import the tests' parts in :func:`environment`."""
    return [sys.executable, "-m", "tutelage.cli", "train", "-m", *words, "sweep.name=mine"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def times(workplace: Path) -> list[Path]:
    return sorted((workplace / "multirun_sweeps" / "mine").iterdir())


def jobs(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "jobs").glob("*.json"))]
