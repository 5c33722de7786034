"""`tutelage predict`: labels or entities for new texts, from the student of a finished run."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from tutelage.characters import unusable_count, usable
from tutelage.data.files import format_of, names_other_format
from tutelage.data.unlabelled import Row, Source, read_rows
from tutelage.errors import DataError


def predict(run: Path, texts: Sequence[str], source: Source | None, output: Path | None) -> int:
    """Write the prediction for each text as one JSON object per line, in order.

    The keys are "text", "label", "confidence" and "probabilities"; for NER "text" and "entities".
    Before them, each row of a file has its number, "row", and the columns to keep. A blank text has
    the label null, or no entities. A text that is too long for the student is cut as in training;
    for NER it is read in windows (see :mod:`tutelage.student.tagging`).

    Args:
        run: A run folder, or the folder of a student.
        texts: Texts to label.
        source: A file with further texts.
        output: File to write to; None writes to standard output.

    Returns:
        The exit code, 0.

    Raises:
        DataError: If there are no texts, the file is unusable, the output cannot be written, or
            the run has no student.
    """
    from tutelage.student.inference import load

    # The texts and the output come first, so that a mistake in them shows before the student is
    # loaded.
    rows = [Row(text) for text in texts]
    _check_output_name(output)
    _tell_of_files(texts)
    if source is not None:
        _check_input(source.file, output)
        found, warnings = read_rows(source, tagger=_is_tagger(run))
        rows += found
        for warning in warnings:
            _tell(warning)
    if not rows:
        raise DataError(
            'There is nothing to label: give texts (tutelage predict RUN "a text"), '
            "or --file texts.txt."
        )
    rows = _usable(rows)
    with _opened(output) as handle:
        # Batch by batch, so that output appears early.
        _write(handle, _records(load(run), rows))
    return 0


def _is_tagger(run: Path) -> bool:
    """Whether a run's student finds entities, by its config.json alone."""
    from tutelage.student.inference import load
    from tutelage.student.loading import head_of

    folder = run.expanduser() / "student"
    path = (folder if folder.is_dir() else run.expanduser()) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        config = load(run).network.config.to_dict()  # which says what is wrong
    return isinstance(config, dict) and head_of(config) == "token"


def _check_output_name(output: Path | None) -> None:
    """Refuse a name that promises another format, whose readers would fail on JSON lines."""
    if output is not None and names_other_format(output):
        raise DataError(
            f"--output {output}: predictions are written as JSON lines, not as '{output.suffix}'. "
            f"Give a name such as {output.with_suffix('.jsonl').name}."
        )


def _tell_of_files(texts: Sequence[str]) -> None:
    """Warn of a text that is the name of a file, which was perhaps meant."""
    for text in texts:
        try:
            named = format_of(Path(text)) and Path(text).is_file()
        except (OSError, ValueError):
            continue  # longer than a path may be
        if named:
            _tell(
                f"'{text}' is labelled as a text, but is also the name of a file. To label the "
                f"texts in it: --file {shlex.quote(text)}"
            )


def _check_input(file: Path, output: Path | None) -> None:
    if str(file) == "-" or file.is_fifo() or file.is_char_device():
        raise DataError(
            f"--file {file} is a stream, but the ending of a file tells its format. Save the texts "
            "first, one per line (… > texts.txt), and give that: --file texts.txt"
        )
    if not file.exists():
        raise DataError(f"--file {file} does not exist. Check the path.")
    if not file.is_file():
        raise DataError(f"--file {file} is not a regular file. Give one file of texts.")
    if output is not None and output.exists() and output.samefile(file):
        raise DataError(f"--output {output} is the input. Write to another file.")


def _usable(rows: Sequence[Row]) -> list[Row]:
    """Replace characters as in training; tell how many texts have any, and how many are blank."""
    blank = sum(not row.text.strip() for row in rows)
    if blank:
        _tell(f"{blank} of {len(rows)} texts are blank; they get no label.")
    wrong = [number for number, row in enumerate(rows, start=1) if unusable_count(row.text)]
    if wrong:
        _tell(
            f"{len(wrong)} of {len(rows)} texts (the first is number {wrong[0]}) have characters "
            "that cannot be used, halves of an emoji or control characters. Each was replaced by "
            "U+FFFD."
        )
    return [Row(usable(row.text), row.copied) for row in rows]


def _records(student: Any, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield one record per row; blank texts never reach the student."""
    from tutelage.student.loading import head_of

    nothing: dict[str, Any] = (
        {"entities": []}
        if head_of(student.network.config.to_dict()) == "token"
        else {"label": None, "confidence": None, "probabilities": None}
    )
    predicted = student.stream([row.text for row in rows if row.text.strip()])
    for row in rows:
        found = next(predicted) if row.text.strip() else {"text": row.text, **nothing}
        yield {**row.copied, **found}


def _write(handle: TextIO, records: Iterable[dict[str, Any]]) -> None:
    for record in records:
        line = json.dumps(record, ensure_ascii=False)
        try:
            line.encode(handle.encoding or "utf-8")
        except UnicodeEncodeError:
            # A terminal without UTF-8, or half an emoji in a kept column.
            line = json.dumps(record)
        handle.write(line + "\n")
    handle.flush()


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """Open the output; a file appears under its name only when it is whole."""
    if output is None:
        if sys.stdout is None:
            raise DataError("Standard output is closed. Write to a file with --output.")
        yield sys.stdout
        return
    target = output.expanduser().resolve()
    # A pipe or a device takes the lines as they come.
    direct = target.exists() and not target.is_file()
    path = target if direct else target.with_name(f".tutelage-{os.getpid()}.part")
    try:
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError("it is read-only")
        handle = path.open("w", encoding="utf-8")
    except OSError as error:
        raise _not_written(output, error) from None
    try:
        with handle:
            yield handle
        if not direct:
            path.replace(target)
    except OSError as error:
        if error.filename not in (None, str(path)):
            raise  # another file: one of the student's
        raise _not_written(output, error) from None
    finally:
        if not direct:
            path.unlink(missing_ok=True)


def _not_written(output: Path, error: OSError) -> DataError:
    reason = error.strerror or str(error)
    return DataError(
        f"--output {output} cannot be written: {reason}. Give a file in an existing folder in "
        "which you may write, and see that the disk has room."
    )


def _tell(message: str) -> None:
    if sys.stderr is not None:
        print(f"tutelage: {message}", file=sys.stderr)
