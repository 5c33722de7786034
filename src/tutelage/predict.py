"""`tutelage predict`: labels or entities for new texts, from the student of a finished run."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tutelage.errors import DataError, did_you_mean


def predict(
    run: Path, texts: Sequence[str], file: Path | None, text_column: str, output: Path | None
) -> int:
    """Write the prediction for each text as one JSON object per line, in order.

    The keys are "text", "label", "confidence" and "probabilities"; for NER "text" and "entities". A
    text that is too long for the student is cut as in training; for NER it is read in windows (see
    :mod:`tutelage.student.tagging`).

    Args:
        run: A run folder, or the folder of a student.
        texts: Texts to label.
        file: A file with further texts: .jsonl, .csv, or plain text with one text per line.
        text_column: Column or key of the text in a .csv or .jsonl file.
        output: File to write to; None writes to standard output.

    Returns:
        The exit code, 0.

    Raises:
        DataError: If there are no texts, the file is unusable, or the run has no student.
    """
    from tutelage.student.inference import load

    # The texts come first, so that a mistake in them shows before the student is loaded.
    given = list(texts) + (list(_read(file, text_column)) if file else [])
    if not given:
        raise DataError(
            'There is nothing to label: give texts (tutelage predict RUN "a text"), '
            "or --file texts.txt."
        )
    student = load(run)
    handle = output.open("w", encoding="utf-8") if output else sys.stdout
    try:
        # Batch by batch, so that output appears early.
        for record in student.stream(given):
            handle.write(json.dumps(record, ensure_ascii=False) + "\n")
    finally:
        if output:
            handle.close()
    return 0


def _read(path: Path, column: str) -> Iterator[str]:
    if not path.is_file():
        raise DataError(f"--file {path} does not exist. Check the path.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 (byte {error.object[error.start]:#04x} at offset {error.start}); "
            "convert it first."
        ) from None
    if path.suffix == ".jsonl":
        # Structured formats name the column; any other file has one text per line.
        records = list(_objects(path, text))
    elif path.suffix == ".csv":
        records = list(enumerate(csv.DictReader(io.StringIO(text, newline="")), start=1))
    else:
        yield from (line for line in text.split("\n") if line.strip())
        return
    for number, record in records:
        if column not in record:
            raise DataError(
                f"{path}, row {number}: {did_you_mean('column', column, map(str, record))} "
                "Set it with --text-column."
            )
        yield str(record[column])


def _objects(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: not JSON ({error}). "
                "Each line must be one object with a text column."
            ) from None
        if not isinstance(record, dict):
            raise DataError(
                f"{path}, line {number}: not an object with named columns; it reads {line[:60]!r}."
            )
        yield number, record
