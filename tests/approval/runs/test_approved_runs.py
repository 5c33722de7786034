"""Whole runs from recordings of the real engine end as approved: rows, tokens and metrics."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
pytestmark = pytest.mark.timeout(900)  # one minute of one core; the first test waits for it


def _load_replay() -> Any:
    """The module beside this file, whatever the folder is called."""
    spec = importlib.util.spec_from_file_location("approved_runs_replay", HERE / "replay.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


REPLAY = _load_replay()
NAMES = [case.name for case in REPLAY.CASES]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    outcomes: dict[str, Any] = REPLAY.replay(tmp_path_factory.mktemp("approved"), NAMES)
    return outcomes


def test_every_case_is_approved() -> None:
    assert list(REPLAY.approved()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_run_ends_as_approved(name: str, found: dict[str, Any]) -> None:
    assert REPLAY.differences(REPLAY.approved()[name], found[name]) == []


def test_the_feedback_holds_mistakes() -> None:
    """Else no prompt would depend on the student, and the replay would say little."""
    runs = REPLAY.approved()
    for name in ("evokd", "evokd_ner"):
        assert sum(runs[name]["mistakes"].values()) > 0


def test_no_recording_names_a_folder() -> None:
    for path in REPLAY.RECORDINGS.glob("*.jsonl"):
        text = path.read_text("utf-8")
        assert f"{Path.home()}/" not in text
        assert "/home/" not in text
