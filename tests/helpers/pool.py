"""An unlabelled pool, a scripted student view of it, and arguments of pool methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tests.helpers.classification import (
    NAMES,
    RecordedProgress,
    WordTeacher,
    context,
    make_text,
    obliging,
    prompt_set,
)
from tests.helpers.pool_views import ArrayView

from tutelage.labelling.base import Nearest
from tutelage.labelling.calibration import NoCalibration
from tutelage.labelling.text_labeller import TextLabeller
from tutelage.methods.base import MethodContext
from tutelage.records import Example
from tutelage.selectors.uncertainty_sampling import UncertaintySampling
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import Teacher

POOL = tuple(
    Example(f"pool-{name}-{n}", make_text(name, 8000 + n)) for n in range(4) for name in NAMES
)
"""Four texts of each class, one class after the other."""


def class_of(text: str) -> str:
    """The true class of a text, from its first word."""
    return next(name for name in NAMES if text.startswith(name.lower()))


@dataclass
class Student:
    """A scripted ``view_pool``: predicts the true class, with similar embeddings within a class.

    Attributes:
        confidence: Probability of the true class by text; 0.9 for every other text.
        views: The unlabelled and the labelled texts of each call.
    """

    confidence: Mapping[str, float] = field(default_factory=dict)
    views: list[tuple[list[str], list[str]]] = field(default_factory=list)

    def __call__(self, texts: Sequence[str], labelled: Sequence[str]) -> ArrayView:
        self.views.append((list(texts), list(labelled)))
        return ArrayView(
            np.array([self._probabilities(text) for text in texts]).reshape(len(texts), len(NAMES)),
            embeddings(texts),
            embeddings(labelled),
        )

    def _probabilities(self, text: str) -> list[float]:
        own = self.confidence.get(text, 0.9)
        return [own if name == class_of(text) else (1 - own) / (len(NAMES) - 1) for name in NAMES]


def embeddings(texts: Sequence[str]) -> Any:
    """One-hot class, plus a small coordinate from the text's number, [N, 4]."""
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


def method_arguments(
    name: str = "llkd", acquirer: Any = None, calibrator: Any = None, **changes: Any
) -> dict[str, Any]:
    """Arguments of a method that labels a pool; ``changes`` override its settings."""
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


def pool_context(
    folder: Path,
    teacher: Any = None,
    *,
    student: Any = None,
    recorded: RecordedProgress | None = None,
    **changes: Any,
) -> MethodContext:
    """A method's context with the unlabelled pool and a student view."""
    given = {"unlabelled": POOL, "view_pool": student or Student(), **changes}
    return context(folder, teacher or WordTeacher(obliging), recorded=recorded, **given)
