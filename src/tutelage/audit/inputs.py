"""What an audit reads beside the run's own files: the untrained encoder, and the data set.

config.yaml names both. The folder may come from somebody else, so its names are followed only to
files of this machine and to our own readers, and nothing is imported by a name in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from tutelage.config.check import check_component
from tutelage.config.messages import DATA_KEYS
from tutelage.config.schema import Component
from tutelage.data.dataset import Dataset
from tutelage.data.sources import load_files, load_hub, load_sample
from tutelage.errors import RunError, TutelageError
from tutelage.runs.read import Run
from tutelage.tasks.protocol import Task

_SOURCES: dict[str, Callable[..., Dataset]] = {
    f"tutelage.data.sources.{source.__name__}": source
    for source in (load_sample, load_files, load_hub)
}


def settings_of(run: Run) -> dict[str, Any]:
    """Returns the settings of config.yaml, as data.

    Raises:
        RunError: The file cannot be read.
    """
    try:
        found = yaml.safe_load(run.config)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise RunError(
            f"{run.folder / 'config.yaml'} is not valid YAML ({first}). Restore the file."
        ) from None
    return found if isinstance(found, dict) else {}


def encoder_of(run: Run, settings: dict[str, Any], given: str | None, *, fetch: bool) -> str:
    """Returns the encoder that the student started from: "embedded", a folder or a hub id.

    Args:
        run: The run.
        settings: The settings of config.yaml.
        given: The encoder to take instead.
        fetch: Whether a model of the hub may be downloaded.

    Raises:
        RunError: config.yaml names none, or one that is not on this machine.
    """
    if given is not None:
        return given
    student = settings.get("student")
    model = student.get("model") if isinstance(student, dict) else None
    if not isinstance(model, str) or not model:
        raise RunError(
            f"{run.folder / 'config.yaml'} names no student.model, whose features an audit needs. "
            "Give one: --encoder embedded, a folder or a hub id."
        )
    if model == "embedded" or fetch or Path(model).expanduser().exists():
        return model
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return str(snapshot_download(model, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise RunError(
            f"The run's student.model={model} is not on this machine. Give --fetch to download it, "
            "or --encoder with another one: embedded, or a folder."
        ) from error


def untrained(model: str, task: Task) -> Any:
    """Returns a student module around an encoder as it is before any training.

    Args:
        model: "embedded", a folder or a hub id; no code from it is run.
        task: The task.
    """
    from tutelage.student.checkpoint import new_network

    return student_module(
        new_network(task.head, model, task.outputs, pooling="mean", head_dropout=0.0), task
    )


def student_module(network: Any, task: Task) -> Any:
    """Returns a module around a network for predictions alone; its training settings are unused."""
    from tutelage.selectors.row_selection import EveryRow
    from tutelage.student.losses.cross_entropy import CrossEntropyLoss
    from tutelage.student.module import StudentModule
    from tutelage.student.schedule import RateSchedule

    return StudentModule(
        network,
        task,
        CrossEntropyLoss(),
        RateSchedule(),
        EveryRow(),
        batch_size=1,
        learning_rate=0.0,
        head_learning_rate=0.0,
        weight_decay=0.0,
    )


def dataset_of(
    run: Run,
    settings: dict[str, Any],
    *,
    fetch: bool,
    without: str = "so dev was not audited, and no gold label of the pool was known",
) -> tuple[Dataset | None, Sequence[str]]:
    """Reads the run's data set again, for dev and for gold labels of the pool.

    Args:
        run: The run.
        settings: The settings of config.yaml.
        fetch: Whether the hub may be asked.
        without: What follows from having no data set, the end of the reason.

    Returns:
        The data set, or None with the reason: it cannot be read, or its digest is not that of the
        run, so that it may be another one.
    """
    node = settings.get("data")
    node = node if isinstance(node, dict) else {}
    target = node.get("_target_")
    if not isinstance(target, str) or target not in _SOURCES:
        return None, [f"The data set has a reader of its own ({target}), {without}."]
    if _SOURCES[target] is load_hub and not fetch:
        return None, [f"The data set is one of the hub, {without}; --fetch reads it again."]
    given = {name: node[name] for name in node if name not in ("_target_", *DATA_KEYS)}
    try:
        check_component(Component(target, given), "data", given=("kind",))
        dataset = _SOURCES[target](**given, kind=run.task.name)
    except TutelageError as error:
        return None, [f"The data set could not be read again, {without}: {error}"]
    digest = (run.manifest.get("data") or {}).get("digest")
    if dataset.digest != digest:
        return None, [f"The data set is no longer that of the run, {without}."]
    return dataset, ()
