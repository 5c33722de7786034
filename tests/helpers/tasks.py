"""The two tasks as a test sees them: what a run of each is started with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.helpers.tiny import EVOKD, scripted
from tests.helpers.tiny_ner import EVOKD_NER, scripted_ner


@dataclass(frozen=True)
class Kind:
    """A task, and the overrides of a run of it: data, teacher and student, given the settings of the teacher; with ``evokd`` its rounds."""

    task: str
    base: Callable[..., list[str]]
    evokd: tuple[str, ...]
    gold: int
    pool: int
    dev: int


def kind_of(task: str, student: Path, data: Path, cache: Path) -> Kind:
    """The kind of ``task``, whose replies of all runs are kept in ``cache``."""
    if task == "ner":
        return Kind(
            "ner", partial(scripted_ner, student, data, cache), EVOKD_NER, gold=3, pool=24, dev=10
        )
    return Kind(
        "classification", partial(scripted, student, data, cache), EVOKD, gold=7, pool=84, dev=28
    )
