"""Data, teacher and configuration that a piece of advice is for."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tutelage.assets import find_asset
from tutelage.config.build import build_dataset
from tutelage.config.build_teacher import build_stack
from tutelage.config.compose import compose_config
from tutelage.config.schema import BudgetConfig, RunConfig
from tutelage.data.dataset import Dataset
from tutelage.errors import DataError, TeacherError
from tutelage.measurements import Situation
from tutelage.teacher.engines.model_files import parameters, resolve_model
from tutelage.teacher.stack import Stack

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bm])(?![a-z])", flags=re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TeacherFacts:
    """What can be told of a teacher without starting its engine.

    Attributes:
        name: The model, recording or address.
        millions: Its number of parameters, in millions; 0 if not known.
        chat: Whether it is asked in messages; None if not known.
        on_cpu: Whether its engine is vLLM on a CPU, whose rates were measured.
        error: Why it cannot be asked; None if nothing speaks against it.
    """

    name: str
    millions: float
    chat: bool | None = None
    on_cpu: bool = False
    error: TeacherError | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """Data, teacher and configuration of a piece of advice.

    Attributes:
        overrides: The user's overrides, with a number of shots that the data have.
        config: Their configuration.
        dataset: The data.
        situation: What counts for the choice.
        teacher: The teacher.
        stack: The teacher to count tokens by; None if it cannot be asked.
        folder: A scratch folder for what pricing a run writes.
    """

    overrides: tuple[str, ...]
    config: RunConfig
    dataset: Dataset
    situation: Situation
    teacher: TeacherFacts
    stack: Stack | None
    folder: Path


@contextmanager
def open_case(overrides: Sequence[str]) -> Iterator[Case]:
    """Reads the data, and opens the teacher as far as it goes without an engine.

    Args:
        overrides: A run's overrides without a method.

    Raises:
        ConfigError: An override is wrong.
        DataError: The data cannot be read.
    """
    config = compose_config(overrides)
    dataset = build_dataset(config)
    shots = _shots(dataset, config)
    if shots != config.shots:
        overrides = [*(one for one in overrides if one.split("=")[0] != "shots"), f"shots={shots}"]
        config = compose_config(overrides)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with _open_teacher(config, folder) as (teacher, stack):
            situation = Situation(
                dataset.kind, shots, len(dataset.pool), len(dataset.dev), teacher.millions
            )
            yield Case(tuple(overrides), config, dataset, situation, teacher, stack, folder)


def _shots(dataset: Dataset, config: RunConfig) -> int:
    """Returns the shots per class that are asked for, or as many as the data have."""
    for shots in range(config.shots, 0, -1):
        try:
            dataset.shots(shots, config.seed)
        except DataError:
            continue
        return shots
    return 0


@contextmanager
def _open_teacher(config: RunConfig, folder: Path) -> Iterator[tuple[TeacherFacts, Stack | None]]:
    """Reads what is known of the teacher, without starting its engine."""
    model = str(config.teacher.get("model") or config.teacher.get("recording") or "")
    name = model or str(config.teacher.get("url") or config.hydra.choices["teacher"])
    if model == "embedded":
        name = find_asset("teacher").name
    size = _size(model)
    stack: Stack | None = None
    try:
        stack = build_stack(replace(config, budget=BudgetConfig(None)), folder)
        stack.begin(lambda _: None)
        stack.inner.tokenize(["text"])
        hardware = getattr(stack.engine, "hardware", None)
        facts = TeacherFacts(
            name,
            size,
            bool(getattr(stack.engine, "speaks_chat", False)),
            getattr(hardware, "device", "") == "cpu",
        )
        opened: Stack | None = stack
    except TeacherError as error:
        facts, opened = TeacherFacts(name, size, error=error), None
    try:
        yield facts, opened
    finally:
        if stack is not None:
            stack.close()


def _size(model: str) -> float:
    """Returns a model's parameters in millions, by its weights or else its name; 0 if unknown."""
    try:
        if count := parameters(resolve_model(model)):
            return count / 1e6
    except TeacherError:
        pass
    found = _SIZE.findall(model.rpartition("/")[2])
    return max((float(n) * (1000 if unit in "bB" else 1) for n, unit in found), default=0.0)
