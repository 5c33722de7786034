"""A pool of the classroom's texts, a student that sees them by their class, and methods that label them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tests.helpers.classification import (
    NAMES,
    Heard,
    WordTeacher,
    a_text,
    context,
    obliging,
    prompt_set,
)
from tests.helpers.pool_views import ArrayView

from tutelage.labelling.base import Nearest
from tutelage.labelling.calibration import NoCalibration
from tutelage.labelling.scoring import TextLabeller
from tutelage.methods.base import MethodContext
from tutelage.records import Example
from tutelage.selectors.uncertainty_sampling import UncertaintySampling
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import Teacher

POOL = tuple(
    Example(f"pool-{name}-{n}", a_text(name, 8000 + n)) for n in range(4) for name in NAMES
)
"""Four texts of each class, one class after the other."""


def class_of(text: str) -> str:
    """What a text is, by its first word."""
    return next(name for name in NAMES if text.startswith(name.lower()))


@dataclass
class Student:
    """Its look at texts: sure of their class, or as ``sure`` says; embeddings are near where the class is the same.

    Attributes:
        sure: probability of the text's own class, by text.
        looks: the texts of each look, and those beside them.
    """

    sure: Mapping[str, float] = field(default_factory=dict)
    looks: list[tuple[list[str], list[str]]] = field(default_factory=list)

    def __call__(self, texts: Sequence[str], learnt: Sequence[str]) -> ArrayView:
        self.looks.append((list(texts), list(learnt)))
        return ArrayView(
            np.array([self._probabilities(text) for text in texts]).reshape(len(texts), len(NAMES)),
            embeddings(texts),
            embeddings(learnt),
        )

    def _probabilities(self, text: str) -> list[float]:
        sure = self.sure.get(text, 0.9)
        return [sure if name == class_of(text) else (1 - sure) / (len(NAMES) - 1) for name in NAMES]


def embeddings(texts: Sequence[str]) -> Any:
    """[N, 4]: the class, and a little of the text's number."""
    rows = [
        [*(float(name == class_of(text)) for name in NAMES), int(text.split()[-1]) / 2000]
        for text in texts
    ]
    return np.array(rows).reshape(len(texts), len(NAMES) + 1)


SMALL: dict[str, Any] = {
    "pool_size": None,
    "first": None,
    "rounds": 0,
    "n_texts": 0,
    "train_on_shots": False,
}


def parts(
    name: str = "llkd", acquirer: Any = None, calibrator: Any = None, **changes: Any
) -> dict[str, Any]:
    """The arguments of a method that labels a pool, with ``changes`` of its settings."""
    prompts = prompt_set()

    def labeller(
        task: Task,
        teacher: Teacher,
        demonstrations: Sequence[Example],
        nearest: Nearest | None = None,
    ) -> TextLabeller:
        return TextLabeller(
            teacher,
            task.labels,
            prompts,
            demonstrations,
            (calibrator or NoCalibration)(),
            True,
            nearest,
        )

    settings = {**SMALL, **changes}
    return {
        "name": name,
        "prompts": prompts,
        "acquirer": acquirer or UncertaintySampling("entropy"),
        "new_labeller": labeller,
        **settings,
    }


def pool_ground(
    folder: Path,
    teacher: Any = None,
    *,
    student: Any = None,
    heard: Heard | None = None,
    **changes: Any,
) -> MethodContext:
    """A ground with the pool's texts and a student to look with."""
    given = {"unlabelled": POOL, "view_pool": student or Student(), **changes}
    return context(folder, teacher or WordTeacher(obliging), heard=heard, **given)
