"""Acquire selector that looks for rare classes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError
from tutelage.selectors.protocol import Acquired, PoolView
from tutelage.selectors.ranking import in_order, wanted


class ClassBalance:
    """Chooses texts of every class alike, by the student's belief; the others are random.

    The classes take turns, the rarest by belief first. Each takes the text left that is most
    probably of it. A random choice of a pool with 5 % of a class finds one such text in 20.

    The score is the student's probability of the class that took the text, 0 for random texts.

    Args:
        share: Share of the texts chosen by class, from 0 to 1. The random rest reaches texts of
            which the student is wrongly sure.

    Raises:
        ConfigError: ``share`` is outside [0, 1].
    """

    stage: Literal["acquire"] = "acquire"

    def __init__(self, share: float = 0.5) -> None:
        if not 0 <= share <= 1:
            raise ConfigError(f"acquire.share={share:g} must be between 0 and 1.")
        self._share = share

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """Chooses ``n`` texts, those by class first.

        Args:
            view: The unlabelled texts as the student sees them.
            n: Number of texts to choose.
            rng: Source of the random rest.
        """
        count = wanted(n, len(view.texts))
        belief = view.probabilities().astype(np.float64)
        known: NDArray[np.bool_] = np.asarray(np.isfinite(belief).all(axis=1))
        # The texts of each class, most probable first, and the classes, rarest first.
        ranked = np.argsort(np.where(known[:, None], -belief, np.inf), axis=0, kind="stable").T
        waiting = [iter(column.tolist()) for column in ranked]
        turns = np.argsort(belief[known].sum(axis=0), kind="stable")
        by_class = min(round(self._share * count), int(known.sum()))
        taken: dict[int, float] = {}
        while len(taken) < by_class:
            label = turns[len(taken) % len(turns)]
            index = next(one for one in waiting[label] if one not in taken)
            taken[index] = belief[index, label]
        # The rest in random order; texts without a probability last.
        mixed = rng.permutation(np.flatnonzero(known)).tolist()
        left = [one for one in mixed if one not in taken] + np.flatnonzero(~known).tolist()
        rest = left[: count - len(taken)]
        scores = [*taken.values(), *[0.0] * len(rest)]
        return in_order(np.array([*taken, *rest], dtype=np.int64), np.array(scores))
