"""Labels that look the same, stand for a missing value, or are too many."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from tests.unit.data.folders import ANIMALS, TOOLS, Rows, folder

from tutelage.characters import look_alike_key
from tutelage.data.dataset import Dataset
from tutelage.data.label_checks import Use, check_look_alikes, label_warnings
from tutelage.data.raw import RawSplit
from tutelage.data.sources import load_files
from tutelage.errors import DataError
from tutelage.tasks.entity_rows import EntityRowReader
from tutelage.tasks.label_rows import LabelRowReader

WORDS = [*ANIMALS, *TOOLS]


def labelled(*labels: Any) -> Rows:
    return [
        {"text": f"the {word} and its {word}", "label": label}
        for word, label in zip(WORDS, labels, strict=False)
    ]


REST = {
    "validation": [{"text": "one more to check", "label": "a"}],
    "test": [{"text": "the last of them all", "label": "b"}],
}


def loaded(path: Path, train: Rows, suffix: str = ".jsonl", **settings: Any) -> Dataset:
    return load_files(folder(path, suffix, train=train, **REST), **settings)


def advised(message: str) -> Any:
    """The labels that a message says to list, as the command line would read them."""
    override = re.search(r"'data\.labels=\[.*\]'|data\.labels=\S+", message)
    assert override
    (given,) = shlex.split(override[0])
    return OverridesParser.create().parse_override(given).value()


@pytest.mark.parametrize(
    ("names", "difference"),
    [
        (("Food", "FOOD", "food"), "case"),
        (("new york", "new  york", "new\u00a0york"), "white space"),
        (("food", "food\u200b", "\ufefffood"), "invisible characters"),
        (("caf\u00e9", "cafe\u0301"), "Unicode form"),
        (("firm", "ｆｉｒｍ"), "Unicode form"),
        (("0", "0.0", "00"), "the format of a number"),
        (("-1", "-1.0", "-01."), "the format of a number"),
        (("STRASSE", "straße"), "case"),
        (("❤", "❤\ufe0f"), "invisible characters"),
        (("weather", "we\u0430ther"), "letters of another alphabet"),
        (("refund", '"refund"', "“refund”"), "quotation marks"),
        (("New York", "new\u200b  york"), "case, white space and invisible characters"),
    ],
)
def test_names_that_look_the_same_are_refused(
    tmp_path: Path, names: Sequence[str], difference: str
) -> None:
    train = labelled("a", "b", *names, names[0], "a", "b")
    with pytest.raises(DataError) as raised:
        loaded(tmp_path, train)
    message = str(raised.value)
    assert f" differ in {difference} only." in message
    first, *others = names
    assert f"{first!r} (2, first in train.jsonl:3)" in message
    assert message.count("(1, first in train.jsonl:") == len(others)
    # The advice keeps them apart.
    data = load_files(tmp_path, labels=advised(message))
    assert {*names} <= {label.name for label in data.labels}
    assert not data.warnings


@pytest.mark.parametrize(
    "names",
    [
        ("true", "True", "false"),
        ("True", "1", "False", "0"),
        ("TRUE", "1.0", "FALSE"),
    ],
)
def test_true_and_false_in_several_ways(names: Sequence[str]) -> None:
    uses = {name: Use(2, "train.csv:2") for name in names}
    with pytest.raises(DataError, match=r"differ in .*(case|false|number).* only"):
        check_look_alikes(uses, uses, LabelRowReader())
    # Among other labels, a number is no truth value.
    others = {"true": Use(1, ""), "1": Use(1, ""), "other": Use(1, "")}
    check_look_alikes(others, others, LabelRowReader())


def test_versions_and_other_names_are_not_numbers() -> None:
    names = ("1.1", "1.10", "v1", "v1.0", "C", "C++", "C#", "+", "-5", "5", "a-b", "a b", "10", "1")
    check_look_alikes({name: Use(1, "") for name in names}, names, LabelRowReader())


@given(
    st.text(st.characters(categories=("L", "N", "Zs", "M")), min_size=5),
    st.sampled_from([str.upper, str.title, lambda name: f"{name}\u200b", lambda name: f" {name} "]),
)
def test_what_differs_is_always_named(name: str, change: Any) -> None:
    other = change(name)
    key = look_alike_key(name)
    assume(name != other and key == look_alike_key(other) and re.search(r"\w{5}", key))
    uses = {one: Use(1, "train.csv:2") for one in (name, other)}
    with pytest.raises(DataError, match=r" differ in \w.* only\. Write"):
        check_look_alikes(uses, uses, EntityRowReader())


def test_splits_that_write_a_label_differently(tmp_path: Path) -> None:
    train = labelled("0.0", "1.0", "0.0", "1.0")
    rest = {name: [{"text": f"one {name}", "label": "1"}] for name in ("validation", "test")}
    with pytest.raises(
        DataError,
        match=r"'1.0' \(2, first in train.csv:3\) and '1' \(2, first in validation.csv:2\) differ "
        r".* only\. Correct the rows of validation.csv: no training example has '1'\.$",
    ):
        load_files(folder(tmp_path, ".csv", train=train, **rest))


def test_types_that_look_the_same(tmp_path: Path) -> None:
    train: Rows = [
        {"tokens": ["Mira", "left"], "tags": [tag, "O"]} for tag in ("B-PER", "B-per", "B- PER ")
    ]
    rest: dict[str, Any] = {
        name: [{"tokens": ["Ida", name], "tags": ["B-PER", "O"]}] for name in ("validation", "test")
    }
    for row, word in zip(train, ("saw", "met", "hit"), strict=True):
        row["tokens"][1] = word
    with pytest.raises(
        DataError,
        match=r"Some entity types look the same: 'PER' \(4, first in train.jsonl:1\) and 'per' "
        r"\(1, first in train.jsonl:2\) differ in case only. Write .*data.labels=",
    ) as raised:
        load_files(folder(tmp_path, train=train, **rest), kind="ner")
    names = advised(str(raised.value))
    assert [one.name for one in load_files(tmp_path, kind="ner", labels=names).labels] == names


@pytest.mark.parametrize(
    "mark",
    ["nan", "NaN", "N/A", "None", "null", "NA", "n/a", "-", "?", "#N/A", "<NA>", "\u200b", r"\N"],
)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_marks_of_missing_values(tmp_path: Path, mark: str, suffix: str) -> None:
    train = labelled("a", "b", "a", "b", mark, mark)
    (warning,) = loaded(tmp_path, train, suffix).warnings
    line = 6 if suffix == ".csv" else 5
    shown = f"'{mark}'" if mark.isprintable() else ascii(mark)
    assert warning.startswith(f"{shown} (2, first in train{suffix}:{line}) is used as a label, but")
    # Both ways out work: to list it, and to leave the cell empty.
    assert load_files(tmp_path, labels=advised(warning)).warnings == ()
    empty = [{**row, "label": "" if row["label"] == mark else row["label"]} for row in train]
    data = loaded(tmp_path, empty, suffix)
    assert (data.warnings, len(data.labels), data.splits[0].unlabelled) == ((), 2, 2)


def test_a_number_may_mark_a_missing_value(tmp_path: Path) -> None:
    (warning,) = loaded_numbers(tmp_path, "0", "1", "2", "-1", "0", "1", "2", "-1")
    assert warning.startswith("'-1' (2, first in train.csv:5) is used as a label, but may mark")
    # As a class beside its opposite, and as one of several negative numbers, it does not.
    assert loaded_numbers(tmp_path, "0", "1", "-1", "0", "1", "-1") == ()
    assert loaded_numbers(tmp_path, "-2", "-1", "0", "1", "-2", "-1", "0", "1") == ()


def loaded_numbers(path: Path, *labels: str) -> tuple[str, ...]:
    rest = {name: [{"text": f"one {name}", "label": "1"}] for name in ("validation", "test")}
    return load_files(folder(path, ".csv", train=labelled(*labels), **rest)).warnings


def test_numbers_that_shift_are_told(tmp_path: Path) -> None:
    uses = {"food": Use(2, "train.parquet: row 1"), "weather": Use(2, "train.parquet: row 2")}
    raw = RawSplit("train.parquet", ("text", "label"), ())
    order = ("food", "music", "weather", "none")
    (warning,) = label_warnings(uses, raw, [], uses, order, LabelRowReader())
    assert warning.startswith("No row of train.parquet has the label 'music', so the student has")
    assert label_warnings(uses, raw, [], uses, order[::2], LabelRowReader()) == []


def test_several_marks_of_missing_values_are_one_warning(tmp_path: Path) -> None:
    train = labelled(*["a", "b"] * 4, "nan", "NaN", "None")
    (warning,) = loaded(tmp_path, train).warnings
    assert "'nan' (1, first in train.jsonl:9), 'NaN' (1, " in warning
    assert "and 'None' (1, first in train.jsonl:11) are each used as a label" in warning


def test_a_class_with_one_example(tmp_path: Path) -> None:
    (warning,) = loaded(tmp_path, labelled("a", "b", "a", "b", "a", "b", "bb")).warnings
    assert warning == (
        f"Only one row of {tmp_path / 'train.jsonl'} has the label 'bb' (train.jsonl:7). "
        "Check the spelling, or add examples."
    )


def test_a_column_that_holds_no_labels(tmp_path: Path) -> None:
    few = labelled("a", "b", *(f"id {number}" for number in range(8)))
    (warning,) = loaded(tmp_path, few).warnings
    assert "has 10 labels in 10 labelled rows, such as 'a', 'b' and 'id 0': is it the " in warning
    assert warning.endswith("right column (of text, label)? Set data.label_column= if not.")
    train = [{"text": f"{json.dumps(n)} {n * n * 977}", "label": f"id {n % 40}"} for n in range(60)]
    rest = [{"text": "something else", "label": "id 1"}]
    path = folder(tmp_path, train=train, validation=rest, test=[{**rest[0], "text": "the end"}])
    with pytest.raises(DataError, match=r"has 40 labels in 60 labelled rows.*list them all in"):
        load_files(path)
    data = load_files(path, labels=[f"id {number}" for number in range(40)], near_threshold=1)
    assert data.warnings == ()


def test_labels_for_which_the_teacher_reads_one_word(tmp_path: Path) -> None:
    train = labelled("a", "b", "sci-fi", "SciFi", "sci_fi", "a", "b", "sci-fi", "SciFi", "sci_fi")
    (warning,) = loaded(tmp_path, train).warnings
    assert "one word for several labels: 'sci fi' for 'sci-fi', 'SciFi' and 'sci_fi'." in warning
    words = {"a": None, "b": None, "sci-fi": "x", "SciFi": "y", "sci_fi": "z"}
    assert load_files(tmp_path, labels=words).warnings == ()


def override(*names: str) -> str:
    uses = {name: Use(2, "train.csv:2") for name in names}
    with pytest.raises(DataError) as raised:
        check_look_alikes(uses, uses, LabelRowReader())
    found = re.search(r"keep them apart: (.*)", str(raised.value), re.DOTALL)
    assert found
    return shlex.split(found[1])[0]


@given(
    st.lists(
        st.text(st.one_of(st.sampled_from("\\${}\"':,[]=# \n"), st.characters()), max_size=9),
        unique=True,
        max_size=3,
    )
)
@example(["${oc.env:HOME}", "\\${x}", "a\\\\${b}\\", 'it\'s "q", ok', "\\", '\\"'])
def test_the_suggested_list_is_read_as_exactly_these_names(odd: list[str]) -> None:
    names = sorted({*odd, "same", "Same"})
    listed = OverridesParser.create().parse_override(override(*names)).value()
    config = OmegaConf.create({"labels": listed})
    assert OmegaConf.to_container(config, resolve=True) == {"labels": names}


@pytest.mark.parametrize(
    "names",
    [
        ("['a', 'b']", "['a']"),
        ('["a"]',),
        ("a|b",),
        ("a; c",),
        ("a,b",),
    ],
)
def test_labels_that_look_like_several(tmp_path: Path, names: Sequence[str]) -> None:
    (warning,) = loaded(tmp_path, labelled("a", "b", *names, "a", "b", *names)).warnings
    count = f"{len(names)} label{'s' * (len(names) > 1)} in {2 * len(names)} rows look"
    assert warning.startswith(count)
    assert f" like several labels, such as '{names[0]}' (2, first in train.jsonl:3). " in warning
    assert load_files(tmp_path, labels=["a", "b", *names]).warnings == ()


@pytest.mark.parametrize("name", ["Paris, France", "c|d", "[a", "a,c", "[x]"])
def test_labels_that_are_one(tmp_path: Path, name: str) -> None:
    assert loaded(tmp_path, labelled("a", "b", name, "a", "b", name)).warnings == ()


def test_a_long_label_is_cut_in_messages(tmp_path: Path) -> None:
    (warning,) = loaded(tmp_path, labelled("a", "b", "a", "b", "c\n" + "d" * 900)).warnings
    assert r"'c\nddd" in warning
    assert len(warning) < 300 + len(str(tmp_path))
