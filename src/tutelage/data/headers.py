"""The header of csv and tsv files: one that is missing, or lies below other lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.errors import DataError

_SEARCHED = 10
"""Number of lines in which a header is searched."""
_LONG = 4
"""Number of words from which a name of a column looks like a text."""


@dataclass(frozen=True, slots=True)
class Names:
    """Columns that a header should have.

    Attributes:
        text: Column of the texts.
        label: Column of the labels; "" where none is read.
        setting: Setting or option that names the column of the texts, up to its value.
    """

    text: str
    label: str = ""
    setting: str = "data.text_column="


def refuse_lines_above(
    where: str, text: str, header: Sequence[str], names: Names, first: int
) -> None:
    """Refuse a file with other lines above its header, as programs write into their exports.

    Args:
        where: Name of the file, for messages.
        text: Its contents.
        header: Fields of its first row.
        names: The columns to look for.
        first: Number of the first line of ``text``.

    Raises:
        DataError: If one of the next lines has the column of the texts, which the first one lacks.
    """
    if names.text in _cells(",".join(header)):
        return
    for number, line in enumerate(text.split("\n", _SEARCHED)[1:_SEARCHED], start=first + 1):
        if names.text in _cells(line):
            raise DataError(
                f"{where}:{number} looks like the header, since it has the column '{names.text}'. "
                "Remove the lines above it."
            )


def refuse_missing_header(
    location: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    names: Names,
    separator: str,
) -> None:
    """Refuse a file without the column of the texts whose first line looks like a row.

    Args:
        location: File and line of the header, for messages.
        header: Its cells.
        rows: Fields of the other rows.
        names: The columns to look for.
        separator: What stands between fields.

    Raises:
        DataError: If a cell occurs in its column again, as a label does, or has many words.
    """
    if names.text in header:
        return
    again = [
        column
        for column, cell in enumerate(header)
        if cell and any(row[column].strip() == cell for row in rows)
    ]
    long = [cell for cell in header if len(cell.split()) >= _LONG]
    if not again and not long:
        return
    line = separator.join(_names_for(header, again, names)).replace("\t", "<tab>")
    if again:
        raise DataError(
            f"{location}: the first line looks like a row, since '{header[again[0]][:60]}' occurs "
            f"in a row below as well. Write the names of the columns above it: {line}"
        )
    raise DataError(
        f"{location}: there is no column '{names.text}', and the first line looks like a row "
        f"('{long[0][:60]}'). If it is one, write the names of the columns above it: {line} — if "
        f"not, name the column of the texts: {names.setting}…"
    )


def _names_for(header: Sequence[str], again: Sequence[int], names: Names) -> list[str]:
    """Names for the columns of a file without any: the longest cell is the text."""
    texts = max(range(len(header)), key=lambda column: len(header[column]))
    labels = next((column for column in again if column != texts), None) if names.label else None
    return [
        names.text
        if column == texts
        else names.label
        if column == labels
        else f"column{column + 1}"
        for column in range(len(header))
    ]


def _cells(line: str) -> list[str]:
    return [cell.strip(' "\r\ufeff') for cell in re.split(r"[,;\t|]", line)]
