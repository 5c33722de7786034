"""Data files by their endings, and their contents: plain or compressed, one file or several."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from tutelage.errors import DataError

FORMATS: Mapping[str, tuple[str, ...]] = {
    "jsonl": (".jsonl", ".ndjson"),
    "json": (".json",),
    "csv": (".csv",),
    "tsv": (".tsv", ".tab"),
    "parquet": (".parquet",),
    "conll": (".conll", ".iob", ".iob2", ".bio", ".txt"),
}
"""File name endings by format, in lower case; any of them may be followed by a compression's."""

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
"""Endings of compressed files."""

_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods")
_ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar")
_LFS = b"version https://git-lfs.github.com/spec/"


class NoRowsError(DataError):
    """A file without rows; its reader adds the advice, which depends on the split."""


def ending_of(name: str) -> str:
    """Return the ending in lower case, with that of a compression: ".csv", ".jsonl.gz"."""
    path = Path(name.lower())
    if path.suffix in COMPRESSED:
        return Path(path.stem).suffix + path.suffix
    return path.suffix


def format_of(path: Path) -> str:
    """Return the format that the ending of a file names; "" for an unknown one."""
    plain = _without_compression(ending_of(path.name))
    return next((name for name, endings in FORMATS.items() if plain in endings), "")


def is_txt(path: Path) -> bool:
    """Whether a file ends in .txt, which does not tell words with tags from a text per line."""
    return _without_compression(ending_of(path.name)) == ".txt"


def is_archive(path: Path) -> bool:
    """Whether a file is an archive, by its ending."""
    return _without_compression(ending_of(path.name)) in _ARCHIVES


def names_other_format(path: Path) -> bool:
    """Whether a name promises a table or a compressed file, which JSON lines are not."""
    ending = ending_of(path.name)
    return (
        ending in _SPREADSHEETS
        or path.suffix.lower() in COMPRESSED
        or is_archive(path)
        or format_of(path) in ("csv", "tsv", "parquet")
    )


def unknown_ending(path: Path, known: Iterable[str]) -> DataError:
    """Return the error for a file whose ending names no known format.

    Args:
        path: The file.
        known: The known endings.
    """
    ending = ending_of(path.name)
    if ending in _SPREADSHEETS:
        return DataError(
            f"{path} is a spreadsheet, which cannot be read. "
            "Save the sheet as a CSV file in UTF-8 and give that."
        )
    if is_archive(path):
        return DataError(f"{path} is an archive. Unpack it and give a file from it.")
    what = f"has the unknown ending '{ending}'" if ending else "has no ending that names its format"
    return DataError(
        f"{path} {what}. Known: {', '.join(known)}; each also compressed "
        f"({', '.join(COMPRESSED)}). Rename or convert the file."
    )


def read_bytes(path: Path) -> bytes:
    """Return the contents of a file, decompressed if its ending says so.

    Raises:
        NoRowsError: If there is nothing in it.
        DataError: If it cannot be read or decompressed, or it only points to a file in Git LFS.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}. Check its permissions."
        ) from None
    if path.suffix.lower() in COMPRESSED:
        data = _decompressed(path, data)
    if not data.strip():
        raise NoRowsError(f"{path} is empty.")
    if data.startswith(_LFS):
        raise DataError(
            f"{path} is only a pointer of Git LFS to a file that was not fetched. "
            "Run `git lfs pull` in its repository."
        )
    return data


def _decompressed(path: Path, data: bytes) -> bytes:
    try:
        match path.suffix.lower():
            case ".gz":
                return gzip.decompress(data)
            case ".bz2":
                return bz2.decompress(data)
            case ".xz":
                return lzma.decompress(data)
            case _:
                import pyarrow  # heavy; the standard library lacks zstd

                source = pyarrow.BufferReader(data)
                return bytes(pyarrow.CompressedInputStream(source, "zstd").read())
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise DataError(
            f"{path} cannot be decompressed ({str(error).splitlines()[0]}). "
            "Compress the file again, or give it without compression."
        ) from None


def _without_compression(ending: str) -> str:
    return ending.removesuffix(next((one for one in COMPRESSED if ending.endswith(one)), ""))
