"""Overrides of a small run, for each of the two tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.helpers.tiny import EVOKD, scripted
from tests.helpers.tiny_ner import EVOKD_NER, scripted_ner


@dataclass(frozen=True)
class TaskSetup:
    """A task with the overrides of a small run.

    Attributes:
        task: Name of the task.
        base: Overrides of data, teacher and student, given the teacher's settings.
        evokd: Overrides of a short EvoKD run.
        gold: Number of shots.
        pool: Number of pool texts.
        dev: Number of dev texts.
    """

    task: str
    base: Callable[..., list[str]]
    evokd: tuple[str, ...]
    gold: int
    pool: int
    dev: int


def task_setup(task: str, student: Path, data: Path, cache: Path) -> TaskSetup:
    """The set-up of ``task``; all its runs share ``cache``."""
    if task == "ner":
        return TaskSetup(
            "ner", partial(scripted_ner, student, data, cache), EVOKD_NER, gold=3, pool=24, dev=10
        )
    return TaskSetup(
        "classification", partial(scripted, student, data, cache), EVOKD, gold=7, pool=84, dev=28
    )
