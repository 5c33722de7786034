"""Rows of files that are too large for memory, for ``tutelage predict`` and ``tutelage label``.

The beginning of a file is read like a small file, with all of its checks. What they find out, such
as the encoding and the separator, then holds for the rest, which is read row by row.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tutelage.data.encodings import decode, marked_encoding
from tutelage.data.files import COMPRESSED, format_of, is_txt
from tutelage.data.headers import Names
from tutelage.data.readers import (
    Reading,
    Records,
    is_plain,
    parquet_rows,
    read_json_row,
    refuse_repeated,
)
from tutelage.data.separated import Separated, read_separated, stream_separated
from tutelage.errors import DataError

WHOLE = 16 * 2**20
"""Bytes of the largest file that is read whole, with checks of all of its rows."""
_HEAD = 2**20
"""Bytes at the beginning of a larger file that are read like a small file."""
_AT_ONCE = 1_000
"""Rows of a parquet file that are decoded at once."""
_TRIES = 50
"""Lines left out at the end of the beginning, until it ends where a row of csv does."""
_EXPANSION = 5
"""How much larger a compressed file is taken to be: texts shrink to about a fifth."""

Located = tuple[str, dict[str, Any]]


def is_large(path: Path) -> bool:
    """Whether a file is too large to be read whole."""
    factor = _EXPANSION if path.suffix.lower() in COMPRESSED else 1
    return path.stat().st_size * factor > WHOLE


def stream_records(path: Path, reading: Reading) -> Records | None:
    """Open a large file, whose rows are then read one by one.

    Args:
        path: The file.
        reading: How to read it.

    Returns:
        Its rows, and what its beginning shows; None if its format has no rows that can be read
        one by one: a list in JSON, words with tags, a compressed parquet file.

    Raises:
        DataError: If the beginning cannot be read, or later on a row.
    """
    format = format_of(path)
    if format == "parquet" and path.suffix.lower() not in COMPRESSED:
        return _parquet(path)
    if format not in ("jsonl", "csv", "tsv") and not is_txt(path):
        return None
    head = _Head(path, reading)
    if format == "jsonl":
        return None if head.text.lstrip().startswith("[") else head.objects()
    if format in ("csv", "tsv"):
        return head.table(format, reading)
    return head.texts(reading) if is_plain(path, head.text, reading) else None


class _Head:
    """The beginning of a text file, and its lines from there.

    Args:
        path: The file.
        reading: How to read it.
    """

    def __init__(self, path: Path, reading: Reading) -> None:
        with _opened(path) as file:
            data = _checked(path, lambda: file.read(_HEAD))
        self._path = path
        marked = marked_encoding(data)
        self.text, self._warnings = decode(
            path, _whole_characters(data, marked or reading.encoding.name), reading.encoding
        )
        self._codec = marked or reading.encoding.name
        # Old Macs end lines so.
        self._end = "\n" if b"\n" in data else "\r"

    def texts(self, reading: Reading) -> Records:
        """One row per line."""
        column = reading.columns.text
        rows = (
            (f"{self._path}:{number}", {column: line.removesuffix(self._end).removesuffix("\r")})
            for number, line in self._lines(self._end)
        )
        return Records((column,), rows, tuple(self._warnings), format="txt")

    def objects(self) -> Records:
        """One object per line."""
        rows = (
            (location := f"{self._path}:{number}", read_json_row(location, line))
            for number, line in self._lines(self._end)
            if line.strip()
        )
        return Records((), rows, tuple(self._warnings), format="jsonl")

    def table(self, format: str, reading: Reading) -> Records:
        """The rows of a csv or tsv file, read like those at its beginning."""
        head = self._beginning(format, reading)
        lines = (line for _, line in self._lines(""))
        found = stream_separated(str(self._path), lines, format, head.header, head.dialect)
        rows = (
            (f"{self._path}:{line}", dict(zip(head.header, values, strict=True)))
            for line, values in found
        )
        warnings = (*self._warnings, *head.warnings)
        return Records(tuple(head.header), rows, warnings, format=format)

    def _beginning(self, format: str, reading: Reading) -> Separated:
        columns = reading.columns
        wanted = Names(columns.text, columns.label, reading.text_setting)
        text, failed = self.text, DataError("")
        for _ in range(_TRIES):
            # Its last line is cut, and may be within a field.
            text = text[: text.rstrip("\r\n").rfind("\n") + 1]
            if not text:
                break
            try:
                return read_separated(str(self._path), text, format, wanted)
            except DataError as error:
                failed = failed if str(failed) else error
        raise failed

    def _lines(self, end: str) -> Iterator[tuple[int, str]]:
        number = 0
        with (
            _opened(self._path) as file,
            io.TextIOWrapper(file, encoding=self._codec, newline=end) as text,
        ):
            try:
                for number, line in enumerate(text, start=1):
                    # Joined files have a mark at the start of each part.
                    yield number, line.lstrip("\ufeff")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{self._path} is {self._codec} at its beginning, but after line {number:,} "
                    f"there is a byte {error.object[error.start]:#04x} that is not. Correct the "
                    "file; a part of it was perhaps written in another encoding, or cut."
                ) from None
            except _BROKEN as error:
                raise _not_read(self._path, error) from None


def _parquet(path: Path) -> Records:
    import pyarrow.parquet  # heavy, and only for this format

    try:
        # An open file: given a path, pyarrow would take "label=3/" in it for a column.
        with path.open("rb") as file:
            names = pyarrow.parquet.read_schema(file).names
    except (pyarrow.ArrowException, OSError) as error:
        raise _not_parquet(path, error) from None
    columns = [name.removeprefix("\ufeff") for name in names]
    refuse_repeated(path, columns)

    def batches() -> Iterator[Any]:
        try:
            with path.open("rb") as file:
                parts = pyarrow.parquet.ParquetFile(file, buffer_size=_HEAD)
                for batch in parts.iter_batches(batch_size=_AT_ONCE):
                    yield batch.rename_columns(columns)
        except (pyarrow.ArrowException, OSError) as error:
            raise _not_parquet(path, error) from None

    return Records(tuple(columns), parquet_rows(path, batches()), format="parquet")


def _not_parquet(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read as parquet ({str(error).splitlines()[0]}). "
        "Write it again, or give jsonl or csv."
    )


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, decompressed if its ending says so."""
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    try:
        if path.suffix.lower() == ".zst":
            import pyarrow  # heavy; the standard library lacks zstd

            file = pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd")
        else:
            file = openers.get(path.suffix.lower(), open)(path, "rb")
    except OSError as error:
        raise _not_read(path, error) from None
    with file:
        yield file


_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError)


def _checked(path: Path, read: Any) -> bytes:
    try:
        return bytes(read())
    except _BROKEN as error:
        raise _not_read(path, error) from None


def _not_read(path: Path, error: BaseException) -> DataError:
    return DataError(
        f"{path} cannot be read: {str(error).splitlines()[0]}. Check its permissions and the disk; "
        "if it is compressed, compress it again, or give it without compression."
    )


def _whole_characters(data: bytes, codec: str) -> bytes:
    """Leave out the beginning of a character that was cut at the end."""
    try:
        decoder = codecs.getincrementaldecoder(codec)()
        decoder.decode(data)
        return data[: len(data) - len(decoder.getstate()[0])]
    except (LookupError, TypeError, ValueError):
        return data  # decode() says what is wrong
