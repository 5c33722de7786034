"""What the terminal says of each split, and of rows that cleaning leaves out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.data.folders import ANIMALS, TOOLS, Rows, folder, rows

from tutelage.data.assembly import assemble
from tutelage.data.dataset import SplitSummary, counted_reason
from tutelage.data.raw import RawExample, RawSplit
from tutelage.data.sources import load_files
from tutelage.errors import DataError


def orders(start: int, stop: int) -> Rows:
    return [
        {"text": f"order {n * 7919} has not arrived, please check", "label": "late"}
        for n in range(start, stop)
    ]


def test_each_split_has_a_line(tmp_path: Path) -> None:
    blank: dict[str, Any] = {"text": "", "label": "animal"}
    unlabelled = {"text": "no label at all"}
    train = [*rows(0, 8), rows(0, 1)[0], rows(10, 11)[0], blank, blank, unlabelled]
    data = load_files(folder(tmp_path, train=train, validation=None))
    assert [split.line() for split in data.splits] == [
        "pool  15 of 21 rows; 2 classes (HandTool: 7, animal: 7); 1 without label; left out: "
        "2 empty texts, 1 duplicate, 2 cut off for dev, 1 exact duplicate of test",
        "dev   2 of 2 rows; 2 classes (HandTool: 1, animal: 1)",
        "test  4 of 4 rows; 2 classes (HandTool: 2, animal: 2)",
    ]
    assert data.splits[1].where == "cut from train"
    # Rows in dev are not lost to the data set.
    assert "cut off" not in str(data.dropped)


def test_a_line_shows_the_largest_classes() -> None:
    classes = {f"c{number}": number for number in range(1, 12)}
    line = SplitSummary("pool", "train.csv", 5000, 4000, classes).line()
    assert line == (
        "pool  4,000 of 5,000 rows; 11 classes (c11: 11, c10: 10, c9: 9, c8: 8, c7: 7, "
        "c6: 6, c5: 5, c4: 4, and 3 more)"
    )


@pytest.mark.parametrize(
    ("count", "reason", "said"),
    [
        (1, "near duplicate of test", "1 near duplicate of test"),
        (1200, "near duplicate of test", "1,200 near duplicates of test"),
        (2, "conflicting label", "2 conflicting labels"),
        (3, "empty text", "3 empty texts"),
        (4, "cut off for dev", "4 cut off for dev"),
    ],
)
def test_a_reason_with_its_count(count: int, reason: str, said: str) -> None:
    assert counted_reason(count, reason) == said


RAW = st.lists(
    st.builds(
        RawExample,
        st.sampled_from([*ANIMALS[:5], "Badger!", "badgers are here", "badger is here", "", " "]),
        st.sampled_from(["a", "b", None]),
        st.just("f:1"),
    ),
    min_size=1,
    max_size=12,
)


@given(RAW, RAW, RAW, st.booleans())
def test_every_row_is_kept_or_counted(
    train: list[RawExample], dev: list[RawExample], test: list[RawExample], given_dev: bool
) -> None:
    splits = {"train": train, "test": test, **({"validation": dev} if given_dev else {})}
    raw = {name: RawSplit(name, (), tuple(held)) for name, held in splits.items()}
    try:
        data = assemble("x", raw)
    except DataError:
        return
    for split, examples in zip(data.splits, (data.pool, data.dev, data.test), strict=True):
        assert split.kept == len(examples) == split.read - sum(split.dropped.values())
        assert split.kept == split.unlabelled + sum(split.classes.values())
    assert sum(data.dropped.values()) == sum(
        count
        for split in data.splits
        for reason, count in split.dropped.items()
        if reason != "cut off for dev"
    )


def test_templated_texts_that_leave_the_pool_are_told(tmp_path: Path) -> None:
    path = folder(
        tmp_path,
        train=[*orders(0, 30), *rows(0, 8)],
        validation=[*orders(30, 32), *rows(8, 10)],
        test=[*orders(32, 36), *rows(10, 12)],
    )
    data = load_files(path)
    (warning,) = data.warnings
    assert warning.startswith(
        f"30 of 46 texts of {path / 'train.jsonl'} are left out of the pool: "
    )
    assert re.search(r"\d+ near duplicates of test, \d+ near duplicates of dev, such as", warning)
    assert "'order 0 has not arrived, please check' (train.jsonl:1) beside 'order " in warning
    assert "By label: 30 of 30 of 'late'." in warning
    assert "data.near_threshold=1 keeps the 30 near duplicates" in warning
    # It does.
    kept = load_files(path, near_threshold=1)
    assert (kept.warnings, kept.splits[0].classes["late"]) == ((), 30)


def test_copies_of_test_that_leave_dev_are_told_without_advice_on_the_threshold(
    tmp_path: Path,
) -> None:
    data = load_files(folder(tmp_path, validation=[*rows(8, 9), *rows(10, 12)]))
    (warning,) = data.warnings
    assert warning == (
        f"4 of 6 texts of {tmp_path / 'validation.jsonl'} are left out of dev: 4 duplicates of "
        f"test, such as 'I once saw a quokka, yes a quokka, there' (validation.jsonl:3) beside "
        "'I once saw a quokka, yes a quokka, there'."
    )


@pytest.mark.parametrize("copies", [1, 2])
def test_little_that_is_left_out_is_in_the_split_s_line_only(tmp_path: Path, copies: int) -> None:
    data = load_files(folder(tmp_path, train=[*rows(0, 8), *rows(0, copies)[:copies]]))
    assert data.warnings == ()
    assert f"left out: {copies} duplicate" in data.splits[0].line()


def test_a_class_of_which_nothing_is_left_is_told(tmp_path: Path) -> None:
    test = [*rows(10, 12), {"text": "when does the shop close", "label": "hours"}]
    train = [*rows(0, 8), {"text": "When does the shop close?", "label": "hours"}]
    data = load_files(folder(tmp_path, train=train * 1, test=test))
    assert any("By label: 1 of 1 of 'hours'" in warning for warning in data.warnings)


def contradicting(number: int) -> Rows:
    """Rows of which the first ``number`` stand there again, with another label."""
    train = rows(0, 8)
    again = [
        {**row, "label": "animal" if row["label"] == "HandTool" else "HandTool"} for row in train
    ]
    return [*train, *again[:number]]


def test_texts_with_two_labels_are_told_with_an_example(tmp_path: Path) -> None:
    data = load_files(folder(tmp_path, train=contradicting(2)))
    (warning,) = data.warnings
    assert warning == (
        f"2 of 18 labelled rows of {tmp_path / 'train.jsonl'} repeat the text of another row with "
        "another label, such as 'I once saw a badger, yes a badger, there': animal (train.jsonl:1) "
        "and HandTool (train.jsonl:17). The first row counts. Left out by label: 'HandTool' 1, "
        "'animal' 1."
    )
    assert data.splits[0].dropped == {"conflicting label": 2}
    assert load_files(folder(tmp_path, train=contradicting(1))).warnings == ()


def test_many_texts_with_two_labels_stop_the_run(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"12 of 28 labelled rows .*such as 'I once .* Give every text once, with one label",
    ):
        load_files(folder(tmp_path, train=contradicting(12)))


def test_entities_of_one_text_in_several_rows_stop_the_run(tmp_path: Path) -> None:
    def one_a_row(words: list[str]) -> Rows:
        return [
            {"text": text, "spans": [[text.index(name), text.index(name) + len(name), "X"]]}
            for word in words
            for text in [f"the {word} met Ada near Ulm"]
            for name in ("Ada", "Ulm")
        ]

    path = folder(
        tmp_path,
        train=one_a_row(ANIMALS),
        validation=one_a_row(TOOLS[:1])[:1],
        test=one_a_row(TOOLS[3:4])[:1],
    )
    with pytest.raises(DataError, match=r"Give every text once, with all of its entities\.$"):
        load_files(path, kind="ner")


def test_odd_labels_stay_on_one_line() -> None:
    line = SplitSummary("pool", "f", 2, 2, {"a\nb": 1, "c" * 900: 1}).line()
    assert line.startswith(r"pool  2 of 2 rows; 2 classes (a\nb: 1, ccc")
    assert len(line) < 150
