"""A small data folder for tests to damage, and assertions about the resulting failure."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.conftest import Command, CommandResult
from tests.helpers import tiny
from tests.helpers.tiny import write_jsonl

Records = list[dict[str, object]]

MUSIC = [
    "play some music",
    "listen to an album",
    "play a song now",
    "music for tonight please",
    "play my favourite tune",
    "an old album",
]
WEATHER = [
    "will it rain today",
    "the forecast for paris",
    "is it cold outside",
    "weather in bath",
    "sunny tomorrow or not",
    "rain again",
]


def rows(*pairs: tuple[str, str]) -> Records:
    return [{"text": text, "label": label} for text, label in pairs]


def two_classes(start: int, end: int) -> Records:
    return rows(
        *((text, "music") for text in MUSIC[start:end]),
        *((text, "weather") for text in WEATHER[start:end]),
    )


def good_folder(folder: Path) -> Path:
    """Writes a small, valid data folder."""
    folder.mkdir()
    write_jsonl(folder / "train.jsonl", two_classes(0, 4))
    write_jsonl(folder / "validation.jsonl", two_classes(4, 5))
    write_jsonl(folder / "test.jsonl", two_classes(5, 6))
    return folder


def run_overrides(student: Path, folder: Path, workplace: Path) -> list[str]:
    """Overrides of a short EvoKD run on ``folder``."""
    return [
        *tiny.scripted(student, folder, workplace / "replies.sqlite"),
        *tiny.EVOKD,
        "training.start_epochs=1",
    ]


def status(workplace: Path) -> dict[str, Any]:
    """status.json of the only run."""
    found = list(workplace.glob("outputs/*/*/status.json"))
    assert len(found) == 1
    return dict(json.loads(found[0].read_text()))


def assert_fails(
    tutelage: Command, workplace: Path, overrides: list[str], code: int, *parts: str
) -> CommandResult:
    """Asserts the exit code, each part of the message, and the same message in status.json."""
    ended = tutelage("train", *overrides)
    assert ended.code == code, ended.err
    message = next(
        line for line in ended.err.splitlines() if line.startswith("tutelage: ")
    ).removeprefix("tutelage: ")
    for part in parts:
        assert part in message, f"{part!r} is not in {message!r}"
    record = status(workplace)
    assert record["state"] == "failed"
    assert record["error"].startswith(message)
    assert record["resume_command"].startswith("tutelage train ")
    return ended


def cached_replies(path: Path) -> int:
    """Number of replies in a cache file."""
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("SELECT count(*) FROM answers").fetchone()[0])
