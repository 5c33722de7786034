"""The examples of docs/reference/data.md are read as documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tutelage.data.readers import read_split
from tutelage.tasks.rows import Columns

BLOCKS = re.findall(
    r"^```(jsonl|csv|conll)\n(.*?)^```",
    (Path(__file__).parents[3] / "docs" / "reference" / "data.md").read_text(encoding="utf-8"),
    re.M | re.S,
)
READ = [
    ("jsonl", {("will it rain in Bath tomorrow", "weather"), ("play some jazz", "music")}),
    ("csv", {("will it rain in Bath, or snow", "weather")}),
    ("jsonl", {("Anna Lee left Köln .", '[[0, 2, "PER"], [3, 4, "LOC"]]')}),
    ("conll", {("Anna Lee left #Köln", '[[0, 2, "PER"], [3, 4, "LOC"]]')}),
    ("jsonl", {("Anna Lee left Köln .", '[[0, 2, "PER"], [3, 4, "LOC"]]')}),
]


def test_every_example_is_looked_at() -> None:
    assert [ending for ending, _ in BLOCKS] == [ending for ending, _ in READ]


@pytest.mark.parametrize("number", range(len(READ)))
def test_an_example_is_read(tmp_path: Path, number: int) -> None:
    (ending, content), (_, expected) = BLOCKS[number], READ[number]
    file = tmp_path / f"test.{ending}"
    file.write_text(content, encoding="utf-8")
    rows = read_split(
        file, Columns("classification" if number < 2 else "ner"), need_label=True
    ).rows
    assert {(row.text, row.label) for row in rows} == expected
