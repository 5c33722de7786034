"""`tutelage predict`: labels or entities for new texts, from the student of a finished run.

Rows pass through in chunks, so memory does not grow with their number. A file is written under a
name of its own until it is whole, and the same command continues one that a killed process left.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

from tutelage.characters import unusable_count, usable
from tutelage.data.files import format_of, names_other_format
from tutelage.data.unlabelled import Row, Source, read_rows
from tutelage.errors import DataError
from tutelage.runs.check_records import Guarantee

_CHUNK = 512
"""Rows that are labelled and written at once; a multiple of the student's batch."""


def predict(
    run: Path,
    texts: Sequence[str],
    source: Source | None,
    output: Path | None,
    *,
    abstain: bool = False,
) -> int:
    """Write the prediction for each text as one JSON object per line, in order.

    The keys are "text", "label", "confidence" and "probabilities"; for NER "text" and "entities".
    Before them, each row of a file has its number, "row", and the columns to keep. A blank text has
    the label null, or no entities. A text that is too long for the student is cut as in training;
    for NER it is read in windows (see :mod:`tutelage.student.tagging`).

    Args:
        run: A run folder, the folder of a student, or an export of it.
        texts: Texts to label.
        source: A file with further texts.
        output: File to write to; None writes to standard output.
        abstain: Withhold the predictions that the student's guarantee does not cover, and give the
            set of possible labels (:func:`tutelage.student.abstention.abstaining`).

    Returns:
        The exit code, 0.

    Raises:
        DataError: If there are no texts, the file is unusable, the output cannot be written, or
            the run has no student, or no guarantee to abstain by.
        RunError: The guarantee is damaged, or that of another student.
    """
    from tutelage.student.abstention import KEYS, guarantee_of
    from tutelage.student.inference import load

    # The texts and the output come first, so that a mistake in them shows before the student is
    # loaded.
    rows: Iterable[Row] = [Row(text) for text in texts]
    _check_output_name(output)
    _tell_of_files(texts)
    guarantee = guarantee_of(run) if abstain else None
    if guarantee is not None and guarantee.threshold is None:
        _tell("No threshold met the target, so every prediction is withheld (abstained).")
    if source is not None:
        _check_input(source.file, output)
        source = replace(source, further=KEYS if abstain else ())
        found, warnings = read_rows(source, tagger=_is_tagger(run))
        rows = chain(rows, found)
        for warning in warnings:
            _tell(warning)
    elif not texts:
        raise DataError(
            'There is nothing to label: give texts (tutelage predict RUN "a text"), '
            "or --file texts.txt."
        )
    tally = _Tally()
    chunks = _chunks(tally.usable(rows))
    with _opened(output, run, guarantee) as (handle, part):
        if part is not None:
            chunks = _continued(part, chunks)
        student = load(run)
        for chunk in chunks:
            records = label_rows(student, chunk, guarantee)
            # A file grows by whole chunks; on a terminal output appears batch by batch.
            _write(handle, records if part is None else list(records))
    tally.tell()
    return 0


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk


def _continued(part: Path, chunks: Iterator[list[Row]]) -> Iterator[list[Row]]:
    """Pass over the chunks whose predictions a file holds already, and cut what follows them.

    Only whole chunks count, whose batches are then the same as without the interruption.
    """
    kept = size = 0
    left: Iterator[list[Row]] = iter(())
    with part.open("rb") as lines:
        for chunk in chunks:
            held = list(islice(lines, len(chunk)))
            if len(held) < len(chunk) or not all(map(_is_of, held, chunk)):
                left = chain([chunk], chunks)
                break
            kept += len(chunk)
            size += sum(map(len, held))
    os.truncate(part, size)
    if kept:
        _tell(f"{kept:,} rows were labelled before and are kept; {part.name} is continued.")
    return left


def _is_of(line: bytes, row: Row) -> bool:
    """Whether a written line is the prediction of a row."""
    if not line.endswith(b"\n"):
        return False
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    own = {**row.copied, "text": row.text}
    return isinstance(record, dict) and {key: record.get(key) for key in own} == own


def _digest(run: Path, guarantee: Guarantee | None = None) -> str:
    """Short hash of a student and its guarantee, so that no other continues its predictions."""
    from tutelage.student.abstention import student_digest

    if guarantee is None:
        return student_digest(run)[:8]
    # It names its student by hash.
    return hashlib.sha256(repr(guarantee).encode()).hexdigest()[:8]


def _is_tagger(run: Path) -> bool:
    """Whether a run's student finds entities, by its config.json alone."""
    from tutelage.student.inference import load, student_folder
    from tutelage.student.loading import head_of

    try:
        config = json.loads((student_folder(run) / "config.json").read_text(encoding="utf-8"))
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
    """Warn of a text that is the name of a file or of a run, which was perhaps meant."""
    for text in texts:
        try:
            path = Path(text)
            is_file = format_of(path) and path.is_file()
            is_run = text and (path / "student" / "config.json").is_file()
        except (OSError, ValueError):
            continue  # longer than a path may be
        if is_file:
            _tell(
                f"'{text}' is labelled as a text, but is also the name of a file. To label the "
                f"texts in it: --file {shlex.quote(text)}"
            )
        elif is_run:
            _tell(
                f"'{text}' is labelled as a text, but is also the folder of a run. The student is "
                "that of the first folder; a pattern such as outputs/my_run/* may name several."
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


class _Tally:
    """Counts texts that are blank or have characters that cannot be used."""

    def __init__(self) -> None:
        self._texts = self._blank = self._wrong = self._first = 0

    def usable(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Replace characters as in training."""
        for row in rows:
            self._texts += 1
            self._blank += not row.text.strip()
            if unusable_count(row.text):
                self._wrong += 1
                self._first = self._first or self._texts
            yield Row(usable(row.text), row.copied)

    def tell(self) -> None:
        """Tell how many texts there were of each kind."""
        if self._blank:
            _tell(f"{self._blank} of {self._texts} texts are blank; they get no label.")
        if self._wrong:
            _tell(
                f"{self._wrong} of {self._texts} texts (the first is number {self._first}) have "
                "characters that cannot be used, halves of an emoji or control characters. Each "
                "was replaced by U+FFFD."
            )


def label_rows(
    student: Any, rows: Sequence[Row], guarantee: Guarantee | None = None
) -> Iterator[dict[str, Any]]:
    """Yield one record per row; blank texts never reach the student.

    Args:
        student: A :class:`tutelage.student.inference.Student`.
        rows: The rows, with usable characters.
        guarantee: Decides which predictions are withheld; None withholds none.
    """
    from tutelage.student.abstention import abstaining
    from tutelage.student.loading import head_of

    nothing: dict[str, Any] = (
        {"entities": []}
        if head_of(student.network.config.to_dict()) == "token"
        else {"label": None, "confidence": None, "probabilities": None}
    )
    texts = [row.text for row in rows if row.text.strip()]
    options = {"with_confidence": True} if guarantee else {}
    predicted = student.stream(texts, **options)
    for row in rows:
        found = next(predicted) if row.text.strip() else {"text": row.text, **nothing}
        if guarantee:
            found = abstaining({"confidence": None, **found}, guarantee)
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
def _opened(
    output: Path | None, run: Path, guarantee: Guarantee | None
) -> Iterator[tuple[TextIO, Path | None]]:
    """Open the output; a file appears under its name only when it is whole.

    Yields:
        The output, and the file of a name of its own that may hold rows from before.
    """
    if output is None:
        if sys.stdout is None:
            raise DataError("Standard output is closed. Write to a file with --output.")
        yield sys.stdout, None
        return
    target = output.expanduser().resolve()
    # A pipe or a device takes the lines as they come.
    direct = target.exists() and not target.is_file()
    path = target if direct else target.with_name(f"{target.name}.{_digest(run, guarantee)}.part")
    try:
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError("it is read-only")
        handle = path.open("w" if direct else "a", encoding="utf-8")
    except OSError as error:
        raise _not_written(output, error) from None
    if not direct:
        _lock(handle, output)
    try:
        with handle:
            yield handle, None if direct else path
        if not direct:
            path.replace(target)
    except OSError as error:
        if error.filename not in (None, str(path)):
            raise  # another file: one of the student's
        raise _not_written(output, error) from None
    finally:
        if not direct and path.exists() and not path.stat().st_size:
            path.unlink()


def _lock(handle: TextIO, output: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise DataError(
            f"--output {output} is being written by another process. Wait for it, or give another "
            "file."
        ) from None


def _not_written(output: Path, error: OSError) -> DataError:
    reason = error.strerror or str(error)
    return DataError(
        f"--output {output} cannot be written: {reason}. Give a file in an existing folder in "
        "which you may write, and see that the disk has room."
    )


def _tell(message: str) -> None:
    if sys.stderr is not None:
        print(f"tutelage: {message}", file=sys.stderr)
