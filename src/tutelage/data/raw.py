"""Rows in the form of their source: a text, its target, and the place they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.characters import usable
from tutelage.errors import DataError
from tutelage.tasks.registry import row_reader
from tutelage.tasks.rows import Columns, in_file
from tutelage.tasks.span_edges import Marked, advice_on_offsets, check_edges, check_quotes

_ANSWER = "answer"
"""Prodigy's column for what the annotator thought of a row."""
_ANSWERS = ("accept", "ignore", "reject")
"""Its values, the ones that keep a row first."""
_FEW = 0.01
"""Share of rows with replaced characters from which a warning shows an example."""


@dataclass(frozen=True, slots=True)
class RawExample:
    """A text and its label in the form of the source.

    Attributes:
        text: The text.
        label: Its label; None if it is unlabelled.
        location: File and line, or split and row, for messages ("train.csv:12").
    """

    text: str
    label: str | None
    location: str


@dataclass(frozen=True, slots=True)
class RawSplit:
    """The rows of one split, before any cleaning.

    Attributes:
        where: The file, or the name of the split on the hub.
        columns: Names of the columns in it, for messages.
        rows: Its rows.
        warnings: What a user should see about them on the terminal, one sentence or two each.
        replaced: Number of rows with characters that were replaced
            (:func:`tutelage.characters.usable`).
        class_order: Names of the classes in the order of their numbers, if the source numbers them.
        rejected: Rows that their annotator rejected or ignored in Prodigy, without their texts.
    """

    where: str
    columns: tuple[str, ...]
    rows: tuple[RawExample, ...]
    warnings: tuple[str, ...] = ()
    replaced: int = 0
    class_order: tuple[str, ...] = ()
    rejected: tuple[RawExample, ...] = ()


def raw_split(
    columns: Sequence[str],
    records: Iterator[tuple[str, dict[str, Any]]],
    read: Columns,
    *,
    where: str,
    need_label: bool,
    warnings: Sequence[str] = (),
) -> RawSplit:
    """Extract text and label from every record, as the task reads them.

    Args:
        columns: Names of the columns in the source.
        records: Pairs of location ("train.csv:12") and values by column.
        read: The columns to read.
        where: Name of the source, for messages.
        need_label: Whether an absent label column is an error.
        warnings: What the source has to say already.

    Raises:
        DataError: If a column is absent, a value has the wrong type, tags or spans come without
            their words or text, most spans cut words, or there are no rows.
    """
    reader = row_reader(read.kind)
    # Check the columns first: a missing one is an error of the file, not of its first row.
    records = _with_columns(where, columns, records, read, need_label)
    records, rejected = _accepted(columns, records, read)
    rows: list[RawExample] = []
    marked: list[Marked] = []
    replaced = _Replaced(read)
    wrong: DataError | None = None
    # Lines of JSON may differ in their keys, so each record is checked again.
    for location, given in records:
        record = replaced.mend(location, given)
        if (spans := reader.character_spans(record, read)) is not None:
            marked.append(Marked(location, *spans))
        if wrong is not None:
            continue  # Only the spans are still of interest: they may explain the error.
        try:
            rows.append(RawExample(*reader.read(location, record, read, need_label), location))
        except DataError as error:
            wrong = error
    if wrong is not None:
        raise DataError(f"{wrong}{advice_on_offsets(marked)}") from wrong
    if rejected and not rows:
        raise DataError(
            f"{where}: all {len(rejected):,} rows are left out, because their 'answer' in Prodigy "
            "is reject or ignore. Accept some, or remove the column 'answer'."
        )
    if not rows:
        raise DataError(f"{where} has no rows. Add rows to it, or remove it from the folder.")
    return RawSplit(
        where,
        tuple(columns),
        tuple(rows),
        (
            *warnings,
            *_rejections(where, rejected, len(rows)),
            *replaced.warnings(where, len(rows)),
            *check_edges(where, marked),
            *check_quotes(where, marked),
        ),
        replaced.count,
        reader.class_order(read),
        tuple(RawExample("", None, location) for location, _ in rejected),
    )


Records = Iterator[tuple[str, dict[str, Any]]]


def _with_columns(
    where: str, columns: Sequence[str], records: Records, read: Columns, need_label: bool
) -> Records:
    """Check the columns; the first record's values tell more about missing ones."""
    reader, names = row_reader(read.kind), dict.fromkeys(columns)
    try:
        reader.check_columns(where, names, read, need_label)
    except DataError:
        for _, first in records:
            reader.check_columns(where, {**names, **first}, read, need_label)
            break
        raise
    return records


def _accepted(
    columns: Sequence[str], records: Records, read: Columns
) -> tuple[Records, list[tuple[str, str]]]:
    """Separate the rows that were rejected or ignored in Prodigy, as places with answers."""
    if _ANSWER not in columns or _ANSWER in (read.text, read.label, read.words, read.tags):
        return records, []
    held = list(records)
    answers = [record.get(_ANSWER) for _, record in held]
    # Another column of this name, such as the answers to questions, has other values too.
    if not all(answer is None or answer in _ANSWERS for answer in answers):
        return iter(held), []
    left = [
        (location, record[_ANSWER])
        for location, record in held
        if record.get(_ANSWER) in _ANSWERS[1:]
    ]
    return iter(one for one in held if one[1].get(_ANSWER) not in _ANSWERS[1:]), left


def _rejections(where: str, rejected: Sequence[tuple[str, str]], kept: int) -> list[str]:
    if not rejected:
        return []
    counts = Counter(answer for _, answer in rejected)
    counted = " or ".join(f"{answer} ({counts[answer]:,})" for answer in sorted(counts))
    return [
        f"{len(rejected):,} of {kept + len(rejected):,} rows of {where} are left out, because "
        f"their 'answer' in Prodigy is {counted}, the first in {in_file(rejected[0][0])}."
    ]


class _Replaced:
    """Replaces unusable characters in the cells to read, and counts the rows that have any."""

    def __init__(self, read: Columns) -> None:
        self.count = 0
        self._columns = (read.text, read.label, read.words, read.tags, read.spans)
        self._first = ""

    def mend(self, location: str, record: dict[str, Any]) -> dict[str, Any]:
        """Return the record with usable characters only."""
        mended = {
            name: clean
            for name in self._columns
            if (clean := _usable(record.get(name))) is not record.get(name)
        }
        if not mended:
            return record
        self.count += 1
        name = next(iter(mended))
        self._first = self._first or f"{in_file(location)}: {_excerpt(record[name])}"
        return {**record, **mended}

    def warnings(self, where: str, rows: int) -> list[str]:
        """Say so above a small share, with the first row as an example."""
        if self.count <= _FEW * rows:
            return []
        return [
            f"{self.count:,} of {rows:,} rows of {where} hold half an emoji or control characters, "
            f"which have been replaced by U+FFFD ({self._first}). If the texts are damaged, read "
            "them from their source again."
        ]


def _usable(value: Any) -> Any:
    """Clean all strings in a cell; the cell itself if there is nothing to replace."""
    if isinstance(value, str):
        clean = usable(value)
        return value if clean == value else clean
    if isinstance(value, list | tuple):
        items = [_usable(item) for item in value]
        return value if all(a is b for a, b in zip(items, value, strict=True)) else items
    if isinstance(value, dict):
        held = {key: _usable(item) for key, item in value.items()}
        return value if all(held[key] is value[key] for key in value) else held
    return value


def _excerpt(value: Any) -> str:
    """ASCII form of the first replaced character in a cell, with its neighbourhood."""
    if isinstance(value, list | tuple | dict):
        inner = value.values() if isinstance(value, dict) else value
        return next(_excerpt(item) for item in inner if _usable(item) is not item)
    first = next(index for index, char in enumerate(value) if usable(char) != char)
    return ascii(value[max(0, first - 30) : first + 10])
