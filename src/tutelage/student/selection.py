"""What the train selector makes of one batch: the student's view of it in plain numbers, and the decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from tutelage.selectors.protocol import Floats, Indices, Step, TrainSelector
from tutelage.tasks.protocol import Task


class SelectableItem(Protocol):
    """What is asked of a batch's item (:class:`tutelage.data.items.Item`)."""

    id: str
    target: str
    key: int
    confidence: float
    least_confidence: float
    indices: tuple[int, ...]

    @property
    def gold(self) -> bool:
        """True where the target is a gold label."""
        ...


@dataclass(frozen=True, slots=True)
class Selected:
    """The selector's decision about one batch, with what it was decided about.

    Attributes:
        items: the batch's, in order.
        groups: their classes, [B].
        weights: [B]; 0 where a row was left out.
        report: what the selector tells of the step.
        scores: what it chose by, [B], or None.
    """

    items: tuple[Any, ...]
    groups: Indices
    weights: Floats
    report: dict[str, Any]
    scores: Floats | None


def select(
    selector: TrainSelector,
    items: Sequence[SelectableItem],
    logits: torch.Tensor | None,
    task: Task,
) -> Selected:
    """Ask ``selector`` about a batch.

    Args:
        logits: the student's, [B, C], or [B, L, C] for words; None for a selector that does not look at them.
    """
    groups = np.array([item.key for item in items], dtype=np.int64)
    seen = [
        (row, index)
        for row, item in enumerate(items)
        for index in (item.indices if task.is_token_level else (0,))
        if index >= 0
    ]
    owners, indices = np.array(seen, dtype=np.int64).reshape(-1, 2).T
    if logits is None:
        probabilities = np.full((len(seen), len(task.outputs)), np.nan)
    else:
        probabilities = logits.detach().float().softmax(dim=-1).cpu().numpy().astype(np.float64)
        probabilities = probabilities[owners, indices] if task.is_token_level else probabilities
    step = Step(
        ids=tuple(item.id for item in items),
        groups=groups,
        predicted=_said(probabilities, owners, len(items), task),
        confidence=np.array([item.confidence for item in items]),
        least_confidence=np.array([item.least_confidence for item in items]),
        gold=np.array([item.gold for item in items]),
        probabilities=probabilities,
        owners=owners,
        classes=task.num_groups,
    )
    weighed = selector.weigh(step)
    return Selected(tuple(items), groups, weighed.weights, weighed.report, weighed.scores)


def _said(probabilities: Floats, owners: Indices, rows: int, task: Task) -> Indices:
    """The student's class of each row, [rows]: the one that most of its units have, a label before none, of equals the first."""
    counts = np.zeros((rows, task.num_groups), dtype=np.int64)
    np.add.at(counts, (owners, np.array(task.output_groups)[probabilities.argmax(axis=-1)]), 1)
    labelled = counts[:, : len(task.labels)]
    found: Indices = np.where(labelled.any(axis=-1), labelled.argmax(axis=-1), task.num_groups - 1)
    return found
