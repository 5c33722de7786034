"""Files of texts to label, without targets, for ``tutelage predict`` and ``tutelage label``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tutelage.data.encodings import Encoding
from tutelage.data.files import NoRowsError, format_of, is_txt
from tutelage.data.readers import Reading, read_records
from tutelage.data.streamed import Located, is_large, stream_records
from tutelage.errors import DataError, did_you_mean
from tutelage.tasks.markings import checked_word
from tutelage.tasks.rows import Columns, kind_of

_OWN_KEYS = ("row", "text", "label", "confidence", "probabilities", "entities")
"""Keys of the output that are not columns of the input."""
_HEAD = 1_000
"""Rows of a large file that show its columns."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file of texts, and how to read it.

    Attributes:
        file: The file, in any format that training reads, or .txt with a text per line.
        text_column: Column of the texts.
        words_column: For entities, a column of lists of words, read in rows without a text; in
            column files (CoNLL) the number of the column, if it is not the first.
        encoding: Encoding of a text file.
        keep: Columns to copy to the output, each alone or several in one string with commas
            between them; an empty sequence for all columns, None for none.
        further: Keys that the output has beside its usual ones.
    """

    file: Path
    text_column: str = "text"
    words_column: str = "tokens"
    encoding: str = "utf-8"
    keep: Sequence[str] | None = None
    further: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A text to label.

    Attributes:
        text: The text.
        copied: What comes before the prediction in its record: the row's number, kept columns.
        of_words: Whether the text is a list of words of the file, joined by single spaces.
    """

    text: str
    copied: dict[str, Any] = field(default_factory=dict)
    of_words: bool = False


def read_rows(source: Source, *, tagger: bool) -> tuple[Iterable[Row], list[str]]:
    """Read the texts of a file, one per row and in order.

    A file of up to 16 MB is read and checked whole. Of a larger one only the beginning is; its
    rows are read as they are asked for, so that memory does not grow with it.

    Args:
        source: The file, and how to read it.
        tagger: Whether the texts are for a student that finds entities: lists of words are then
            read as well.

    Returns:
        The rows, and what a user should be told about the file.

    Raises:
        DataError: If the file cannot be read, has no rows, lacks a column, or a text is no string;
            of a large file perhaps while its rows are read.
    """
    if not tagger and format_of(source.file) == "conll" and not is_txt(source.file):
        raise DataError(
            f"{source.file} has a word per line, but the student labels whole texts. "
            "Give a file with a text per line (.txt) or per row."
        )
    number = int(source.words_column) if source.words_column.lstrip("-").isdigit() else 0
    columns = Columns(
        text=source.text_column, label="", words=source.words_column, word_number=number
    )
    reading = Reading(
        columns,
        Encoding(source.encoding, "--encoding "),
        txt="either" if tagger else "texts",
        tags="ignored",
        word_setting="--words-column ",
        text_setting="--text-column ",
    )
    large = _readable(source.file) and is_large(source.file)
    try:
        streamed = stream_records(source.file, reading) if large else None
        found = streamed or read_records(source.file, reading)
    except NoRowsError as error:
        raise DataError(f"{error} Add texts to it, or give another file.") from None
    warnings = list(found.warnings)
    if found.format == "conll" and is_txt(source.file):
        warnings.append(f"{source.file} was read as words with tags: each line ends in a tag.")
    if large and streamed is None:
        warnings.append(
            f"{source.file} is read whole, because this kind of file cannot be read row by row. "
            "Write it as .jsonl or .csv if memory runs out."
        )
    head = list(islice(found.rows, None if streamed is None else _HEAD))
    if not head:
        raise DataError(f"{source.file} has no rows. Add rows to it, or give another file.")
    kept = _kept_columns(source, [record for _, record in head])
    rows = _rows(chain(head, found.rows), source, kept, tagger=tagger)
    return (list(rows) if streamed is None else rows), warnings


def _readable(file: Path) -> bool:
    """Whether a file's size is known; if not, reading says what is wrong."""
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def _rows(
    located: Iterable[Located], source: Source, kept: dict[str, str], *, tagger: bool
) -> Iterator[Row]:
    # An empty --keep stands for all columns: some may appear after the first rows of a large file.
    every = source.keep is not None and not source.keep
    for number, (location, record) in enumerate(located, start=1):
        if every:
            _add_keys(kept, record, source)
        copied = {key: _as_json(record.get(column)) for column, key in kept.items()}
        text = _text_of(location, record, source, tagger=tagger)
        of_words = tagger and record.get(source.text_column) is None
        yield Row(text, {"row": number, **copied}, of_words)


def _text_of(location: str, record: dict[str, Any], source: Source, *, tagger: bool) -> str:
    value = record.get(source.text_column)
    if tagger and value is None and source.words_column in record:
        words = record[source.words_column]
        if words is not None and not isinstance(words, list):
            raise DataError(
                f"{location}: '{source.words_column}' is {kind_of(words)} ({repr(words)[:60]}), "
                "not a list of words. Choose another --words-column, or correct the row."
            )
        return " ".join(checked_word(location, word) for word in words or ())
    if source.text_column not in record:
        words = " or --words-column" if tagger else ""
        raise DataError(
            f"{location}: {did_you_mean('column', source.text_column, map(str, record), 8)} "
            f"Set it with --text-column{words}."
        )
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"{location}: the text is {kind_of(value)} ({repr(value)[:60]}), not a string. "
            "Choose another --text-column, or correct the row."
        )
    return value


def _kept_columns(source: Source, records: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Return the key in the output of each column to keep."""
    if source.keep is None:
        return {}
    present = list(dict.fromkeys(column for record in records for column in record))
    wanted = [
        column
        for given in source.keep
        # A comma may belong to the name of a column.
        for column in ([given] if given in present else map(str.strip, given.split(",")))
    ]
    for column in wanted:
        if column not in present:
            raise DataError(f"--keep: {did_you_mean('column', column, present, 8)}")
    keys: dict[str, str] = {}
    _add_keys(keys, wanted or present, source)
    return keys


def _add_keys(keys: dict[str, str], columns: Iterable[str], source: Source) -> None:
    """Add a key in the output for each column that has none yet."""
    for column in columns:
        # The text is in the output anyway.
        if column == source.text_column or column in keys:
            continue
        key = column
        while key in (*_OWN_KEYS, *source.further) or key in keys.values():
            key = f"input_{key}"
        keys[column] = key


def _as_json(value: Any) -> Any:
    """Return a cell as JSON can hold it: dates and the like as text, NaN as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)
