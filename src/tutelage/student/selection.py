"""Running the train selector on one batch: from logits to plain numbers to row weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from tutelage.selectors.protocol import Floats, Indices, Step, TrainSelector
from tutelage.student.units import at_units
from tutelage.tasks.protocol import Task


class SelectableItem(Protocol):
    """The part of :class:`tutelage.data.items.Item` selection reads."""

    id: str
    target: str
    group: int
    confidence: float
    least_confidence: float
    disagreement: float
    indices: tuple[int, ...]

    @property
    def gold(self) -> bool:
        """True if the target is a gold label."""
        ...


@dataclass(frozen=True, slots=True)
class Selected:
    """The selector's decision about one batch, and its inputs.

    Attributes:
        items: Items of the batch, in order.
        groups: Group of each row, [B].
        weights: Weight of each row, [B]; 0 for rows left out.
        report: Values to log for this step.
        scores: Score each row was chosen by, [B], or None.
        peer_weights: Weight of each row for each of the student's networks, [B, P]; None where all
            have ``weights``.
    """

    items: tuple[Any, ...]
    groups: Indices
    weights: Floats
    report: dict[str, Any]
    scores: Floats | None
    peer_weights: Floats | None = None

    def by_network(self, count: int) -> Floats:
        """Returns the weight of each row for each of ``count`` networks, [B, count]."""
        if self.peer_weights is not None:
            return self.peer_weights
        return np.repeat(self.weights[:, None], count, axis=1)


def select(
    selector: TrainSelector,
    items: Sequence[SelectableItem],
    logits: torch.Tensor | None,
    task: Task,
) -> Selected:
    """Lets the selector weight the rows of a batch.

    Args:
        selector: The train selector.
        items: Items of the batch, in order.
        logits: Student logits, [B, C], or [B, L, C] for NER; None for a selector without
            ``watches``.
        task: The task, for its groups and outputs.
    """
    groups = np.array([item.group for item in items], dtype=np.int64)
    # Units as (row, position) pairs: one per text, or one per word with a token.
    seen = [(row, index) for row, item in enumerate(items) for index in item.indices if index >= 0]
    owners, indices = np.array(seen, dtype=np.int64).reshape(-1, 2).T
    # Distributions of the units, [N, C].
    if logits is None:
        probabilities = np.full((len(seen), len(task.outputs)), np.nan)
    else:
        probabilities = logits.detach().float().softmax(dim=-1).cpu().numpy().astype(np.float64)
        probabilities = at_units(probabilities, owners, indices)
    step = Step(
        ids=tuple(item.id for item in items),
        groups=groups,
        predicted=_predicted_groups(probabilities, owners, len(items), task),
        confidence=np.array([item.confidence for item in items]),
        least_confidence=np.array([item.least_confidence for item in items]),
        gold=np.array([item.gold for item in items]),
        probabilities=probabilities,
        owners=owners,
        classes=task.num_groups,
        disagreement=np.array([item.disagreement for item in items]),
    )
    # From here on the selector sees numbers only.
    weighed = selector.weigh(step)
    return Selected(
        tuple(items),
        groups,
        weighed.weights,
        weighed.report,
        weighed.scores,
        weighed.peer_weights,
    )


def _predicted_groups(probabilities: Floats, owners: Indices, rows: int, task: Task) -> Indices:
    """Group predicted for each row, [rows]: the most frequent among its units.

    For NER, any entity type outranks no entity, and the first of equally frequent types wins.
    """
    counts = np.zeros((rows, task.num_groups), dtype=np.int64)
    np.add.at(counts, (owners, np.array(task.output_groups)[probabilities.argmax(axis=-1)]), 1)
    # len(labels), the group of texts without entities, only wins if nothing else was predicted.
    labelled = counts[:, : len(task.labels)]
    found: Indices = np.where(labelled.any(axis=-1), labelled.argmax(axis=-1), task.num_groups - 1)
    return found
