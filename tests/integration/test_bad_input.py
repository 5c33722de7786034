"""What a run says about data and settings that cannot be used, and about a full disk: one message, a code, and nothing answered is lost."""

from __future__ import annotations

import errno
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests import tiny
from tests.conftest import Command, Ended
from tests.teachers import ASKS
from tests.tiny import grow, lines, write_jsonl
from tests.tiny_ner import scripted_ner

from tutelage.data import pool as pool_module
from tutelage.data.pool import Pool
from tutelage.teacher.cache_store import CacheStore

pytestmark = pytest.mark.usefixtures("no_report")

Records = list[dict[str, object]]

MUSIC = ["play some music", "listen to an album", "play a song now", "music for tonight please", "play my favourite tune", "an old album"]
WEATHER = ["will it rain today", "the forecast for paris", "is it cold outside", "weather in bath", "sunny tomorrow or not", "rain again"]


def rows(*pairs: tuple[str, str]) -> Records:
    return [{"text": text, "label": label} for text, label in pairs]


def two_classes(start: int, end: int) -> Records:
    return rows(*((text, "music") for text in MUSIC[start:end]), *((text, "weather") for text in WEATHER[start:end]))


@pytest.fixture
def folder(workplace: Path) -> Path:
    """A good small data folder, to be spoilt."""
    made = workplace / "mine"
    made.mkdir()
    write_jsonl(made / "train.jsonl", two_classes(0, 4))
    write_jsonl(made / "validation.jsonl", two_classes(4, 5))
    write_jsonl(made / "test.jsonl", two_classes(5, 6))
    return made


@pytest.fixture
def words(student: Path, folder: Path, workplace: Path) -> list[str]:
    return [*tiny.scripted(student, folder, workplace / "replies.sqlite"), *tiny.EVOKD, "method.training.start_epochs=1"]


def status(workplace: Path) -> dict[str, Any]:
    found = list(workplace.glob("outputs/*/*/status.json"))
    assert len(found) == 1
    return dict(json.loads(found[0].read_text()))


def fails(tutelage: Command, workplace: Path, words: list[str], code: int, *said: str) -> Ended:
    """The run ends with ``code``, says each of ``said``, and its status file says the same."""
    ended = tutelage("train", *words)
    assert ended.code == code, ended.err
    message = next(line for line in ended.err.splitlines() if line.startswith("tutelage: ")).removeprefix("tutelage: ")
    for part in said:
        assert part in message
    record = status(workplace)
    assert record["state"] == "failed"
    assert record["error"].startswith(message)
    assert record["resume_command"].startswith("tutelage train ")
    return ended


def cached(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("SELECT count(*) FROM replies").fetchone()[0])


def test_a_missing_folder(tutelage, workplace, words):
    fails(tutelage, workplace, [*words, "data.path=mone"], 3, "There is no folder mone.", "Did you mean 'mine'?", "Set data.path=")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("train.jsonl", "", ("train.jsonl is empty.", "Fill it, or take it out")),
        ("test.jsonl", None, ("has no test file", "it holds: train.jsonl, validation.jsonl")),
        (
            "train.jsonl",
            '{"text": " ", "label": "music"}\n{"text": "", "label": "weather"}\n',
            ("all 2 texts are empty", "data.text_column"),
        ),
        (
            "train.jsonl",
            '{"sentence": "a", "label": "b"}\n',
            ("Unknown column 'text'.", "Available: label, sentence", "Set data.text_column="),
        ),
        ("train.jsonl", '{"text": "a"}\n', ("has no labels", "Set data.label_column=", "a file named shots")),
        ("test.jsonl", '{"text": "a"}\n', ("Unknown column 'label'.", "Set data.label_column=")),
        ("train.jsonl", '{"text": "a", "label": "b"}\n{"text": \n', ("train.jsonl:2: not JSON", "Each line must be one object")),
        ("train.jsonl", '{"text": "a", "label": "music"}\n{"text": "b", "label": "music"}\n', ()),
        ("test.jsonl", '{"text": "play jazz", "label": "jazz"}\n', ("test.jsonl:1", "Unknown label 'jazz'.", "no training example has it")),
    ],
    ids=["empty", "missing", "empty texts", "text column", "no labels", "label column", "not JSON", "one class", "label only in test"],
)
def test_a_file_that_cannot_be_used(tutelage, workplace, folder, words, name, content, said):
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    if not said:  # one class everywhere
        for split in ("validation", "test"):
            write_jsonl(folder / f"{split}.jsonl", rows((f"a {split} text", "music")))
        said = ("A classifier needs two labels or more", "only 'music'", "Check data.label_column")
    fails(tutelage, workplace, words, 3, *said)
    assert not (workplace / "replies.sqlite").exists()


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        (
            "train.jsonl",
            {"text": "Bank of Rome fell", "spans": [[0, 12, "ORG"], [8, 12, "LOC"]]},
            ("train.jsonl:1: the spans [0, 12) 'Bank of Rome' (ORG) and [8, 12) 'Rome' (LOC) overlap", "Keep one of them"),
        ),
        ("train.jsonl", {"tokens": ["Rome", "fell"], "tags": ["LOC", "O"]}, ("train.jsonl:1: 'LOC' is not a tag of IOB1, IOB2 or BIOES",)),
        (
            "train.jsonl",
            {"text": "Rome fell", "spans": [[0, 4, 2]]},
            ("the type 2 of the span [0, 4) is an integer", "Write the types by name"),
        ),
        (
            "test.jsonl",
            {"tokens": ["Rome", "fell"], "tags": ["B-GPE", "O"]},
            ("test.jsonl:1: Unknown entity type 'GPE'.", "data.labels does not list it"),
        ),
    ],
    ids=["nested", "no tag", "numbered type", "type only in test"],
)
def test_a_marking_that_cannot_be_used(tutelage, workplace, folder, ner_student, name, row, said):
    for split, who in (("train", "Ada"), ("validation", "Olga"), ("test", "Piet")):
        write_jsonl(folder / f"{split}.jsonl", [{"tokens": [who, "left"], "tags": ["B-PER", "O"]}])
    write_jsonl(folder / name, [row])
    fails(tutelage, workplace, scripted_ner(ner_student, folder, workplace / "replies.sqlite"), 3, *said)
    assert not (workplace / "replies.sqlite").exists()


def test_a_file_that_is_not_utf_8_and_the_way_out(tutelage, workplace, folder, words):
    texts = [f"{text} café über Ärger" for text in MUSIC[:4]] + [f"{text} naïve façade" for text in WEATHER[:4]]
    records = [{"text": text, "label": "music" if place < 4 else "weather"} for place, text in enumerate(texts)]
    content = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    (folder / "train.jsonl").write_bytes(content.encode("cp1252"))
    fails(tutelage, workplace, words, 3, "train.jsonl is not utf-8: byte 0xe9 at offset", "data.encoding=", "iconv -f")
    grow(workplace / "run", [*words, "data.encoding=cp1252", "method.rounds=0"])
    assert "café" in Pool.open(workplace / "run" / "pool" / "rows.jsonl").rows[0].text


def test_texts_that_repeat_or_are_empty_are_left_out_and_counted(workplace, folder, words):
    spoilt = two_classes(0, 4) + rows(
        (MUSIC[0].upper(), "music"), ("", "music"), ("  ", "weather"), (MUSIC[5], "music"), (WEATHER[0], "music")
    )
    write_jsonl(folder / "train.jsonl", spoilt)
    grow(workplace / "run", [*words, "method.rounds=0"])
    data = json.loads((workplace / "run" / "manifest.json").read_text())["data"]
    assert data["pool"] == 8
    assert data["dropped"] == {
        "empty text in pool": 2,
        "duplicate in pool": 1,
        "conflicting label in pool": 1,
        "exact duplicate of test in pool": 1,
    }


def test_texts_longer_than_the_student_takes_are_cut_and_counted(workplace, folder, words):
    write_jsonl(folder / "test.jsonl", rows((" ".join(MUSIC), "music"), (" ".join(WEATHER), "weather"), ("rain", "weather")))
    grow(workplace / "run", [*words, "student.max_length=16", "method.rounds=0"])
    assert json.loads((workplace / "run" / "manifest.json").read_text())["truncated"]["student"] == 2
    assert lines(workplace / "run" / "predictions" / "test-after.jsonl")[0]["text"] in (" ".join(MUSIC), " ".join(WEATHER), "rain")


def test_more_labels_than_one_request_may_name_are_scored_in_groups(workplace, folder, words):
    names = [f"topic{number:03d}" for number in range(140)]
    for split, texts in (("train", ("ask about", "say more of")), ("validation", ("a word on",)), ("test", ("tell me of",))):
        write_jsonl(folder / f"{split}.jsonl", rows(*((f"{text} {name} {name[::-1]}", name) for name in names for text in texts)))
    result = grow(workplace / "run", [*words, "selector=scored", "method.rounds=1", "data.near_threshold=1"])
    scores = [line["request"] for line in lines(workplace / "run" / "teacher" / "transcript.jsonl") if line["request"]["kind"] == "score"]
    assert sorted({len(request["choices"]) for request in scores}) == [12, 128]
    assert result["rows"]["accepted"] > 140
    grown = [row for row in Pool.open(workplace / "run" / "pool" / "rows.jsonl").accepted() if row.distribution]
    assert all(len(row.distribution.probabilities) == 140 for row in grown if row.distribution)


def colliding(folder: Path) -> None:
    for split, (start, end) in {"train": (0, 4), "validation": (4, 5), "test": (5, 6)}.items():
        write_jsonl(folder / f"{split}.jsonl", [{**row, "label": f"play_{row['label']}"} for row in two_classes(start, end)])


def test_labels_whose_words_collide_get_codes(workplace, folder, words):
    colliding(folder)
    result = grow(workplace / "run", [*words, "selector=scored", "method.rounds=1"])
    prompts = [line["request"]["prompt"] for line in lines(workplace / "run" / "teacher" / "transcript.jsonl")]
    assert any(prompt.startswith("A: play music\nB: play weather\n") for prompt in prompts)
    assert result["rows"]["accepted"] > 2


def test_without_codes_the_colliding_labels_are_named(tutelage, workplace, folder, words):
    colliding(folder)
    said = ("'play_music' and 'play_weather' begin with the same token", "Give other words in data.labels", "method.allow_codes=true")
    fails(tutelage, workplace, [*words, "method.allow_codes=false"], 2, *said)


def test_more_shots_than_a_class_has_or_none_at_all(tutelage, workplace, words):
    fails(
        tutelage, workplace, [*words, "name=many", "shots=9"], 3, "9 shots per class were asked for", "'music' has 4", "Ask for at most 4"
    )
    ended = tutelage("train", *words, "name=none", "shots=0")
    assert (ended.code, "shots=0 gives none; give shots=1 or more" in ended.err) == (2, True)


def test_a_budget_below_one_round_loses_nothing(tutelage, workplace, words):
    fails(tutelage, workplace, [*words, "budget.tokens=50"], 2, "budget.tokens=50 is smaller than one round", "Raise it")
    assert cached(workplace / "replies.sqlite") > 0


def test_a_loss_that_is_no_number(tutelage, workplace, words):
    said = ("The student's loss became nan in round 0", "Lower student.learning_rate (now 1e+30)")
    fails(tutelage, workplace, [*words, "student.learning_rate=1e30", "method.training.start_epochs=3"], 6, *said)


def test_prompts_too_long_for_the_teacher_fail_one_by_one_and_the_run_goes_on(workplace, words):
    whole = grow(workplace / "whole", words)
    lengths = [len(line["request"]["prompt"].split()) for line in lines(workplace / "whole" / "teacher" / "transcript.jsonl")]
    result = grow(workplace / "run", [*words, "teacher.cache=other.sqlite", f"+teacher.longest={sorted(lengths)[-6]}"])
    assert whole["requests"]["failed"] == 0
    assert 0 < result["requests"]["failed"] < result["requests"]["all"]
    growth = [json.loads(path.read_text()) for path in sorted((workplace / "run" / "growth").glob("round-*.json"))]
    assert sum(record["failed"] for record in growth) == result["requests"]["failed"]
    assert all(record["asked"] == record["answered"] + record["failed"] for record in growth)
    reasons = [row.reason for row in Pool.open(workplace / "run" / "pool" / "rows.jsonl").rows if not row.accepted]
    failed = [reason for reason in reasons if "failed: the prompt has" in reason]
    analyses = sum(not record["analysis"] for record in growth)
    assert len(failed) + analyses == result["requests"]["failed"]
    assert cached(workplace / "other.sqlite") == result["requests"]["all"] - result["requests"]["failed"]


def test_an_engine_that_dies_leaves_what_it_answered(tutelage, workplace, words, monkeypatch):
    monkeypatch.setenv(ASKS, str(workplace / "asks"))
    fails(tutelage, workplace, [*words, "+teacher.dies_after=11"], 5, "the engine died.", "what was answered is in the cache")
    assert cached(workplace / "replies.sqlite") == 11 == len((workplace / "asks").read_text().split())


@pytest.fixture
def undisturbed(words, workplace) -> dict[str, Any]:
    return grow(workplace / "undisturbed", [*words, "teacher.cache=undisturbed.sqlite"])


def test_a_disk_too_full_for_the_pool(tutelage, workplace, words, undisturbed, monkeypatch):
    monkeypatch.setenv(ASKS, str(workplace / "asks"))
    write = pool_module._write_all
    written = []

    def full(descriptor: int, data: bytes) -> None:
        written.append(data)
        if len(written) == 2:  # the shots fit, the first round does not
            write(descriptor, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(pool_module, "_write_all", full)
        fails(tutelage, workplace, words, 7, "rows.jsonl could not be written (No space left on device)", "Free some space")
    answered = len((workplace / "asks").read_text().split())
    assert cached(workplace / "replies.sqlite") == answered > 0
    ended = tutelage("train", *words, "resume=true")
    assert ended.code == 0, ended.err
    run = next(workplace.glob("outputs/*/*"))
    result = json.loads((run / "result.json").read_text())
    assert result["pool_hash"] == undisturbed["pool_hash"]
    assert result["after"] == undisturbed["after"]
    assert len((workplace / "asks").read_text().split()) == undisturbed["requests"]["all"], "nothing that was answered is asked again"


def test_a_disk_too_full_for_the_cache(tutelage, workplace, words, undisturbed, monkeypatch):
    monkeypatch.setenv(ASKS, str(workplace / "asks"))
    prepare = CacheStore._prepare

    def small(store: CacheStore) -> None:
        prepare(store)
        (pages,) = store._db.execute("PRAGMA page_count").fetchone()
        store._db.execute(f"PRAGMA max_page_count={pages + 1}")  # SQLite itself then says that the disk is full

    with monkeypatch.context() as patch:
        patch.setattr(CacheStore, "_prepare", small)
        said = ("replies.sqlite failed: database or disk is full", "free some space", "every reply that came before is kept")
        fails(tutelage, workplace, words, 5, *said)
    answered = len((workplace / "asks").read_text().split())
    assert cached(workplace / "replies.sqlite") == answered - 1
    assert tutelage("train", *words, "resume=true").code == 0
    result = json.loads(next(workplace.glob("outputs/*/*/result.json")).read_text())
    assert result["pool_hash"] == undisturbed["pool_hash"]
    assert len((workplace / "asks").read_text().split()) == undisturbed["requests"]["all"] + 1


def test_a_disk_too_full_for_anything_still_says_so(tutelage, workplace, words, monkeypatch):
    write_text, full = Path.write_text, []

    def refused(path: Path, *given: Any, **settings: Any) -> int:
        full.extend([path.name] if path.name.startswith(".round-001.json.") else [])
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_text(path, *given, **settings)

    monkeypatch.setattr(Path, "write_text", refused)
    ended = tutelage("train", *words)
    assert ended.code == 7
    assert "could not be written: No space left on device. Free some space" in ended.err
    assert "report   not drawn: " in ended.err


def test_a_run_folder_that_cannot_be_made(tutelage, workplace, words):
    (workplace / "outputs").write_text("a file")
    ended = tutelage("train", *words)
    assert ended.code == 7
    assert "The run folder outputs/files-evokd/" in ended.err
    assert "Give another with hydra.run.dir=" in ended.err
