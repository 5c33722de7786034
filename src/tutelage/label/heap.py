"""The texts of a heap: one file or a folder of them, read row by row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tutelage.characters import usable
from tutelage.data.files import format_of, is_txt
from tutelage.data.unlabelled import Source, read_rows
from tutelage.errors import DataError, listed
from tutelage.tasks.spans import joined, split_words


@dataclass(frozen=True, slots=True)
class HeapText:
    """One text of a heap.

    Attributes:
        row: Its number in the whole heap, from 1.
        file: Name of its file, as a path within the heap's folder.
        text: The text with usable characters; for entities its words, joined by single spaces.
    """

    row: int
    file: str
    text: str


@dataclass(frozen=True, slots=True)
class Heap:
    """The files of a heap, in the order in which they are read.

    Attributes:
        folder: Folder that the names are within.
        names: Names of the files.
        passed_over: Names of files in it that are not read, because of their endings.
    """

    folder: Path
    names: tuple[str, ...]
    passed_over: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Hash of names and contents (16 hex digits); reads every file."""
        whole = hashlib.sha256()
        for name in self.names:
            with (self.folder / name).open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            whole.update(f"{name}\0{content}\n".encode("utf-8", "surrogateescape"))
        return whole.hexdigest()[:16]


def find_heap(path: Path, *, tagger: bool) -> Heap:
    """Finds the files of a heap.

    Args:
        path: A file, or a folder whose files are read in the order of their names, those of its
            folders included. Hidden and empty files are left out, and those of other formats.
        tagger: Whether the texts are for entities: files with a word per line are then read too.

    Raises:
        DataError: There is no such file, or no file that can be read.
    """
    path = path.expanduser()
    if path.is_file():
        return Heap(path.parent, (path.name,))
    if not path.is_dir():
        raise DataError(
            f"--texts {path} does not exist. Give a file of texts, or a folder of them."
        )
    found: list[str] = []
    others: list[str] = []
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        if any(part.startswith(".") for part in name.parts) or not file.is_file():
            continue
        if not file.stat().st_size:
            continue
        readable = is_txt(file) or format_of(file) not in (() if tagger else ("conll",))
        (found if format_of(file) and readable else others).append(name.as_posix())
    if not found:
        raise DataError(
            f"--texts {path} has no file of texts ({listed(others) or 'it is empty'}). Give .txt "
            "(a text per line), .jsonl, .csv, .tsv or .parquet, also compressed."
        )
    return Heap(path, tuple(found), tuple(others))


def read_heap(heap: Heap, source: Source, *, tagger: bool) -> Iterator[HeapText | str]:
    """Reads the texts of a heap in order, a file at a time.

    Args:
        heap: The files.
        source: How to read them; its own file is not read.
        tagger: Whether the texts are for entities. A text is then cut into words; a list of words
            stays as it is.

    Yields:
        The texts, and before those of a file what a user should be told about it, as a string.

    Raises:
        DataError: A file cannot be read, lacks a column, or a text is no string.
    """
    number = 0
    for name in heap.names:
        rows, warnings = read_rows(replace(source, file=heap.folder / name), tagger=tagger)
        yield from warnings
        for row in rows:
            number += 1
            text = usable(row.text)
            if tagger and not row.of_words:
                text = joined(text, split_words(text))
            yield HeapText(number, name, text)
