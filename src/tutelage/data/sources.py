"""Data sources: the samples shipped with the package, local files, or the Hugging Face hub.

Each function takes plain keyword arguments, so that a YAML file can call it with ``_target_:
tutelage.data.sources.load_files``, and returns a cleaned :class:`Dataset` (see
:mod:`tutelage.data.assembly` for the cleaning).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from tutelage.data.assembly import assemble
from tutelage.data.dataset import Dataset
from tutelage.data.feature_names import class_names
from tutelage.data.files import FORMATS
from tutelage.data.folders import SPLIT_NAMES, find_files
from tutelage.data.labels import LabelSettings
from tutelage.data.raw import RawSplit, raw_split
from tutelage.data.readers import read_split
from tutelage.errors import ConfigError, DataError, did_you_mean
from tutelage.tasks.registry import row_reader
from tutelage.tasks.rows import Columns

__all__ = ["Dataset", "load_files", "load_hub", "load_sample"]

_HUB_SPLITS = {"train": "train", "validation": "validation", "test": "test"}


def load_sample(
    name: Literal["snips_intent", "wikigold"] = "snips_intent",
    labels: LabelSettings | None = None,
    near_threshold: float = 0.9,
    gold: str | None = None,
    kind: str = "classification",
) -> Dataset:
    """Load a data set shipped with the package; its SOURCE.md names its origin.

    Args:
        name: Name of the sample: "snips_intent" (requests to a voice assistant, 7 classes) or
            "wikigold" (sentences of Wikipedia, 4 entity types; needs ``task=ner``).
        labels: The label space: a list of names, or a mapping from each name to null, a word, or
            {word, description}. ``word`` is the teacher's word for the label, ``description``
            explains it in prompts. None infers the names from the labels of train.
        near_threshold: Similarity in (0, 1] from which a pool text counts as a near duplicate of a
            dev or test text and is left out of the pool; 1 leaves out exact and normalised copies
            only.
        gold: A file of labelled texts that a run uses besides its shots, all of them, such as the
            one that ``tutelage review import`` writes (columns as by default: text and label, or
            tokens and tags). None gives none.
        kind: Name of the task, which decides how rows are read. Set by the task group
            (``task=classification`` or ``task=ner``), not in the data group.

    Raises:
        DataError: If there is no sample of that name.
    """
    samples = Path(str(resources.files("tutelage.data"))) / "samples"
    available = sorted(folder.name for folder in samples.iterdir() if folder.is_dir())
    if name not in available:
        raise DataError(
            f"{did_you_mean('sample', name, available)} "
            "For your own data: data=files data.path=<folder>."
        )
    return load_files(
        samples / name,
        kind=kind,
        labels=labels,
        near_threshold=near_threshold,
        gold=gold,
        name=name,
    )


def load_files(
    path: str | Path,
    format: Literal["auto", "jsonl", "json", "csv", "tsv", "parquet", "conll"] = "auto",
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
    gold: str | None = None,
    name: str | None = None,
    kind: str = "classification",
) -> Dataset:
    """Load a folder of files: train (or pool), validation (or dev), test, and optionally shots.

    Without a validation file, dev is cut from train. A train file without labels needs a shots
    file.

    Args:
        path: The folder.
        format: Format of the files. "auto" takes the files of any format; "jsonl", "json", "csv",
            "tsv", "parquet" and "conll" restrict the search to one. The ending of "conll" is
            .conll, .iob, .iob2, .bio, or (only with ``task=ner``) .txt.
        text_column: Column with the text. With ``task=ner``, it is read together with
            ``spans_column``.
        label_column: Column with the label (``task=classification``).
        words_column: Column with a list of words (``task=ner``).
        tags_column: Column with a list of tags in IOB1, IOB2 or BIOES, one per word (``task=ner``).
            Words with tags take precedence over a text with spans in the same row.
        spans_column: Column with a list of character spans in ``text_column``, each [start, end,
            type] or {start, end, label} with ``end`` exclusive (``task=ner``).
        word_column_number: Index of the word column in conll files, whose columns have no names; 0
            is the first column and -1 the last.
        tag_column_number: Index of the tag column in conll files, likewise.
        labels: The label space: a list of names, or a mapping from each name to null, a word, or
            {word, description}. ``word`` is the teacher's word for the label, ``description``
            explains it in prompts. None infers the names from the labels of train.
        encoding: Encoding of text files, by its Python name; parquet files have their own.
        near_threshold: Similarity in (0, 1] from which a pool text counts as a near duplicate of a
            dev or test text and is left out of the pool; 1 leaves out exact and normalised copies
            only.
        validation_share: Share of each class of train, between 0 and 1, that becomes dev if there
            is no validation file. NER texts are cut without regard to their types.
        split_seed: Seed of that cut. It is independent of the run's seed, so all seeds of a sweep
            share one dev set.
        gold: A file of labelled texts that a run uses besides its shots, all of them, such as the
            one that ``tutelage review import`` writes (columns as by default: text and label, or
            tokens and tags). None gives none.
        name: Name of the data set in reports and in the run's folder; None takes the name of the
            folder.
        kind: Name of the task, which decides how rows are read. Set by the task group
            (``task=classification`` or ``task=ner``), not in the data group.

    Raises:
        DataError: If a file, column, label or text is missing or unusable; the message names it and
            the remedy.
        ConfigError: If a setting is invalid.
    """
    folder = Path(path).expanduser()
    if format != "auto" and format not in FORMATS:
        raise ConfigError(f"data.format: {did_you_mean('format', format, ['auto', *FORMATS])}")
    # Some endings, such as .txt, are read by some tasks only.
    files = find_files(
        folder,
        list(FORMATS) if format == "auto" else [format],
        row_reader(kind).ignored_suffixes,
    )
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
    for split, parts in files.items():
        splits[split] = read_split(
            parts,
            columns,
            need_label=split != "train",
            encoding=encoding,
            split=split,
            train=splits.get("train"),
        )
    return assemble(
        name or folder.resolve().name,
        {**splits, **_gold_split(gold, kind)},
        kind=kind,
        labels=labels,
        near_threshold=near_threshold,
        validation_share=validation_share,
        split_seed=split_seed,
    )


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
    gold: str | None = None,
    kind: str = "classification",
) -> Dataset:
    """Load a data set from the Hugging Face hub, or from a folder readable by ``datasets``.

    Args:
        name: Id of the data set on the hub, such as "SetFit/sst2", or the path of a folder.
        subset: The configuration of the data set, if it has several; None takes the default one.
        splits: The hub's split names for "train", "validation" and "test" (and optionally "shots");
            slices such as "train[:5000]" work. Splits not listed keep their own name. A null
            validation is cut from train; train and test must not be null.
        text_column: Column with the text. With ``task=ner``, it is read together with
            ``spans_column``.
        label_column: Column with the label (``task=classification``).
        words_column: Column with a list of words (``task=ner``).
        tags_column: Column with a list of tags in IOB1, IOB2 or BIOES, one per word (``task=ner``).
            Numbered tags need the names stored with the data set (ClassLabel). Words with tags take
            precedence over a text with spans in the same row.
        spans_column: Column with character spans in ``text_column``: a list of [start, end, type]
            or {start, end, label}, or an object of lists (``task=ner``).
        labels: The label space: a list of names, or a mapping from each name to null, a word, or
            {word, description}. ``word`` is the teacher's word for the label, ``description``
            explains it in prompts. None infers the names from the labels of train.
        revision: A commit or tag; None takes the newest revision and adds a note to the report.
        near_threshold: Similarity in (0, 1] from which a pool text counts as a near duplicate of a
            dev or test text and is left out of the pool; 1 leaves out exact and normalised copies
            only.
        validation_share: Share of each class of train, between 0 and 1, that becomes dev if there
            is no validation split. NER texts are cut without regard to their types.
        split_seed: Seed of that cut. It is independent of the run's seed, so all seeds of a sweep
            share one dev set.
        gold: A file of labelled texts that a run uses besides its shots, all of them, such as the
            one that ``tutelage review import`` writes (columns as by default: text and label, or
            tokens and tags). None gives none.
        kind: Name of the task, which decides how rows are read. Set by the task group
            (``task=classification`` or ``task=ner``), not in the data group.

    Raises:
        DataError: If the data set, subset, split or column is unavailable, or there is no network;
            the message suggests ``data=files`` instead.
        ConfigError: If ``splits`` has an unknown key, or another setting is invalid.
    """
    # Unlisted splits keep their usual name; null removes a split.
    names = {**_HUB_SPLITS, **(splits or {})}
    for split in names:
        if split not in SPLIT_NAMES:
            raise ConfigError(f"data.splits: {did_you_mean('split', split, SPLIT_NAMES)}")
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
                f"data.splits.{split} is null, but a run needs it. "
                f"Name a split of '{name}', or a slice such as train[90%:]."
            )
    return assemble(
        name,
        {**raw, **_gold_split(gold, kind)},
        kind=kind,
        labels=labels,
        near_threshold=near_threshold,
        validation_share=validation_share,
        split_seed=split_seed,
        notes=[]
        if revision
        else [f"'{name}' was loaded at its newest revision; data.revision=<commit> pins it"],
    )


def _gold_split(gold: str | None, kind: str) -> dict[str, RawSplit]:
    """The split of ``data.gold``; empty without a file."""
    if gold is None:
        return {}
    path = Path(gold).expanduser()
    if not path.is_file():
        raise DataError(
            f"There is no file {path}. Set data.gold= to a file of labelled texts, or leave it out."
        )
    # A file of its own, with the columns that `tutelage review import` writes.
    return {"gold": read_split(path, Columns(kind), need_label=True, split="gold")}


def _hub_split(
    name: str,
    subset: str | None,
    split: str,
    revision: str | None,
    columns_read: Columns,
    *,
    need_label: bool,
) -> RawSplit:
    # Imported here: datasets takes seconds to import, and most runs do not need it.
    import datasets
    import httpx

    try:
        saved = Path(name).expanduser()
        if (saved / "state.json").is_file():
            data = _saved_split(saved, split)
        else:
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
            "(data.splits.validation=null cuts dev from train). If the hub is out of reach, "
            "save the data as files and use data=files data.path=<folder>."
        ) from error
    # The hub stores class names next to the data.
    columns_read = replace(columns_read, classes=class_names(data.features.to_dict()))
    where = f"{name}[{split}]"
    records = ((f"{where}: row {number}", record) for number, record in enumerate(data, start=1))
    return raw_split(data.column_names, records, columns_read, where=where, need_label=need_label)


def _saved_split(folder: Path, split: str) -> Any:
    """Load a slice of a single split written by `datasets.Dataset.save_to_disk`."""
    import datasets

    data = datasets.load_from_disk(str(folder))
    wanted = datasets.ReadInstruction.from_spec(split).to_absolute({"train": len(data)})
    return datasets.concatenate_datasets(
        [data.select(range(part.from_, part.to)) for part in wanted]
    )
