"""Texts that leave no text far from a labelled one."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tutelage.selectors.distances import Distances
from tutelage.selectors.protocol import Acquired, PoolView
from tutelage.selectors.ranking import wanted, with_rest


class KCenter:
    """Takes, again and again, the text that is farthest from every labelled and every chosen one.

    The greedy "core-set" of Sener and Savarese 2018, algorithm 1, on the student's embeddings; at most twice as far as the best choice
    of ``n`` centres would leave. Without labelled rows the first text is a random one. The score is the distance to the nearest centre
    at the time of the choice, so that scores only fall. Memory: a few numbers a text; time: ``n`` products with the embeddings.
    """

    stage: Literal["acquire"] = "acquire"

    def query(self, view: PoolView, n: int, chance: np.random.Generator) -> Acquired:
        """``n`` texts in the order of the choice; see :class:`~tutelage.selectors.protocol.Acquirer`."""
        total = len(view.texts)
        count = wanted(n, total)
        if not count:
            return with_rest(np.zeros(0, dtype=np.int64), np.zeros(0), 0, total)
        distances = Distances(view.embeddings())
        usable = int(distances.usable.sum())
        labelled = view.labelled_embeddings()
        labelled = labelled[np.isfinite(labelled).all(axis=1)]
        nearest = distances.to_nearest(labelled)
        nearest[~distances.usable] = -1.0
        places, scores = np.zeros(min(count, usable), dtype=np.int64), np.zeros(min(count, usable))
        for turn in range(len(places)):
            if turn == 0 and not len(labelled):
                place = int(np.flatnonzero(distances.usable)[chance.integers(usable)])
            else:
                place = int(nearest.argmax())
            places[turn], scores[turn] = place, nearest[place]
            np.fmin(nearest, distances.to_row(place), out=nearest)
            nearest[place] = -1.0
        if len(scores) and np.isinf(scores[0]):
            scores[0] = scores[1] if len(scores) > 1 else 0.0  # the random one is as wanted as the next
        return with_rest(places, np.sqrt(scores), count, total)
