"""Reads one file of texts, with or without labels, from jsonl, csv, tsv, parquet or conll.

Every error names the file and the line.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from tutelage.data.conll import read_sentences
from tutelage.data.feature_names import names_in_parquet
from tutelage.data.raw import RawSplit, raw_examples
from tutelage.errors import ConfigError, DataError
from tutelage.tasks.registry import row_reader
from tutelage.tasks.rows import Columns

FORMATS: dict[str, tuple[str, ...]] = {
    "jsonl": (".jsonl", ".ndjson"),
    "csv": (".csv",),
    "tsv": (".tsv",),
    "parquet": (".parquet",),
    "conll": (".conll", ".iob", ".iob2", ".bio", ".txt"),
}
"""File name endings by format. A tsv file has no quoting: a quote is an ordinary character."""


def read_split(
    path: Path, columns_read: Columns, *, need_label: bool, encoding: str = "utf-8"
) -> RawSplit:
    """Read every row of a file, whose ending determines its format.

    Args:
        path: The file.
        columns_read: The columns to read.
        need_label: Whether an absent label is an error; if not, the rows come without labels.
        encoding: Encoding of a text file; parquet files have their own.

    Raises:
        DataError: If the file is empty, broken or not in ``encoding``, lacks a column, or has a
            format unsuitable for the task.
        ConfigError: If ``encoding`` is unknown to Python.
    """
    # Refuse formats that cannot hold the targets of the task.
    format = next((name for name, endings in FORMATS.items() if path.suffix in endings), "")
    row_reader(columns_read.kind).check_format(path, format, columns_read)
    # Binary parquet carries its own encoding and class names; all other formats are text.
    if path.suffix in FORMATS["parquet"]:
        columns, records, names = _parquet(path)
        columns_read = replace(columns_read, classes=names)
    elif path.suffix in FORMATS["conll"]:
        columns, records = _conll(path, _decode(path, encoding), columns_read, need_label)
    else:
        text = _decode(path, encoding)
        columns, records = (
            _jsonl(path, text) if path.suffix in FORMATS["jsonl"] else _separated(path, text)
        )
    rows = raw_examples(columns, records, columns_read, where=str(path), need_label=need_label)
    return RawSplit(str(path), tuple(columns), rows)


def _decode(path: Path, encoding: str) -> str:
    data = path.read_bytes()
    if not data.strip():
        raise DataError(f"{path} is empty. Add rows to it, or remove it from the folder.")
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise ConfigError(
            f"Python knows no encoding '{encoding}'. "
            "Set data.encoding= to a known one, for instance utf-8 or cp1252."
        ) from None
    except UnicodeDecodeError as error:
        # Guess the encoding from a window around the offending byte, for the message only.
        from charset_normalizer import from_bytes

        # Aligned to 4 bytes, so that UTF-16 and UTF-32 stay decodable.
        start = max(0, error.start - 50_000) // 4 * 4
        best = from_bytes(data[start : start + 100_000]).best()
        guess = best.encoding if best else ""
        sentence = (
            f"It looks like {guess}: set"
            if guess
            else "No encoding fits it well; find out the right one and set"
        )
        name = guess or "<encoding>"
        raise DataError(
            f"{path} is not {encoding}: byte {data[error.start]:#04x} at offset {error.start}. "
            f"{sentence} data.encoding={name}, "
            f"or convert it: iconv -f {name} -t utf-8 {path.name} > converted{path.suffix}"
        ) from None


def _jsonl(path: Path, text: str) -> tuple[list[str], Iterator[tuple[str, dict[str, Any]]]]:
    records: list[tuple[str, dict[str, Any]]] = []
    # Not splitlines(): it also splits at characters that are legal inside JSON strings.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        location = f"{path}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{location}: not JSON ({error}). Each line must be one object "
                f'such as {{"text": …, "label": …}}; it reads {line[:60]!r}.'
            ) from None
        if not isinstance(record, dict):
            raise DataError(
                f"{location}: a line must be a JSON object with named columns, "
                f"not a {type(record).__name__}; it reads {line[:60]!r}."
            )
        records.append((location, record))
    return list(records[0][1]) if records else [], iter(records)


def _conll(
    path: Path, text: str, read: Columns, need_label: bool
) -> tuple[list[str], Iterator[tuple[str, dict[str, Any]]]]:
    sentences = read_sentences(str(path), text, read.word_number, read.tag_number)
    if need_label and any(sentence.tags is None for sentence in sentences):
        raise DataError(
            f"{path} has one column, so it has words but no tags. "
            "Add the tags, a space or tab after each word."
        )
    records = (
        (sentence.location, {read.words: sentence.words, read.tags: sentence.tags})
        for sentence in sentences
    )
    return [read.words, read.tags], records


def _separated(path: Path, text: str) -> tuple[list[str], Iterator[tuple[str, dict[str, Any]]]]:
    source = io.StringIO(text, newline="")
    if path.suffix in FORMATS["tsv"]:
        reader = csv.reader(source, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    else:
        reader = csv.reader(source, strict=True)
    records: list[tuple[str, dict[str, Any]]] = []
    try:
        # The first line names the columns; empty lines are skipped.
        header = [name.strip() for name in next(reader)]
        for values in reader:
            if not values:
                continue
            location = f"{path}:{reader.line_num}"
            if len(values) != len(header):
                raise DataError(
                    f"{location}: {len(values)} fields, but the header has {len(header)} "
                    f"({', '.join(header)}). Quote fields that contain separators."
                )
            records.append((location, dict(zip(header, values, strict=True))))
    except csv.Error as error:
        raise DataError(
            f"{path}:{reader.line_num}: not a valid {path.suffix[1:]} file ({error}). "
            "Check its quotes, or write it as jsonl."
        ) from None
    return header, iter(records)


def _parquet(
    path: Path,
) -> tuple[list[str], Iterator[tuple[str, dict[str, Any]]], Mapping[str, Sequence[str]]]:
    import pyarrow.parquet  # heavy, and only for this format

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path} cannot be read as parquet ({str(error).splitlines()[0]}). "
            "Write it again, or give jsonl or csv."
        ) from None
    # Convert batch by batch: a large file need not exist twice in memory as Python objects.
    rows = chain.from_iterable(
        batch.to_pylist() for batch in table.to_batches(max_chunksize=10_000)
    )
    records = ((f"{path}: row {number}", record) for number, record in enumerate(rows, start=1))
    return list(table.column_names), records, names_in_parquet(table.schema.metadata)
