"""FOLD: selectors.diversity."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError
from tutelage.selectors.distances import Distances
from tutelage.selectors.measures import checked_kind
from tutelage.selectors.protocol import Acquired, Floats, Indices, PoolView, Uncertainty
from tutelage.selectors.ranking import best_first, wanted, with_rest

# FOLD: Rows that stand for all rows: the nearest one to each centre of a mini-batch k-means.
_BATCH = 1024
_STEPS = 500
"""Of a batch each, about: mini-batch k-means settles within some hundreds (Sculley 2010)."""
_SAMPLE = 100_000
"""Rows that centres are learnt from where there are more; the rows that stand for them are looked for among all."""
_FLOOR = 1e-6
"""Of the largest weight: what a weight counts at least, so that no centre is left without a row."""


def representatives(
    embeddings: NDArray[Any], n: int, rng: np.random.Generator, weights: NDArray[Any] | None = None
) -> tuple[Indices, Floats]:
    """``n`` different places, and the distance of each row to the centre that it stands for; in no special order.

    Sculley's mini-batch k-means (2010) by scikit-learn, then for each centre the nearest row that no other centre has.

    Args:
        embeddings: [N, D], all finite, N at least ``n``.
        weights: of the rows in the clustering, [N], at least 0; even ones where they are all 0 or not given.
    """
    if n == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    if n == len(embeddings):
        return np.arange(n, dtype=np.int64), np.zeros(n)
    from sklearn.cluster import MiniBatchKMeans

    if weights is not None:
        highest = float(weights.max())
        weights = np.maximum(weights / highest, _FLOOR) if highest > 0 else None
    size = max(_BATCH, 2 * n)
    learnt = embeddings
    if len(embeddings) > (most := max(_SAMPLE, 10 * n)):
        rows = np.sort(rng.choice(len(embeddings), size=most, replace=False))
        learnt, weights = embeddings[rows], None if weights is None else weights[rows]
    clustering = MiniBatchKMeans(
        n_clusters=n,
        batch_size=size,
        max_iter=min(100, max(1, _STEPS * size // len(learnt))),
        n_init=1,
        compute_labels=False,
        random_state=int(rng.integers(2**31 - 1)),
    ).fit(learnt, sample_weight=weights)
    return _different(embeddings, np.asarray(clustering.cluster_centers_))


def _different(embeddings: NDArray[Any], centres: NDArray[Any]) -> tuple[Indices, Floats]:
    """The nearest row to each centre; where two centres have the same one, the second takes its nearest that is free."""
    from sklearn.metrics import pairwise_distances, pairwise_distances_argmin_min

    nearest, distances = pairwise_distances_argmin_min(centres, embeddings)
    indices, found = nearest.astype(np.int64), distances.astype(np.float64)
    first = np.unique(indices, return_index=True)[1]
    taken = np.zeros(len(embeddings), dtype=bool)
    taken[indices[first]] = True
    for centre in np.setdiff1d(np.arange(len(centres)), first):
        own = np.where(
            taken, np.inf, pairwise_distances(centres[centre : centre + 1], embeddings)[0]
        )
        indices[centre] = int(own.argmin())
        found[centre] = own[indices[centre]]
        taken[indices[centre]] = True
    return indices, found


# FOLD: Texts that stand for the pool: one for each cluster of the student's embeddings.
class KMeansSampling:
    """Clusters the pool into ``n`` clusters and takes the text nearest to each centre, the most typical one first.

    The diversity arm of LLMaAA (Zhang et al. 2023, section 3.3) and of Yuan et al. 2020 ("BERT-KM"), with mini-batches so that a
    million texts stay affordable. The score is minus the text's distance to its centre.
    """

    stage: Literal["acquire"] = "acquire"

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """``n`` texts, one a cluster; see :class:`~tutelage.selectors.protocol.Acquirer`. Labelled rows play no part."""
        total = len(view.texts)
        count = wanted(n, total)
        embeddings = view.embeddings()
        usable = np.flatnonzero(Distances(embeddings).usable)
        # Taking rows makes a copy, of which the common case is spared.
        rows = embeddings if len(usable) == total else embeddings[usable]
        indices, distances = representatives(rows, min(count, len(usable)), rng)
        order = np.lexsort((indices, distances))
        return with_rest(usable[indices[order]], -distances[order], count, total)


# FOLD: Texts that leave no text far from a labelled one.
class KCenter:
    """Takes, again and again, the text that is farthest from every labelled and every chosen one.

    The greedy "core-set" of Sener and Savarese 2018, algorithm 1, on the student's embeddings; at most twice as far as the best choice
    of ``n`` centres would leave. Without labelled rows the first text is a random one. The score is the distance to the nearest centre
    at the time of the choice, so that scores only fall. Memory: a few numbers a text; time: ``n`` products with the embeddings.
    """

    stage: Literal["acquire"] = "acquire"

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
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
        indices, scores = np.zeros(min(count, usable), dtype=np.int64), np.zeros(min(count, usable))
        for turn in range(len(indices)):
            if turn == 0 and not len(labelled):
                index = int(np.flatnonzero(distances.usable)[rng.integers(usable)])
            else:
                index = int(nearest.argmax())
            indices[turn], scores[turn] = index, nearest[index]
            np.fmin(nearest, distances.to_row(index), out=nearest)
            nearest[index] = -1.0
        if len(scores) and np.isinf(scores[0]):
            scores[0] = (
                scores[1] if len(scores) > 1 else 0.0
            )  # the random one is as wanted as the next
        return with_rest(indices, np.sqrt(scores), count, total)


# FOLD: Texts that would move the student's head far, and in different directions.
class Badge:
    """k-means++ over the gradients that the head would get if the student's own predictions were the labels.

    BADGE (Ash et al. 2020, algorithm 1). The gradient embedding of a text is (p - onehot(argmax p)) outer h, C times D numbers; distances
    are computed from the two factors, so that it is never formed. As in the authors' code the first text is the one of the longest
    gradient; each other one is drawn with a chance proportional to its squared distance to the nearest chosen one, which is the score
    (of the first one its squared length), so that scores need not fall. Where every distance is 0 the earliest text is taken.
    """

    stage: Literal["acquire"] = "acquire"

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """``n`` texts in the order of the choice; see :class:`~tutelage.selectors.protocol.Acquirer`. Labelled rows play no part."""
        total = len(view.texts)
        count = wanted(n, total)
        if not count:
            return with_rest(np.zeros(0, dtype=np.int64), np.zeros(0), 0, total)
        distances = Distances(errors_of(view.probabilities()), view.embeddings())
        free = distances.usable.copy()
        nearest = np.where(free, distances.norms, 0.0)
        indices, scores = (
            np.zeros(min(count, int(free.sum())), dtype=np.int64),
            np.zeros(min(count, int(free.sum()))),
        )
        for turn in range(len(indices)):
            if turn == 0:
                index = int(np.where(free, nearest, -1.0).argmax())
            else:
                index = _drawn(nearest, free, rng)
            indices[turn], scores[turn] = index, nearest[index]
            new = distances.to_row(index)
            nearest = np.where(free, new if turn == 0 else np.fmin(nearest, new), 0.0)
            free[index] = False
            nearest[index] = 0.0
        return with_rest(indices, scores, count, total)


def errors_of(probabilities: NDArray[Any]) -> NDArray[Any]:
    """The head's error if the prediction were the label, p - onehot(argmax p), [N, C]; of equal classes the first is the prediction."""
    errors: NDArray[Any] = np.array(probabilities)
    if errors.size:
        errors[np.arange(len(errors)), errors.argmax(axis=1)] -= 1
    return errors


def _drawn(weights: NDArray[np.float64], free: NDArray[np.bool_], rng: np.random.Generator) -> int:
    """A free place, with a chance proportional to its weight; the earliest where all weigh nothing."""
    sums = weights.cumsum()
    point = rng.random() * sums[-1]
    if not sums[-1] > 0:
        return int(free.argmax())
    index = int(sums.searchsorted(point, side="right"))
    # Rounding may put the point at the very end: the last place that weighs anything.
    return index if index < len(weights) else int(np.flatnonzero(weights)[-1])


# FOLD: Uncertain texts that differ from one another.
class Mixed:
    """Clusters the ``beta`` times ``n`` least certain texts, weighted by their uncertainty, and takes the one nearest to each centre.

    Zhdanov 2019 ("Diverse mini-batch Active Learning", algorithm 1, with weighted k-means). The score is the uncertainty, and the least
    certain comes first.

    Args:
        beta: how many candidates for each wanted text; at least 1, which is plain uncertainty.
        kind: margin, entropy or least_confidence.

    Raises:
        ConfigError: ``beta`` is below 1, or ``kind`` none of these.
    """

    stage: Literal["acquire"] = "acquire"

    def __init__(self, beta: int = 10, kind: Uncertainty = "margin") -> None:
        if beta < 1:
            raise ConfigError(
                f"selector.beta={beta} leaves fewer candidates than wanted texts; give 1 or more."
            )
        self._beta = beta
        self._kind = checked_kind(kind)

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """``n`` texts; see :class:`~tutelage.selectors.protocol.Acquirer`. Labelled rows play no part."""
        total = len(view.texts)
        count = wanted(n, total)
        embeddings = view.embeddings()
        uncertainty = view.uncertainty(self._kind).astype(np.float64)
        uncertainty[~Distances(embeddings).usable] = np.nan
        usable = int(np.isfinite(uncertainty).sum())
        candidates = best_first(uncertainty, min(self._beta * count, usable)).indices
        near, _ = representatives(
            embeddings[candidates], min(count, usable), rng, weights=uncertainty[candidates]
        )
        # Candidates stand in falling order of uncertainty, so their own order is the order wanted.
        indices = candidates[np.sort(near)]
        return with_rest(indices, uncertainty[indices], count, total)
