"""A run that learns nothing says so, while it goes on and at its end."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers import tiny
from tests.helpers.tiny import write_jsonl


def majority_data(folder: Path) -> Path:
    """Two texts in three are about the weather, and no text tells its class."""
    folder.mkdir()
    for split, count in (("train", 24), ("validation", 12), ("test", 45)):
        write_jsonl(
            folder / f"{split}.jsonl",
            [
                {
                    "text": f"{split} number {number} of {count * 7 + number}",
                    "label": "weather" if number % 3 else "music",
                }
                for number in range(count)
            ],
        )
    return folder


def test_a_run_that_learns_nothing_says_so(tutelage, student, workplace: Path):
    data = majority_data(workplace / "data")
    ended = tutelage(
        "train",
        *tiny.scripted(student, data, workplace / "replies.sqlite"),
        *tiny.EVOKD,
        "method.min_words=40",
        "evaluate.teacher=true",
        "evaluate.supervised=true",
        "hydra.run.dir=run",
    )
    assert ended.code == 0, ended.err
    result = json.loads((workplace / "run" / "result.json").read_text(encoding="utf-8"))
    said = " ".join(ended.out.split())
    # At once, and once.
    assert said.count("Round 1: none of 14 texts was accepted. Reasons: under 40 words (14)") == 1
    assert "Round 2: none of" not in said
    # At the end, below the table and in the result.
    _, table, after = said.partition("student before growth")
    assert table
    for sign in (
        "Of 28 texts none was accepted.",
        "The student is right on",
        "not clearly above the answer 'weather' to every text (30, 0.667)",
        "Try a lower method.min_words.",
    ):
        assert sign in after
        assert any(sign in warning for warning in result["warnings"]), result["warnings"]


def test_a_sound_run_has_no_warning(tutelage, student, small_data, workplace: Path):
    ended = tutelage(
        "train",
        *tiny.scripted(student, small_data, workplace / "replies.sqlite"),
        *tiny.EVOKD,
        "shots=6",
        "training.start_epochs=25",
        "hydra.run.dir=run",
    )
    assert ended.code == 0, ended.err
    result = json.loads((workplace / "run" / "result.json").read_text(encoding="utf-8"))
    assert result["warnings"] == []
