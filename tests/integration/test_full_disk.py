"""A run on a full disk reports it, keeps all replies, and resumes to the undisturbed result."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.bad_data import assert_fails, cached_replies, good_folder, run_overrides
from tests.helpers.teachers import ASKS
from tests.helpers.tiny import grow

from tutelage.data import pool as pool_module
from tutelage.teacher.wrappers.cache_store import CacheStore

pytestmark = pytest.mark.usefixtures("no_report")


@pytest.fixture
def overrides(student: Path, workplace: Path) -> list[str]:
    return run_overrides(student, good_folder(workplace / "mine"), workplace)


@pytest.fixture
def undisturbed(overrides, workplace) -> dict[str, Any]:
    return grow(workplace / "undisturbed", [*overrides, "teacher.cache=undisturbed.sqlite"])


def test_a_disk_too_full_for_the_pool(tutelage, workplace, overrides, undisturbed, monkeypatch):
    monkeypatch.setenv(ASKS, str(workplace / "asks"))
    write = pool_module._write_all
    written = []

    def full(descriptor: int, data: bytes) -> None:
        written.append(data)
        if len(written) == 2:  # there is space for the shots, but not for the first round
            write(descriptor, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(pool_module, "_write_all", full)
        assert_fails(
            tutelage,
            workplace,
            overrides,
            7,
            "rows.jsonl could not be written (No space left on device)",
            "Free some disk space",
        )
    answered = len((workplace / "asks").read_text().split())
    assert cached_replies(workplace / "replies.sqlite") == answered > 0
    ended = tutelage("train", *overrides, "resume=true")
    assert ended.code == 0, ended.err
    run = next(workplace.glob("outputs/*/*"))
    result = json.loads((run / "result.json").read_text())
    assert result["pool_hash"] == undisturbed["pool_hash"]
    assert result["after"] == undisturbed["after"]
    assert len((workplace / "asks").read_text().split()) == undisturbed["requests"]["all"], (
        "nothing that was answered is asked again"
    )


def test_a_disk_too_full_for_the_cache(tutelage, workplace, overrides, undisturbed, monkeypatch):
    monkeypatch.setenv(ASKS, str(workplace / "asks"))
    prepare = CacheStore._prepare

    def small(store: CacheStore) -> None:
        prepare(store)
        (pages,) = store._db.execute("PRAGMA page_count").fetchone()
        store._db.execute(f"PRAGMA max_page_count={pages + 1}")  # SQLite then reports a full disk

    with monkeypatch.context() as patch:
        patch.setattr(CacheStore, "_prepare", small)
        said = (
            "replies.sqlite failed: database or disk is full",
            "free some space",
            "Every earlier reply is kept",
        )
        assert_fails(tutelage, workplace, overrides, 5, *said)
    answered = len((workplace / "asks").read_text().split())
    assert cached_replies(workplace / "replies.sqlite") == answered - 1
    assert tutelage("train", *overrides, "resume=true").code == 0
    result = json.loads(next(workplace.glob("outputs/*/*/result.json")).read_text())
    assert result["pool_hash"] == undisturbed["pool_hash"]
    assert len((workplace / "asks").read_text().split()) == undisturbed["requests"]["all"] + 1


def test_a_disk_too_full_for_anything_still_says_so(tutelage, workplace, overrides, monkeypatch):
    write_text, full = Path.write_text, []

    def refused(path: Path, *given: Any, **settings: Any) -> int:
        full.extend([path.name] if path.name.startswith(".round-001.json.") else [])
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_text(path, *given, **settings)

    monkeypatch.setattr(Path, "write_text", refused)
    ended = tutelage("train", *overrides)
    assert ended.code == 7
    assert "could not be written: No space left on device. Free some disk space" in ended.err
    assert "report   not drawn: " in ended.err


def test_a_run_folder_that_cannot_be_made(tutelage, workplace, overrides):
    (workplace / "outputs").write_text("a file")
    ended = tutelage("train", *overrides)
    assert ended.code == 7
    assert "The run folder outputs/files-evokd/" in ended.err
    assert "Give another with hydra.run.dir=" in ended.err
