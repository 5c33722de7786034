"""Reads files of texts, with or without labels: for training (:func:`read_split`) and prediction.

Every format becomes named columns per row (:func:`read_records`). Every error names the file and
the line.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from tutelage.data.conll import check_lengths, looks_tagged, read_sentences
from tutelage.data.encodings import Encoding, decode
from tutelage.data.feature_names import names_in_parquet
from tutelage.data.files import (
    FORMATS,
    NoRowsError,
    format_of,
    is_txt,
    read_bytes,
    unknown_ending,
)
from tutelage.data.headers import Names
from tutelage.data.raw import RawSplit, raw_split
from tutelage.data.separated import read_separated
from tutelage.errors import DataError, listed
from tutelage.tasks.registry import row_reader
from tutelage.tasks.rows import Columns

_Located = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Records:
    """The rows of a file.

    Attributes:
        columns: Names of the columns; in JSON those of the first row.
        rows: Location ("train.csv:12") and values by column of each row.
        warnings: What a user should be told about the file.
        classes: Names of numbered classes by column, if the file stores them.
        format: Name of its format.
    """

    columns: tuple[str, ...]
    rows: Iterator[_Located]
    warnings: tuple[str, ...] = ()
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    format: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read files.

    Attributes:
        columns: Names of columns, for formats that have none of their own.
        encoding: Encoding of text files; parquet files have their own.
        txt: Contents of a .txt file: words with tags, a text per line, or whichever it looks like.
        tags: Whether words in column files need tags, may have them, or are read without.
        word_setting: Setting or option of the column of words, up to its value, for messages.
        text_setting: Setting or option of the column of texts, likewise.
    """

    columns: Columns
    encoding: Encoding = field(default_factory=Encoding)
    txt: Literal["words", "texts", "either"] = "words"
    tags: Literal["needed", "optional", "ignored"] = "optional"
    word_setting: str = "data.word_column_number="
    text_setting: str = "data.text_column="


def read_split(
    files: Path | Sequence[Path],
    columns_read: Columns,
    *,
    need_label: bool,
    encoding: str = "utf-8",
    split: str = "train",
    train: RawSplit | None = None,
) -> RawSplit:
    """Read every row of a split.

    Args:
        files: The file, or the parts of the split in order. The ending determines the format.
        columns_read: The columns to read.
        need_label: Whether an absent label is an error; if not, the rows come without labels.
        encoding: Encoding of text files; parquet files have their own.
        split: Name of the split, for messages.
        train: The train split, whose columns the others should have.

    Raises:
        DataError: If a file is empty, broken or not in ``encoding``, lacks a column, or has a
            format unsuitable for the task.
        ConfigError: If ``encoding`` is unknown to Python.
    """
    paths = [files] if isinstance(files, Path) else list(files)
    for path in paths:
        # Refuse formats that cannot hold the targets of the task.
        row_reader(columns_read.kind).check_format(path, format_of(path), columns_read)
    reading = Reading(columns_read, Encoding(encoding), tags="needed" if need_label else "optional")
    try:
        parts = [read_records(path, reading) for path in paths]
    except NoRowsError as error:
        raise DataError(f"{error} {_ROWS[split]}") from None
    if any(part.classes != parts[0].classes for part in parts):
        raise DataError(
            f"{paths[0]} and the other parts of its split name their numbered classes differently. "
            "Write all parts again from one data set."
        )
    where = str(paths[0]) if len(paths) == 1 else f"{paths[0]} … {paths[-1].name}"
    rows = chain.from_iterable(part.rows for part in parts)
    if (first := next(rows, None)) is None:
        raise DataError(f"{where} has no rows. {_ROWS[split]}")
    if train is not None:
        _check_like_train(where, parts[0].columns, columns_read, train, split, need_label)
    return raw_split(
        parts[0].columns,
        chain([first], rows),
        replace(columns_read, classes=parts[0].classes),
        where=where,
        need_label=need_label,
        warnings=[warning for part in parts for warning in part.warnings],
    )


_ROWS = {
    "train": "Add rows to it.",
    "validation": "Add rows to it, or remove it: dev is then cut from train.",
    "test": "Add rows with a target to it: a run needs them to measure its student.",
    "shots": "Add rows to it, or remove it if train has targets.",
    "gold": "Add rows to it, or leave data.gold= out.",
}
"""What to do about a file without rows."""


def _check_like_train(
    where: str,
    columns: Sequence[str],
    read: Columns,
    train: RawSplit,
    split: str,
    need_label: bool,
) -> None:
    """Refuse a split that lacks a column which train has: the settings are right for train."""
    try:
        row_reader(read.kind).check_columns(where, dict.fromkeys(columns), read, need_label)
    except DataError:
        names = [read.text, read.label, read.words, read.tags, read.spans]
        lacking = [name for name in names if name in train.columns and name not in columns]
        if not lacking:
            return  # its rows tell more
        own = listed(columns)
        shown = " and ".join(f"'{name}'" for name in lacking)
        if lacking[0] in (read.label, read.tags, read.spans):
            remove = ", or remove the file: dev is then cut from train" * (split == "validation")
            raise DataError(
                f"{where} lacks the column {shown}, which has the targets in {train.where}; its "
                f"columns are {own}. A run needs the targets of {split}. Add the column{remove}; "
                f"if they are in another column, rename that one in {where}."
            ) from None
        raise DataError(
            f"{where} has the columns {own}, but {train.where} has {shown}. Rename the columns in "
            f"{where}, so that they are those of train."
        ) from None


def read_records(path: Path, reading: Reading) -> Records:
    """Read a file, whose ending determines its format.

    Args:
        path: The file.
        reading: How to read it.

    Raises:
        DataError: If the file is empty, broken or not in the encoding, its format is unknown, or
            column names are repeated.
        ConfigError: If the encoding is unknown to Python.
    """
    format = format_of(path)
    if not format:
        raise unknown_ending(path, chain.from_iterable(FORMATS.values()))
    data = read_bytes(path)
    # Binary parquet carries its own encoding and class names; all other formats are text.
    if format == "parquet":
        return _parquet(path, data)
    text, warnings = decode(path, data, reading.encoding)
    rows: Iterable[_Located]
    match format:
        case "csv" | "tsv":
            names = reading.columns
            # A tagger may read words in place of a text.
            wanted = Names(names.text, names.label, reading.text_setting)
            table = read_separated(str(path), text, format, wanted)
            warnings += table.warnings
            columns = table.header
            rows = (
                (f"{path}:{line}", dict(zip(columns, values, strict=True)))
                for line, values in table.rows
            )
        case "jsonl" | "json":
            columns, rows = _json(path, text, reading.columns)
        case _ if is_plain(path, text, reading):
            format, columns = "txt", [reading.columns.text]
            rows = _lines(path, text, reading.columns.text)
        case _:
            columns, rows, said = _conll(path, text, reading)
            warnings += said
    return Records(tuple(columns), iter(rows), tuple(warnings), format=format)


def is_plain(path: Path, text: str, reading: Reading) -> bool:
    """Whether a .txt file has a text per line; files of words with tags may have this ending."""
    if reading.txt == "words" or not is_txt(path):
        return False
    return reading.txt == "texts" or not looks_tagged(text)


def _lines(path: Path, text: str, column: str) -> Iterator[_Located]:
    """One row per line, blank ones included, so that rows and lines correspond."""
    lines = text.removesuffix("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        yield f"{path}:{number}", {column: line.removesuffix("\r")}


def _json(path: Path, text: str, names: Columns) -> tuple[list[str], list[_Located]]:
    """Read a list of objects, or one object per line."""
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    listed = _json_whole(path, text.strip(), decoder)
    found = (
        [(f"{path}: row {number}", row) for number, row in enumerate(listed, start=1)]
        if listed is not None
        # Not splitlines(): it also splits at characters that are legal inside JSON strings.
        else [
            (location := f"{path}:{number}", _json_line(location, line, decoder))
            for number, line in enumerate(text.split("\n"), start=1)
            if line.strip()
        ]
    )
    for location, row in found:
        _check_row(location, row)
    if not found:
        raise NoRowsError(f"{path} has no rows.")
    if len(found) == 1:
        _refuse_wrapped_rows(*found[0], names)
    return list(found[0][1]), found


def read_json_row(location: str, line: str) -> dict[str, Any]:
    """Read one line of a file of JSON objects.

    Args:
        location: File and line, for messages.
        line: The line.

    Raises:
        DataError: If it is no JSON object, or has a key twice.
    """
    row = _json_line(location, line, json.JSONDecoder(object_pairs_hook=_object))
    _check_row(location, row)
    return dict(row)


def _check_row(location: str, row: Any) -> None:
    if not isinstance(row, dict):
        raise DataError(
            f"{location}: a row must be a JSON object with named columns, "
            f"not a {type(row).__name__}; it reads {json.dumps(row)[:60]}."
        )


def _json_whole(path: Path, text: str, decoder: json.JSONDecoder) -> list[Any] | None:
    """Return the list that a file is as a whole; None if it has one value per line."""
    is_list = text.startswith("[")
    if not is_list and format_of(path) == "jsonl":
        return None
    try:
        found = decoder.decode(text)
    except _RepeatedKey as error:
        raise DataError(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:
        if not is_list or format_of(path) == "jsonl":
            return None
        raise DataError(
            f"{path} is not JSON ({error}). It must be one list of objects such as "
            '[{"text": …, "label": …}, …], or have one object per line.'
        ) from None
    # In a file of lines, a line may be a list, which is an error of that line.
    of_lists = format_of(path) == "jsonl" and not all(isinstance(row, dict) for row in found)
    return None if of_lists else found if is_list else [found]


def _json_line(location: str, line: str, decoder: json.JSONDecoder) -> Any:
    try:
        return decoder.decode(line.strip())
    except _RepeatedKey as error:
        raise DataError(f"{location}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{location}: not JSON ({error}). Each line must be one object "
            f'such as {{"text": …, "label": …}}; it reads {line[:60]!r}.'
        ) from None


class _RepeatedKey(ValueError):
    """An object has a key twice, of which Python would keep the last."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise _RepeatedKey(
            f"the key '{key}' stands more than once in one object. Keep one of them."
        )
    return made


def _refuse_wrapped_rows(location: str, row: Mapping[str, Any], names: Columns) -> None:
    """Refuse a single object that holds all rows: a column or a list of rows under each key."""
    if row and all(isinstance(value, dict) for value in row.values()):
        cells = [key for value in row.values() for key in value]
        if names.text not in row and names.words not in row and not all(map(str.isdigit, cells)):
            raise DataError(
                f"{location}: one object holds all rows under keys of their own ({listed(row)}). "
                "Write its values alone, as a list or one object per line; with Python: "
                "json.dump(list(json.load(open(old)).values()), open(new, 'w'))."
            )
        raise DataError(
            f"{location}: one object holds whole columns ({listed(row)}). Write one object per "
            'row; with pandas: df.to_json("train.jsonl", orient="records", lines=True).'
        )
    rows = next(
        (
            key
            for key, value in row.items()
            if isinstance(value, list) and value and all(isinstance(one, dict) for one in value)
        ),
        None,
    )
    if rows is not None and names.text not in row and names.words not in row:
        raise DataError(
            f"{location}: one object holds all rows, as a list under '{rows}'. "
            "Write that list alone, or one of its objects per line."
        )


def _conll(path: Path, text: str, reading: Reading) -> tuple[list[str], list[_Located], list[str]]:
    names = reading.columns
    tag_number = None if reading.tags == "ignored" else names.tag_number
    sentences = read_sentences(str(path), text, names.word_number, tag_number, reading.word_setting)
    if reading.tags == "needed" and any(one.tags is None for one in sentences):
        raise DataError(
            f"{path} has one column, so it has words but no tags. "
            "Add the tags, a space or tab after each word."
        )
    columns = [names.words] if tag_number is None else [names.words, names.tags]
    rows: list[_Located] = [
        (one.location, dict(zip(columns, (one.words, one.tags), strict=False))) for one in sentences
    ]
    return columns, rows, check_lengths(str(path), sentences)


def _parquet(path: Path, data: bytes) -> Records:
    import pyarrow.parquet  # heavy, and only for this format

    try:
        # From memory: given a path, pyarrow would take "label=3/" in it for a column.
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(data))
        schema = file.schema_arrow
        columns = [name.removeprefix("\ufeff") for name in schema.names]
        refuse_repeated(path, columns)
        table = file.read().rename_columns(columns)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path} cannot be read as parquet ({str(error).splitlines()[0]}). "
            "Write it again, or give jsonl or csv."
        ) from None
    classes = names_in_parquet(schema.metadata)
    # Convert batch by batch: a large file need not exist twice in memory as Python objects.
    rows = parquet_rows(path, table.to_batches(max_chunksize=10_000))
    return Records(tuple(columns), rows, classes=classes, format="parquet")


def refuse_repeated(path: Path, columns: Sequence[str]) -> None:
    """Refuse a file that has two columns of one name."""
    repeated = [name for name, count in Counter(columns).items() if count > 1]
    if repeated:
        raise DataError(
            f"{path} has the column '{repeated[0]}' more than once ({listed(columns)}). "
            "Rename or remove all but one."
        )


def parquet_rows(path: Path, batches: Iterable[Any]) -> Iterator[_Located]:
    """Yield the rows of batches of a parquet file."""
    number = 0
    for batch in batches:
        try:
            records = batch.to_pylist()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}: a text in rows {number + 1} to {number + len(batch)} is not UTF-8 "
                f"({error.object[:40]!r}). Write the file again with texts in UTF-8."
            ) from None
        for record in records:
            number += 1
            yield f"{path}: row {number}", record
