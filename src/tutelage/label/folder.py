"""The folder of labelled texts: whose it is, its record (label.json) and its card (README.md)."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from tutelage.config.schema import RunConfig
from tutelage.data.dataset import Dataset
from tutelage.errors import ConfigError, DataError, RunError
from tutelage.label.frozen import NAME as CALIBRATION
from tutelage.label.frozen import Fitted
from tutelage.label.shards import COLUMNS, Tally, content_digest
from tutelage.records import Example
from tutelage.report.markdown import card_environment, front_matter
from tutelage.tasks.protocol import Task
from tutelage.version import __version__

RECORD = "label.json"
"""Makes a folder one of labelled texts."""
CARD = "README.md"
_LOCK = ".lock"
_BEGINNING = re.compile(r"teacher|process-\d+")
"""Folders that a process makes before it writes the record."""
_FORMAT = 1
_LABELLING = ("task", "data", "prompt", "labelling", "calibration", "seed", "shots")
"""Parts of the configuration that a label depends on; the teacher counts by its fingerprint."""
_TASKS = {False: "text-classification", True: "token-classification"}


@dataclass(frozen=True, slots=True)
class Identity:
    """Values that a command must share with a folder to continue it.

    Attributes:
        source: Hash of the heap's files.
        configuration: Hash of all that the labels depend on.
        chunk: Texts per file.
        calibrate_on: Texts that the calibration is fitted on.
        format: Format of the folder.
    """

    source: str
    configuration: str
    chunk: int
    calibrate_on: int
    format: int = _FORMAT


def configuration_digest(
    config: RunConfig,
    dataset: Dataset,
    shots: Sequence[Example],
    fingerprints: Sequence[str],
    reading: Sequence[str],
) -> str:
    """Returns a hash of all that the labels depend on beside the heap (16 hex digits).

    Args:
        config: The configuration. Its budget, cache and engine settings do not count.
        dataset: The data set, for the labels, and the dev texts of a calibration by them.
        shots: The gold shots.
        fingerprints: Those of all teachers.
        reading: How the heap is read.
    """
    content = [
        {key: config.source[key] for key in _LABELLING},
        config.training.gold,
        # Its encoder may choose the demonstrations of a text.
        [config.student.model, config.student.max_length],
        [asdict(label) for label in dataset.labels],
        [asdict(one) for one in (*shots, *dataset.dev)],
        list(fingerprints),
        list(reading),
    ]
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_folder(folder: Path) -> None:
    """Refuses a folder of something else.

    Raises:
        ConfigError: It is a file, or holds no labelled texts.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--to {folder} is a file. Give a folder.")
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    shown = {name for name in there if not name.startswith(".")}
    # A process that just begins, or was killed there, has no record yet.
    begun = _LOCK in there and all(_BEGINNING.fullmatch(name) for name in shown)
    if shown and RECORD not in there and not begun:
        raise ConfigError(
            f"--to {folder} exists and holds no labelled texts, so nothing is written there. Give "
            "another folder."
        )


def made_folder(folder: Path) -> Path:
    """Makes a folder, if necessary.

    Raises:
        DataError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_written(folder, error) from error
    return folder


@contextmanager
def opened_folder(folder: Path) -> Iterator[OpenFolder]:
    """Makes a folder, if necessary, and takes a place among the processes that label into it.

    Raises:
        DataError: It cannot be written.
    """
    try:
        handle = (made_folder(folder) / _LOCK).open("w")
    except OSError as error:
        raise _not_written(folder, error) from error
    with handle, ExitStack() as stack:
        fcntl.flock(handle, fcntl.LOCK_SH)
        number = 1
        while not stack.enter_context(locked(folder / f".process-{number}.lock", wait=False)):
            number += 1
        yield OpenFolder(folder, folder if number == 1 else folder / f"process-{number}", handle)


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Holds a lock that ends with the process, on this machine or on others.

    Args:
        path: The file of the lock, which is removed in the end.
        wait: Waits until the lock is free.

    Yields:
        Whether this process has the lock; always true if it waits.
    """
    while True:
        with path.open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            # Whoever had it before may have removed the file, and somebody else made a new one.
            try:
                same = os.path.samestat(os.fstat(handle.fileno()), path.stat())
            except FileNotFoundError:
                same = False
            if not same:
                continue
            try:
                yield True
            finally:
                path.unlink(missing_ok=True)
            return


@dataclass(frozen=True, slots=True)
class OpenFolder:
    """A folder that this process labels into.

    Attributes:
        path: The folder.
        own: Where this process writes what no other one does, such as its transcript.
        handle: The open lock of the folder, which all its processes share.
    """

    path: Path
    own: Path
    handle: IO[str]

    def claim(self, wanted: Identity) -> None:
        """Checks that the texts were labelled in the same way; an empty folder is claimed.

        Raises:
            ConfigError: It has other texts, or labels of another configuration.
            DataError: Another process begins to label into it in another way.
            RunError: Its record is damaged.
        """
        # Processes that start together claim one after the other. The folder's own lock cannot
        # serve: whoever waited for it alone would wait for the others to end.
        with locked(self.path / ".claim.lock", wait=True):
            given = _identity(self.path)
            if given is None:
                _replace(self.path / RECORD, json.dumps({"identity": asdict(wanted)}, indent=2))
                given = asdict(wanted)
        if given == asdict(wanted):
            return
        if not any((self.path / "data").glob("part-*.parquet")):
            self._claim_again(wanted)
            return
        _refuse(self.path, given, wanted)

    def _claim_again(self, wanted: Identity) -> None:
        """Takes a folder without labels for another configuration."""
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"Another process labels into {self.path}, with other texts or another "
                "configuration. Wait for it, or give another folder with --to."
            ) from None
        # A calibration of another configuration is useless.
        (self.path / CALIBRATION).unlink(missing_ok=True)
        _replace(self.path / RECORD, json.dumps({"identity": asdict(wanted)}, indent=2))
        fcntl.flock(self.handle, fcntl.LOCK_SH)


def is_complete(folder: Path) -> bool:
    """Returns whether every text of the heap is in the files, by the folder's record.

    Raises:
        RunError: The record is damaged.
    """
    return bool(_of(_record(folder), "complete"))


def _identity(folder: Path) -> Any:
    record = _record(folder)
    return record.get("identity") if isinstance(record, dict) else record


def _record(folder: Path) -> Any:
    path = folder / RECORD
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}). Give another folder with --to.") from None


def _refuse(folder: Path, given: Any, wanted: Identity) -> None:
    differing = [key for key, value in asdict(wanted).items() if _of(given, key) != value]
    what = {
        "source": "other texts (--texts)",
        "configuration": "another configuration, another teacher, or other shots",
        "chunk": f"--chunk {_of(given, 'chunk')}",
        "calibrate_on": f"--calibrate-on {_of(given, 'calibrate_on')}",
        "format": "another version of tutelage",
    }
    raise ConfigError(
        f"--to {folder} has labels of {' and of '.join(what[key] for key in differing)}. Give the "
        "command that began it, or another folder."
    )


def _of(record: Any, key: str) -> Any:
    return record.get(key) if isinstance(record, Mapping) else None


@dataclass(frozen=True, slots=True)
class Summary:
    """The contents of a folder, for its record and its card.

    Attributes:
        identity: What it is continued by.
        name: Name of the heap.
        task: The task.
        teacher: Fingerprint of the teacher.
        model: The teacher's model, as the configuration names it.
        shots: Number of gold shots.
        classes: The labels that probabilities are of, in their order.
        fitted: The calibration.
        tally: Counts of all texts so far.
        files: The files, in order.
        complete: Whether every text of the heap is in them.
        configuration: The composed configuration without secrets.
    """

    identity: Identity
    name: str
    task: Task
    teacher: str
    model: str
    shots: int
    classes: Sequence[str]
    fitted: Fitted
    tally: Tally
    files: Sequence[Path]
    complete: bool
    configuration: Mapping[str, Any]


def write_summary(folder: Path, found: Summary) -> None:
    """Writes the record and the card.

    Neither has a time or a place, so that they are the same after an interruption.

    Raises:
        DataError: They cannot be written.
    """
    tally = found.tally.plus(found.fitted.cost)
    record = {
        "identity": asdict(found.identity),
        "tutelage": __version__,
        "complete": found.complete,
        "task": found.task.name,
        "texts": tally.texts,
        "labelled": tally.labelled,
        "failed": tally.failed,
        "shortened": tally.shortened,
        "classes": tally.classes,
        "reasons": tally.reasons,
        "tokens": {
            "billed": tally.tokens,
            "prompt": tally.prompt_tokens,
            "completion": tally.completion_tokens,
        },
        "teacher": {"model": found.model, "fingerprint": found.teacher},
        "calibration": {
            "name": found.fitted.name,
            "texts": found.fitted.texts,
            "gold": found.fitted.gold,
        },
        "shots": found.shots,
        "probabilities_of": list(found.classes),
        "files": [file.name for file in found.files],
        "content": content_digest(found.files),
        "configuration": {key: found.configuration[key] for key in _LABELLING},
    }
    try:
        _replace(folder / CARD, _card(found, tally))
        _replace(folder / RECORD, json.dumps(record, indent=2, ensure_ascii=False))
    except OSError as error:
        raise _not_written(folder, error) from error


def _not_written(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"{folder} cannot be written: {error.strerror or error}. See that the disk has room and "
        "that you may write there, and run the same command again."
    )


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text if text.endswith("\n") else f"{text}\n", "utf-8", errors="replace")
    part.replace(path)


def _card(found: Summary, tally: Tally) -> str:
    is_token_level = found.task.is_token_level
    head = {
        "pretty_name": found.name,
        "task_categories": [_TASKS[is_token_level]],
        "annotations_creators": ["machine-generated"],
        "tags": ["tutelage", "llm-labelled"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": "data/part-*.parquet"}],
            }
        ],
    }
    names = {label.name: label for label in found.task.labels}
    facts = {
        "head": front_matter(head),
        "name": found.name,
        "is_ner": is_token_level,
        "complete": found.complete,
        "tally": tally,
        "model": found.model,
        "shots": found.shots,
        "fitted": found.fitted,
        "columns": COLUMNS[is_token_level],
        "order": found.classes,
        "labels": [(label, tally.classes.get(name, 0)) for name, label in names.items()],
        "version": __version__,
    }
    return card_environment().get_template("labelled_texts.md.j2").render(facts)
