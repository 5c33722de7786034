"""Unusable data and settings: one message, an exit code, and no lost replies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.helpers.bad_data import (
    MUSIC,
    WEATHER,
    assert_fails,
    cached_replies,
    good_folder,
    rows,
    run_overrides,
    two_classes,
)
from tests.helpers.teachers import ASKS
from tests.helpers.tiny import grow, lines, write_jsonl
from tests.helpers.tiny_ner import scripted_ner

from tutelage.data.pool import Pool

pytestmark = pytest.mark.usefixtures("no_report")


@pytest.fixture
def folder(workplace: Path) -> Path:
    return good_folder(workplace / "mine")


@pytest.fixture
def overrides(student: Path, folder: Path, workplace: Path) -> list[str]:
    return run_overrides(student, folder, workplace)


def test_a_missing_folder(tutelage, workplace, overrides):
    assert_fails(
        tutelage,
        workplace,
        [*overrides, "data.path=mone"],
        3,
        "There is no folder mone.",
        "Did you mean 'mine'?",
        "Set data.path=",
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("train.jsonl", "", ("train.jsonl is empty.", "Add rows to it.")),
        ("test.jsonl", None, ("has no test file", "it contains: train.jsonl, validation.jsonl")),
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
        (
            "train.jsonl",
            '{"text": "a"}\n',
            ("has no labels", "Set data.label_column=", "a file named shots"),
        ),
        ("test.jsonl", '{"text": "a"}\n', ("lacks the column 'label'", "Add the column")),
        (
            "train.jsonl",
            '{"text": "a", "label": "b"}\n{"text": \n',
            ("train.jsonl:2: not JSON", "Each line must be one object"),
        ),
        ("train.jsonl", '{"text": "a", "label": "music"}\n{"text": "b", "label": "music"}\n', ()),
        (
            "test.jsonl",
            '{"text": "play jazz", "label": "jazz"}\n',
            ("test.jsonl:1", "Unknown label 'jazz'.", "no training example has it"),
        ),
    ],
    ids=[
        "empty",
        "missing",
        "empty texts",
        "text column",
        "no labels",
        "label column",
        "not JSON",
        "one class",
        "label only in test",
    ],
)
def test_a_file_that_cannot_be_used(tutelage, workplace, folder, overrides, name, content, said):
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    if not said:  # all rows have one class
        for split in ("validation", "test"):
            write_jsonl(folder / f"{split}.jsonl", rows((f"a {split} text", "music")))
        said = ("A classifier needs at least two labels", "only 'music'", "Check data.label_column")
    assert_fails(tutelage, workplace, overrides, 3, *said)
    assert not (workplace / "replies.sqlite").exists()


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        (
            "train.jsonl",
            {"text": "Bank of Rome fell", "spans": [[0, 12, "ORG"], [8, 12, "LOC"]]},
            (
                "train.jsonl:1: the spans [0, 12) 'Bank of Rome' (ORG) and [8, 12) 'Rome' (LOC) "
                "overlap",
                "Keep one of them",
            ),
        ),
        (
            "train.jsonl",
            {"tokens": ["Rome", "fell"], "tags": ["LOC", "O"]},
            ("train.jsonl:1: 'LOC' is not a tag of IOB1, IOB2 or BIOES",),
        ),
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
    assert_fails(
        tutelage,
        workplace,
        scripted_ner(ner_student, folder, workplace / "replies.sqlite"),
        3,
        *said,
    )
    assert not (workplace / "replies.sqlite").exists()


def test_a_file_that_is_not_utf_8_and_the_way_out(tutelage, workplace, folder, overrides):
    texts = [f"{text} café über Ärger" for text in MUSIC[:4]] + [
        f"{text} naïve façade" for text in WEATHER[:4]
    ]
    records = [
        {"text": text, "label": "music" if index < 4 else "weather"}
        for index, text in enumerate(texts)
    ]
    content = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    (folder / "train.jsonl").write_bytes(content.encode("cp1252"))
    assert_fails(
        tutelage,
        workplace,
        overrides,
        3,
        "train.jsonl is not utf-8: byte 0xe9 at offset",
        "data.encoding=",
        "iconv -f",
    )
    grow(workplace / "run", [*overrides, "data.encoding=cp1252", "method.rounds=0"])
    assert "café" in Pool.open(workplace / "run" / "pool" / "rows.jsonl").rows[0].text


def test_texts_that_repeat_or_are_empty_are_left_out_and_counted(workplace, folder, overrides):
    spoilt = two_classes(0, 4) + rows(
        (MUSIC[0].upper(), "music"),
        ("", "music"),
        ("  ", "weather"),
        (MUSIC[5], "music"),
        (WEATHER[0], "music"),
    )
    write_jsonl(folder / "train.jsonl", spoilt)
    grow(workplace / "run", [*overrides, "method.rounds=0"])
    data = json.loads((workplace / "run" / "manifest.json").read_text())["data"]
    assert data["pool"] == 8
    assert data["dropped"] == {
        "empty text in pool": 2,
        "duplicate in pool": 1,
        "conflicting label in pool": 1,
        "exact duplicate of test in pool": 1,
    }


def test_texts_longer_than_the_student_takes_are_cut_and_counted(workplace, folder, overrides):
    write_jsonl(
        folder / "test.jsonl",
        rows((" ".join(MUSIC), "music"), (" ".join(WEATHER), "weather"), ("rain", "weather")),
    )
    grow(workplace / "run", [*overrides, "student.max_length=16", "method.rounds=0"])
    assert (
        json.loads((workplace / "run" / "manifest.json").read_text())["truncated"]["student"] == 2
    )
    assert lines(workplace / "run" / "predictions" / "test-after.jsonl")[0]["text"] in (
        " ".join(MUSIC),
        " ".join(WEATHER),
        "rain",
    )


def test_more_labels_than_one_request_may_name_are_scored_in_groups(workplace, folder, overrides):
    names = [f"topic{number:03d}" for number in range(140)]
    for split, texts in (
        ("train", ("ask about", "say more of")),
        ("validation", ("a word on",)),
        ("test", ("tell me of",)),
    ):
        write_jsonl(
            folder / f"{split}.jsonl",
            rows(*((f"{text} {name} {name[::-1]}", name) for name in names for text in texts)),
        )
    whole = ["labelling.shortlist=null", "accept=scored", "method.rounds=1"]
    result = grow(workplace / "run", [*overrides, *whole, "data.near_threshold=1"])
    scores = [
        line["request"]
        for line in lines(workplace / "run" / "teacher" / "transcript.jsonl")
        if line["request"]["kind"] == "score"
    ]
    assert sorted({len(request["choices"]) for request in scores}) == [12, 128]
    assert result["rows"]["accepted"] > 140
    grown = [
        row
        for row in Pool.open(workplace / "run" / "pool" / "rows.jsonl").accepted()
        if row.distribution
    ]
    assert all(len(row.distribution.probabilities) == 140 for row in grown if row.distribution)


def colliding(folder: Path) -> None:
    for split, (start, end) in {"train": (0, 4), "validation": (4, 5), "test": (5, 6)}.items():
        write_jsonl(
            folder / f"{split}.jsonl",
            [{**row, "label": f"play_{row['label']}"} for row in two_classes(start, end)],
        )


def test_labels_whose_words_collide_get_codes(workplace, folder, overrides):
    colliding(folder)
    result = grow(workplace / "run", [*overrides, "accept=scored", "method.rounds=1"])
    prompts = [
        line["request"]["prompt"]
        for line in lines(workplace / "run" / "teacher" / "transcript.jsonl")
    ]
    assert any(prompt.startswith("A: play music\nB: play weather\n") for prompt in prompts)
    assert result["rows"]["accepted"] > 2


def test_without_codes_labels_with_one_word_are_named(tutelage, workplace, folder, overrides):
    colliding(folder)
    said = (
        "'play_music' and 'play_weather' cannot be told apart",
        "Use other words in data.labels",
        "labelling.allow_codes=true",
    )
    words = "data.labels={play_music:{word:play},play_weather:{word:play}}"
    assert_fails(tutelage, workplace, [*overrides, words, "labelling.allow_codes=false"], 2, *said)


def test_more_shots_than_a_class_has_or_none_at_all(tutelage, workplace, overrides):
    assert_fails(
        tutelage,
        workplace,
        [*overrides, "name=many", "shots=9"],
        3,
        "9 shots per class were requested",
        "'music' has 4",
        "Request at most 4",
    )
    ended = tutelage("train", *overrides, "name=none", "shots=0")
    said = "shots=0 gives none. Give shots=1 or more with training.gold=shots"
    assert (ended.code, said in ended.err) == (2, True)


def test_the_terminal_says_what_was_read_dropped_replaced_and_cut(
    tutelage, workplace, folder, student
):
    half = [{"text": "play \ud83d", "label": "music"}, {"text": "rain \ud83d", "label": "weather"}]
    copies = [{**row, "text": f"{row['text']}!"} for row in two_classes(0, 4)]
    write_jsonl(folder / "train.jsonl", [*two_classes(0, 4), *copies])
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in half))
    ended = tutelage(
        "train",
        "data=files",
        f"data.path={folder}",
        f"student.model={student}",
        "student.max_length=4",
        "method=shots",
        "evaluate.supervised=true",
        "training.start_epochs=1",
        "evaluate.supervised_epochs=1",
    )
    assert ended.code == 0, ended.err
    said = " ".join(ended.out.split())
    assert "pool 8 of 16 rows; 2 classes (music: 4, weather: 4); left out: 8 duplicates " in said
    assert "test 2 of 2 rows; 2 classes (music: 1, weather: 1); 2 with replaced characters" in said
    assert f"warning 8 of 16 texts of {folder / 'train.jsonl'} are left out of the pool: " in said
    assert "hold half an emoji or control characters, which have been replaced by U+FFFD" in said
    # Once, although the supervised student reads the same texts.
    assert (said.count("student.max_length=4 cuts"), ended.err.count("cuts")) == (1, 0)


def test_a_budget_below_one_round_loses_nothing(tutelage, workplace, overrides):
    assert_fails(
        tutelage,
        workplace,
        [*overrides, "budget.tokens=50"],
        2,
        "budget.tokens=50 is smaller than one round",
        "Raise it",
    )
    assert cached_replies(workplace / "replies.sqlite") > 0


def test_a_loss_that_is_no_number(tutelage, workplace, overrides):
    said = ("The student's loss became nan in round 0", "Lower student.learning_rate (now 1e+30)")
    assert_fails(
        tutelage,
        workplace,
        [*overrides, "student.learning_rate=1e30", "training.start_epochs=3"],
        6,
        *said,
    )


def test_prompts_too_long_for_the_teacher_fail_one_by_one_and_the_run_goes_on(workplace, overrides):
    whole = grow(workplace / "whole", overrides)
    lengths = [
        len(line["request"]["prompt"].split())
        for line in lines(workplace / "whole" / "teacher" / "transcript.jsonl")
    ]
    result = grow(
        workplace / "run",
        [*overrides, "teacher.cache=other.sqlite", f"+teacher.longest={sorted(lengths)[-6]}"],
    )
    assert whole["requests"]["failed"] == 0
    assert 0 < result["requests"]["failed"] < result["requests"]["all"]
    growth = [
        json.loads(path.read_text())
        for path in sorted((workplace / "run" / "growth").glob("round-*.json"))
    ]
    assert sum(record["failed"] for record in growth) == result["requests"]["failed"]
    assert all(record["asked"] == record["answered"] + record["failed"] for record in growth)
    reasons = [
        row.reason
        for row in Pool.open(workplace / "run" / "pool" / "rows.jsonl").rows
        if not row.accepted
    ]
    failed = [reason for reason in reasons if "failed: the prompt has" in reason]
    analyses = sum(not record["analysis"] for record in growth)
    assert len(failed) + analyses == result["requests"]["failed"]
    assert (
        cached_replies(workplace / "other.sqlite")
        == result["requests"]["all"] - result["requests"]["failed"]
    )


def test_an_engine_that_dies_leaves_what_it_answered(tutelage, workplace, overrides, monkeypatch):
    monkeypatch.setenv(ASKS, str(workplace / "asks"))
    assert_fails(
        tutelage,
        workplace,
        [*overrides, "+teacher.dies_after=11"],
        5,
        "the engine died.",
        "what was answered is in the cache",
    )
    assert (
        cached_replies(workplace / "replies.sqlite")
        == 11
        == len((workplace / "asks").read_text().split())
    )
