"""Rows of a data source: numbered classes, the readers of the tasks, and the tasks by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.errors import DataError
from tutelage.records import Label
from tutelage.tasks.registry import TASKS, new_task, row_reader
from tutelage.tasks.rows import Columns, named


def test_numbers_become_names_and_nothing_else_does() -> None:
    assert [named("a:1", value, ("x", "y")) for value in (0, 1, -1, "y", None, True, 1.0)] == [
        "x",
        "y",
        None,
        "y",
        None,
        True,
        1.0,
    ]
    assert [named("a:1", value, ()) for value in (0, -1)] == [0, -1]
    for number in (2, -2):
        with pytest.raises(
            DataError,
            match=rf"^a:1: there is no class {number}; the data "
            rf"set names 2 classes, numbered from 0 \(x, y\)",
        ):
            named("a:1", number, ("x", "y"))


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_found_by_its_name_and_reads_rows(name: str) -> None:
    task = new_task(name, [Label("a", "a", "a"), Label("b", "b", "b")])
    assert (task.name, task.row_reader) == (name, row_reader(name))
    assert task.is_token_level == (task.head == "token")
    with pytest.raises(DataError, match=r"has none|no entities"):
        task.row_reader.check_labels([], "train")


def test_a_task_that_does_not_exist_is_told_with_a_similar_one() -> None:
    with pytest.raises(DataError, match="Did you mean 'classification'"):
        row_reader("clasification")


def test_a_format_that_cannot_hold_the_targets_is_refused() -> None:
    for name, format, said in (
        ("classification", "conll", "Set task=ner"),
        ("ner", "csv", "a csv file has no lists"),
    ):
        row_reader(name).check_format(Path("train.jsonl"), "jsonl", Columns(name))
        with pytest.raises(DataError, match=said):
            row_reader(name).check_format(Path(f"train.{format}"), format, Columns(name))


def test_the_classes_of_a_target() -> None:
    assert row_reader("classification").classes("music") == ("music",)
    marking = '[[0, 1, "PER"], [2, 3, "LOC"], [4, 5, "PER"]]'
    assert row_reader("ner").classes(marking) == ("PER", "LOC")
    assert row_reader("ner").classes("[]") == ()
