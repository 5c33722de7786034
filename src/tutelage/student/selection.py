"""What the train selector makes of one batch: the student's view of it in plain numbers, and the decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from tutelage.selectors.protocol import Floats, Places, Step, TrainSelector
from tutelage.tasks.protocol import Task


class SelectableItem(Protocol):
    """What is asked of a batch's item (:class:`tutelage.data.items.Item`)."""

    id: str
    target: str
    key: int
    confidence: float
    least_confidence: float
    places: tuple[int, ...]

    @property
    def gold(self) -> bool:
        """True where the target is a gold label."""
        ...


@dataclass(frozen=True, slots=True)
class Selected:
    """The selector's decision about one batch, with what it was decided about.

    Attributes:
        items: the batch's, in order.
        keys: their classes, [B].
        weights: [B]; 0 where a row was left out.
        report: what the selector tells of the step.
        scores: what it chose by, [B], or None.
    """

    items: tuple[Any, ...]
    keys: Places
    weights: Floats
    report: dict[str, Any]
    scores: Floats | None


def select(selector: TrainSelector, items: Sequence[SelectableItem], logits: torch.Tensor | None, task: Task) -> Selected:
    """Ask ``selector`` about a batch.

    Args:
        logits: the student's, [B, C], or [B, L, C] for words; None for a selector that does not look at them.
    """
    keys = np.array([item.key for item in items], dtype=np.int64)
    seen = [(row, place) for row, item in enumerate(items) for place in (item.places if task.level == "word" else (0,)) if place >= 0]
    owners, places = np.array(seen, dtype=np.int64).reshape(-1, 2).T
    if logits is None:
        probabilities = np.full((len(seen), len(task.outputs)), np.nan)
    else:
        probabilities = logits.detach().float().softmax(dim=-1).cpu().numpy().astype(np.float64)
        probabilities = probabilities[owners, places] if task.level == "word" else probabilities
    step = Step(
        ids=tuple(item.id for item in items),
        keys=keys,
        said=_said(probabilities, owners, len(items), task),
        confidence=np.array([item.confidence for item in items]),
        least_confidence=np.array([item.least_confidence for item in items]),
        gold=np.array([item.gold for item in items]),
        probabilities=probabilities,
        owners=owners,
        classes=task.keys,
    )
    weighed = selector.weigh(step)
    return Selected(tuple(items), keys, weighed.weights, weighed.report, weighed.scores)


def _said(probabilities: Floats, owners: Places, rows: int, task: Task) -> Places:
    """The student's class of each row, [rows]: the one that most of its units have, a label before none, of equals the first."""
    counts = np.zeros((rows, task.keys), dtype=np.int64)
    np.add.at(counts, (owners, np.array(task.output_keys)[probabilities.argmax(axis=-1)]), 1)
    labelled = counts[:, : len(task.labels)]
    found: Places = np.where(labelled.any(axis=-1), labelled.argmax(axis=-1), task.keys - 1)
    return found
