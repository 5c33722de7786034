"""Texts that would move the student's head far, and in different directions."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.selectors.distances import Distances
from tutelage.selectors.protocol import Acquired, PoolView
from tutelage.selectors.ranking import wanted, with_rest


class Badge:
    """k-means++ over the gradients that the head would get if the student's own predictions were the labels.

    BADGE (Ash et al. 2020, algorithm 1). The gradient embedding of a text is (p - onehot(argmax p)) outer h, C times D numbers; distances
    are computed from the two factors, so that it is never formed. As in the authors' code the first text is the one of the longest
    gradient; each other one is drawn with a chance proportional to its squared distance to the nearest chosen one, which is the score
    (of the first one its squared length), so that scores need not fall. Where every distance is 0 the earliest text is taken.
    """

    stage: Literal["acquire"] = "acquire"

    def query(self, view: PoolView, n: int, chance: np.random.Generator) -> Acquired:
        """``n`` texts in the order of the choice; see :class:`~tutelage.selectors.protocol.Acquirer`. Labelled rows play no part."""
        total = len(view.texts)
        count = wanted(n, total)
        if not count:
            return with_rest(np.zeros(0, dtype=np.int64), np.zeros(0), 0, total)
        distances = Distances(errors_of(view.probabilities()), view.embeddings())
        free = distances.usable.copy()
        nearest = np.where(free, distances.norms, 0.0)
        places, scores = np.zeros(min(count, int(free.sum())), dtype=np.int64), np.zeros(min(count, int(free.sum())))
        for turn in range(len(places)):
            if turn == 0:
                place = int(np.where(free, nearest, -1.0).argmax())
            else:
                place = _drawn(nearest, free, chance)
            places[turn], scores[turn] = place, nearest[place]
            new = distances.to_row(place)
            nearest = np.where(free, new if turn == 0 else np.fmin(nearest, new), 0.0)
            free[place] = False
            nearest[place] = 0.0
        return with_rest(places, scores, count, total)


def errors_of(probabilities: NDArray[Any]) -> NDArray[Any]:
    """The head's error if the prediction were the label, p - onehot(argmax p), [N, C]; of equal classes the first is the prediction."""
    errors: NDArray[Any] = np.array(probabilities)
    if errors.size:
        errors[np.arange(len(errors)), errors.argmax(axis=1)] -= 1
    return errors


def _drawn(weights: NDArray[np.float64], free: NDArray[np.bool_], chance: np.random.Generator) -> int:
    """A free place, with a chance proportional to its weight; the earliest where all weigh nothing."""
    sums = weights.cumsum()
    point = chance.random() * sums[-1]
    if not sums[-1] > 0:
        return int(free.argmax())
    place = int(sums.searchsorted(point, side="right"))
    # Rounding may put the point at the very end: the last place that weighs anything.
    return place if place < len(weights) else int(np.flatnonzero(weights)[-1])
