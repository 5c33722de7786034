"""Which demonstrations tell a teacher most about the task: scores of the shots, one by one.

After Wang et al. 2023 ("Large Language Models Are Latent Variable Models", arXiv 2301.11916): a
demonstration is good if it lets the model infer the task's latent concept, and those that predict
the concept best are shown to every text. The paper learns tokens that stand for the concept, and
scores a demonstration by their probability after it. Tokens cannot be learnt through a server or an
engine, so here the labels of the other shots stand in for them: a shot's score is how much it
alone raises the log-probability of their right labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.labelling.showing import class_by_class
from tutelage.records import Example

JURY = 50
"""Most shots by whose labels each shot is scored, from as many classes as possible. With more, the
requests would grow with the square of the shots."""
_DIGITS = 6
"""Decimals of a score that count. Later ones depend on the engine's batches."""


@dataclass(frozen=True, slots=True)
class Trials:
    """The prompts behind the scores of shots.

    Attributes:
        pairs: The shot that is shown, None for none, and the shot whose label is asked for; by
            their indices.
        count: Number of shots.
    """

    pairs: tuple[tuple[int | None, int], ...]
    count: int

    def scores(self, right: NDArray[Any]) -> list[float]:
        """Returns the score of each shot: the mean rise of the log-probability of other labels.

        Args:
            right: Log-probability of the right label in each trial, [pairs]; nan where the request
                failed.

        Returns:
            One score per shot; that of a shot without an answered trial is the lowest of all.
        """
        alone = {
            asked: value
            for (shown, asked), value in zip(self.pairs, right, strict=True)
            if shown is None
        }
        rises: list[list[float]] = [[] for _ in range(self.count)]
        for (shown, asked), value in zip(self.pairs, right, strict=True):
            if shown is not None and np.isfinite(rise := value - alone[asked]):
                rises[shown].append(float(rise))
        found = [float(np.mean(own)) if own else None for own in rises]
        least = min((one for one in found if one is not None), default=0.0)
        return [round(least if one is None else one, _DIGITS) for one in found]


def trials(shots: Sequence[Example]) -> Trials:
    """Returns the prompts that score shots: each one alone before each of the others, and none.

    Args:
        shots: Labelled examples.
    """
    jury = sorted(class_by_class([shot.label for shot in shots])[:JURY])
    shown = [None, *range(len(shots))]
    return Trials(
        tuple((one, asked) for one in shown for asked in jury if one != asked), len(shots)
    )
