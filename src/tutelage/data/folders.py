"""The files of a folder by split: train (or pool), validation (or dev), test, and shots."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tutelage.data.files import (
    COMPRESSED,
    FORMATS,
    ending_of,
    format_of,
    is_archive,
    unknown_ending,
)
from tutelage.errors import DataError, did_you_mean

SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "pool"),
    "validation": ("validation", "dev", "valid", "val"),
    "test": ("test",),
    "shots": ("shots",),
}
"""Names of the files of each split, without their ending."""

_REQUIRED = ("train", "test")
_PART = re.compile(r"(?P<stem>.+?)-(?P<number>\d+)-of-(?P<total>\d+)(-[0-9a-f]{8,})?")
"""Name of one part of a split, as `datasets` writes it."""
_SHOWN = 20
"""Number of a folder's entries that a message lists."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A file named like a split.

    Attributes:
        path: The file.
        number: Its number among the parts of the split; None for a split in one file.
        total: The number of parts.
    """

    path: Path
    number: int | None = None
    total: int | None = None


def find_files(
    folder: Path, formats: Sequence[str], ignored: frozenset[str] = frozenset()
) -> dict[str, tuple[Path, ...]]:
    """Return the files of each split: one, or its parts in order (train-00000-of-00002.jsonl).

    The case of names and endings does not matter. If none lies in the folder itself, the folder
    "data" in it is searched as well, where data sets of the hub have their files.

    Args:
        folder: The folder.
        formats: Names of the formats to search for.
        ignored: Endings to pass over.

    Raises:
        DataError: If the folder, train or test is missing, or a split has several files or lacks a
            part.
    """
    _check_folder(folder)
    endings = [ending for name in formats for ending in FORMATS[name] if ending not in ignored]
    within = next(
        (place for place in (folder, folder / "data") if _candidates(place, endings)), folder
    )
    _refuse_broken_links(within, endings)
    candidates = _candidates(within, endings)
    files = {
        split: _one_or_parts(folder, split, candidates[split])
        for split in SPLIT_NAMES
        if split in candidates
    }
    for split in _REQUIRED:
        if split not in files:
            raise _missing(folder, within, split, endings, ignored)
    return files


def _check_folder(folder: Path) -> None:
    if folder.is_file():
        raise DataError(
            f"{folder} is a file; data.path= takes the folder with the train, validation and test "
            f"files (here: {folder.parent})."
        )
    if folder.is_dir():
        return
    if folder.is_symlink():
        raise DataError(
            f"{folder} is a link to {folder.readlink()}, which does not exist or cannot be "
            "reached. Mend the link, or give the folder itself."
        )
    near = (
        sorted(entry.name for entry in folder.parent.iterdir() if entry.is_dir())
        if folder.parent.is_dir()
        else []
    )
    suggestion = f" {did_you_mean('folder', folder.name, near)}" if near else ""
    raise DataError(
        f"There is no folder {folder}.{suggestion} "
        "Set data.path= to a folder with train, validation and test files."
    )


def _refuse_broken_links(folder: Path, endings: Sequence[str]) -> None:
    """Refuse a broken link named like a split; it would look like a missing file."""
    for path in sorted(folder.iterdir()):
        ending = ending_of(path.name)
        part = _PART.fullmatch(name := path.name.lower().removesuffix(ending))
        if (
            path.is_symlink()
            and not path.exists()
            and _is_one_of(ending, endings)
            and _split_of(part["stem"] if part else name)
        ):
            raise DataError(
                f"{path} is a link to {path.readlink()}, which does not exist or cannot be "
                "reached. Mend the link, or put the file itself in its place."
            )


def _candidates(folder: Path, endings: Sequence[str]) -> dict[str, list[_Found]]:
    """Files with the name of a split and one of the endings, in the order of their names."""
    found: dict[str, list[_Found]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        ending = ending_of(path.name)
        if not path.is_file() or not _is_one_of(ending, endings):
            continue
        name = path.name.lower().removesuffix(ending)
        part = _PART.fullmatch(name)
        split = _split_of(part["stem"] if part else name)
        if split:
            numbers = (int(part["number"]), int(part["total"])) if part else ()
            found.setdefault(split, []).append(_Found(path, *numbers))
    return found


def _is_one_of(ending: str, endings: Sequence[str]) -> bool:
    return any(ending in (one, *(one + packed for packed in COMPRESSED)) for one in endings)


def _split_of(stem: str) -> str:
    return next((split for split, names in SPLIT_NAMES.items() if stem in names), "")


def _one_or_parts(folder: Path, split: str, found: Sequence[_Found]) -> tuple[Path, ...]:
    first = found[0]
    if len(found) == 1 and first.number is None:
        return (first.path,)
    # Parts of one whole differ in their numbers only.
    kinds = {(one.total, ending_of(one.path.name), _stem(one.path)) for one in found}
    if len(kinds) > 1 or first.total is None:
        of_formats = {format_of(one.path) for one in found}
        names = sorted(
            (one.path.name for one in found),
            key=lambda name: [not name.lower().startswith(stem) for stem in SPLIT_NAMES[split]],
        )
        choice = ", or choose with data.format=" if len(of_formats) > 1 else ""
        raise DataError(
            f"{folder} has more than one {split} file: {_listed(names)}. Keep one of them{choice}."
        )
    lacking = set(range(first.total)) - {one.number for one in found}
    if lacking or len(found) != first.total:
        raise DataError(
            f"{folder} has {len(found)} of the {first.total} parts of {split}: "
            f"{_listed([one.path.name for one in found])}. "
            f"Add the missing ones (the first is number {min(lacking, default=0)})."
        )
    return tuple(one.path for one in sorted(found, key=lambda one: one.number or 0))


def _stem(path: Path) -> str:
    part = _PART.match(path.name.lower())
    return part["stem"] if part else path.name.lower().removesuffix(ending_of(path.name))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "nothing") + more


def _missing(
    folder: Path, within: Path, split: str, endings: Sequence[str], ignored: frozenset[str]
) -> DataError:
    """Return the error for a missing split, with the most likely remedy."""
    entries = sorted(within.iterdir())
    stems = SPLIT_NAMES[split]
    wanted = f"{' or '.join(stems)} with {', '.join(endings)}"
    named = [
        entry
        for entry in entries
        if entry.is_file() and re.split(r"[.\-_]", entry.name.lower())[0] in stems
    ]
    remedy = _remedy_for_file(named[0], endings, ignored) if named else _remedy_for_folder(folder)
    return DataError(
        f"{within} has no {split} file ({wanted}); it contains: "
        f"{_listed([entry.name for entry in entries])}. {remedy}"
    )


def _remedy_for_file(path: Path, endings: Sequence[str], ignored: frozenset[str]) -> str:
    """Advise on a file that is named like a split but cannot be read."""
    ending = ending_of(path.name)
    if _is_one_of(ending, list(ignored)):
        return (
            f"A {ending} file with words and tags needs task=ner; "
            "write texts with labels as csv or jsonl."
        )
    if not format_of(path):
        return str(unknown_ending(path, endings))
    if not _is_one_of(ending, endings):
        return "Set data.format=auto to read any format."
    return (
        f"Rename {path.name}: the name of the split comes right before the ending, or before the "
        "number of a part, as in train-00000-of-00002.jsonl."
    )


def _remedy_for_folder(folder: Path) -> str:
    """Say how to read a folder whose files lie deeper, or are those of `datasets`."""
    name = _quoted(str(folder))
    if (folder / "state.json").is_file():
        return (
            "It is a single split, saved by the library `datasets`. Cut it into splits: "
            f"data=hub data.name={name} data.splits.validation=null "
            "'data.splits.train=\"train[:80%]\"' 'data.splits.test=\"train[80%:]\"'"
        )
    folders = [entry for entry in sorted(folder.iterdir()) if entry.is_dir()]
    by_split = any(
        _split_of(entry.name.lower()) and any(map(_is_for_datasets, entry.iterdir()))
        for entry in folders
    )
    if by_split or (folder / "dataset_dict.json").is_file():
        return (
            "The library `datasets` can read it, with one folder per split: set "
            f"data=hub data.name={name}"
        )
    for entry in folders:
        if (
            set(_REQUIRED)
            <= _candidates(entry, [one for all in FORMATS.values() for one in all]).keys()
        ):
            return f"The files are in {entry}: set data.path={_quoted(str(entry))}"
    archives = [entry for entry in sorted(folder.iterdir()) if is_archive(entry)]
    if archives:
        return f"Unpack {_listed([entry.name for entry in archives])} in it: archives are not read."
    return "Add the file, or set data.path= to another folder."


def _is_for_datasets(path: Path) -> bool:
    return format_of(path) in ("jsonl", "json", "csv", "tsv", "parquet")


def _quoted(path: str) -> str:
    """Write a path so that the shell and Hydra take it as one value."""
    return path if re.fullmatch(r"[\w./~+-]+", path) else f"\"'{path}'\""
