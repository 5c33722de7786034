"""Rows in the form of their source: a text, its target, and the place they come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.errors import DataError
from tutelage.tasks.registry import row_reader
from tutelage.tasks.rows import Columns


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
        replaced: Number of texts with characters that were replaced
            (:func:`tutelage.characters.usable`).
    """

    where: str
    columns: tuple[str, ...]
    rows: tuple[RawExample, ...]
    warnings: tuple[str, ...] = ()
    replaced: int = 0


def raw_examples(
    columns: Sequence[str],
    records: Iterator[tuple[str, dict[str, Any]]],
    read: Columns,
    *,
    where: str,
    need_label: bool,
) -> tuple[RawExample, ...]:
    """Extract text and label from every record, as the task reads them.

    Args:
        columns: Names of the columns in the source.
        records: Pairs of location ("train.csv:12") and values by column.
        read: The columns to read.
        where: Name of the source, for messages.
        need_label: Whether an absent label column is an error.

    Raises:
        DataError: If a column is absent, a value has the wrong type, tags or spans come without
            their words or text, or there are no rows.
    """
    reader = row_reader(read.kind)
    # Check the columns first: a missing one is an error of the file, not of its first row.
    reader.check_columns(where, dict.fromkeys(columns), read, need_label)
    # Lines of JSON may differ in their keys, so each record is checked again.
    rows = [
        RawExample(*reader.read(location, record, read, need_label), location)
        for location, record in records
    ]
    if not rows:
        raise DataError(f"{where} has no rows. Add rows to it, or remove it from the folder.")
    return tuple(rows)
