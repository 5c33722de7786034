"""The best answer without looking at a text: the most frequent class of the test set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tutelage.records import Outcome
from tutelage.tasks.protocol import Task


def majority_metrics(task: Task, targets: Sequence[str]) -> dict[str, Any] | None:
    """Scores the answer with the most frequent class to every text.

    For entities the answer "none" to every text has an F1 of 0, which needs no line.

    Args:
        task: The task.
        targets: The gold targets of the test set.

    Returns:
        The headline metrics, and "label" (the class; the first one in a tie). None for entities, or
        without texts.
    """
    if task.is_token_level or not targets:
        return None
    label = Counter(targets).most_common(1)[0][0]
    outcomes = [Outcome("", "", target, label, (1.0,), "test", 0) for target in targets]
    metrics = task.metrics(outcomes)
    return {**{one.key: metrics[one.key] for one in task.headline_metrics}, "label": label}
