"""Where data comes from: the shipped sample, files of one's own, or the Hugging Face hub.

Each function takes plain keyword arguments, so that a YAML with ``_target_: tutelage.data.sources.load_files`` can call it, and gives
a cleaned :class:`Dataset` (what cleaning does: :mod:`tutelage.data.assembly`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path

from tutelage.data.assembly import assemble
from tutelage.data.dataset import Dataset, Kind
from tutelage.data.feature_names import class_names
from tutelage.data.labels import LabelSettings
from tutelage.data.raw import Columns, RawSplit, raw_examples
from tutelage.data.readers import FORMATS, read_split
from tutelage.errors import ConfigError, DataError, did_you_mean

__all__ = ["Dataset", "load_files", "load_hub", "load_sample"]

_FILE_NAMES = {
    "train": ("train", "pool"),
    "validation": ("validation", "dev", "valid", "val"),
    "test": ("test",),
    "shots": ("shots",),
}
_HUB_SPLITS = {"train": "train", "validation": "validation", "test": "test"}


def load_sample(
    name: str = "snips_intent",
    labels: LabelSettings | None = None,
    near_threshold: float = 0.9,
    kind: Kind = "classification",
) -> Dataset:
    """Load a data set that is shipped with the package; its SOURCE.md says where it is from.

    Raises:
        DataError: there is no sample of that name.
    """
    samples = Path(str(resources.files("tutelage.data"))) / "samples"
    available = sorted(folder.name for folder in samples.iterdir() if folder.is_dir())
    if name not in available:
        raise DataError(
            f"{did_you_mean('sample', name, available)} For your own data: data=files data.path=<folder>."
        )
    return load_files(
        samples / name, kind=kind, labels=labels, near_threshold=near_threshold, name=name
    )


def load_files(
    path: str | Path,
    format: str = "auto",
    text_column: str = "text",
    label_column: str = "label",
    words_column: str = "tokens",
    tags_column: str = "tags",
    spans_column: str = "spans",
    word_column_number: int = 0,
    tag_column_number: int = -1,
    labels: LabelSettings | None = None,
    encoding: str = "utf-8",
    near_threshold: float = 0.9,
    validation_share: float = 0.1,
    split_seed: int = 13,
    name: str | None = None,
    kind: Kind = "classification",
) -> Dataset:
    """Load train (or pool), validation (or dev) and test, and shots where there is one, from a folder.

    Without a validation file, dev is cut from train. A train file without labels needs a shots file.

    Args:
        format: "jsonl", "csv", "tsv", "parquet" or "conll"; "auto" takes what is there.
        words_column, tags_column, spans_column: of NER: words and their tags, or ``text_column`` with spans of characters.
        word_column_number, tag_column_number: places of the columns of a conll file; -1 is the last.
        labels: names, or name → {word, description}; None infers them from the training labels.
        name: the data set's name in reports; the folder's by default.

    Raises:
        DataError: a file, column, label or text is missing or not usable; the message says which and what to do.
        ConfigError: a setting is not usable.
    """
    folder = Path(path).expanduser()
    if folder.is_file():
        raise DataError(
            f"{folder} is a file; data.path= takes the folder that holds train, validation and test files (here: {folder.parent})."
        )
    if not folder.is_dir():
        near = (
            sorted(entry.name for entry in folder.parent.iterdir() if entry.is_dir())
            if folder.parent.is_dir()
            else []
        )
        beside = f" {did_you_mean('folder', folder.name, near)}" if near else ""
        raise DataError(
            f"There is no folder {folder}.{beside} Set data.path= to a folder with train, validation and test files."
        )
    if format != "auto" and format not in FORMATS:
        raise ConfigError(f"data.format: {did_you_mean('format', format, ['auto', *FORMATS])}")
    suffixes = (
        FORMATS[format]
        if format != "auto"
        else tuple(suffix for endings in FORMATS.values() for suffix in endings)
    )
    if kind != "ner":
        suffixes = tuple(
            suffix for suffix in suffixes if suffix != ".txt"
        )  # it says nothing of what the file holds
    columns = Columns(
        kind,
        text=text_column,
        label=label_column,
        words=words_column,
        tags=tags_column,
        spans=spans_column,
        word_number=word_column_number,
        tag_number=tag_column_number,
    )
    splits: dict[str, RawSplit] = {}
    for split in _FILE_NAMES:
        if (file := _file_of(folder, split, suffixes)) is not None:
            splits[split] = read_split(
                file, columns, need_label=split != "train", encoding=encoding
            )
    return assemble(
        name or folder.resolve().name,
        splits,
        kind=kind,
        labels=labels,
        near_threshold=near_threshold,
        validation_share=validation_share,
        split_seed=split_seed,
    )


def _file_of(folder: Path, split: str, suffixes: tuple[str, ...]) -> Path | None:
    found = [
        folder / f"{stem}{suffix}"
        for stem in _FILE_NAMES[split]
        for suffix in suffixes
        if (folder / f"{stem}{suffix}").is_file()
    ]
    if len(found) > 1:
        raise DataError(
            f"{folder} has more than one {split} file: {', '.join(file.name for file in found)}. Keep one, or choose with data.format=."
        )
    if not found and split in ("train", "test"):
        there = ", ".join(sorted(entry.name for entry in folder.iterdir())) or "nothing"
        wanted = " or ".join(f"{stem}{{{','.join(suffixes)}}}" for stem in _FILE_NAMES[split])
        plain = (
            any((folder / f"{stem}.txt").is_file() for stem in _FILE_NAMES[split])
            and ".txt" not in suffixes
        )
        columns = " A .txt file of words and tags is read with task=ner." if plain else ""
        raise DataError(
            f"{folder} has no {split} file ({wanted}); it holds: {there}.{columns} Add it, or set data.path= or data.format=."
        )
    return found[0] if found else None


def load_hub(
    name: str,
    subset: str | None = None,
    splits: Mapping[str, str | None] | None = None,
    text_column: str = "text",
    label_column: str = "label",
    words_column: str = "tokens",
    tags_column: str = "tags",
    spans_column: str = "spans",
    labels: LabelSettings | None = None,
    revision: str | None = None,
    near_threshold: float = 0.9,
    validation_share: float = 0.1,
    split_seed: int = 13,
    kind: Kind = "classification",
) -> Dataset:
    """Load a data set from the Hugging Face hub, or from a folder that ``datasets`` can read.

    Args:
        subset: the data set's configuration, where it has several.
        splits: the hub's name for "train", "validation" and "test" (and "shots"); slices such as "train[:5000]" work. A null
            validation is cut from train.
        revision: a commit or tag; without one the newest is taken, and the notes say so.

    Raises:
        DataError: the data set, subset, split or column cannot be had; offline too, with ``data=files`` as the way out.
        ConfigError: ``splits`` has an unknown key.
    """
    names = {**_HUB_SPLITS, **(splits or {})}
    for split in names:
        if split not in _FILE_NAMES:
            raise ConfigError(f"data.splits: {did_you_mean('split', split, _FILE_NAMES)}")
    columns = Columns(
        kind,
        text=text_column,
        label=label_column,
        words=words_column,
        tags=tags_column,
        spans=spans_column,
    )
    raw = {
        split: _hub_split(
            name, subset, str(hub_split), revision, columns, need_label=split != "train"
        )
        for split, hub_split in names.items()
        if hub_split is not None
    }
    for split in ("train", "test"):
        if split not in raw:
            raise DataError(
                f"data.splits.{split} is null, and a run needs it. Name a split of '{name}', or a slice such as train[90%:]."
            )
    return assemble(
        name,
        raw,
        kind=kind,
        labels=labels,
        near_threshold=near_threshold,
        validation_share=validation_share,
        split_seed=split_seed,
        notes=[]
        if revision
        else [f"'{name}' was taken at its newest revision; data.revision=<commit> pins it"],
    )


def _hub_split(
    name: str,
    subset: str | None,
    split: str,
    revision: str | None,
    columns_read: Columns,
    *,
    need_label: bool,
) -> RawSplit:
    # Imported here: datasets takes seconds to import, and most runs do without it.
    import datasets
    import httpx

    try:
        data = datasets.load_dataset(name, subset, split=split, revision=revision)
    except (
        OSError,
        RuntimeError,
        ValueError,
        datasets.exceptions.DatasetsError,
        httpx.HTTPError,
    ) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(
            f"Split '{split}' of the hub data set '{name}' could not be loaded: {lines[0]} "
            "Check the name, data.subset, data.splits and data.revision "
            "(data.splits.validation=null cuts dev from train). Where the hub cannot be reached, save the data as files "
            "and use data=files data.path=<folder>."
        ) from error
    columns_read = replace(columns_read, classes=class_names(data.features.to_dict()))
    where = f"{name}[{split}]"
    records = ((f"{where}: row {number}", record) for number, record in enumerate(data, start=1))
    columns = tuple(data.column_names)
    rows = raw_examples(columns, records, columns_read, where=where, need_label=need_label)
    return RawSplit(where, columns, rows)
