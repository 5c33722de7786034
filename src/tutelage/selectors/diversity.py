"""Acquire selectors for diverse texts, based on the student's embeddings.

- :class:`KMeansSampling` takes one typical text per cluster.
- :class:`KCenter` leaves no text far from a labelled one.
- :class:`Badge` takes texts with long and different gradients of the head.
- :class:`Mixed` takes uncertain texts that differ from one another.

Labelled rows only matter to :class:`KCenter`.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError
from tutelage.selectors.distances import Distances
from tutelage.selectors.measures import checked_kind
from tutelage.selectors.protocol import Acquired, Floats, Indices, PoolView, Uncertainty
from tutelage.selectors.ranking import best_first, wanted, with_rest

_BATCH = 1024
"""Smallest batch of mini-batch k-means."""
_STEPS = 500
"""Approximate number of mini-batches: k-means settles within a few hundred (Sculley 2010)."""
_SAMPLE = 100_000
"""Largest number of rows to learn centres from; the nearest rows are searched among all rows."""
_FLOOR = 1e-6
"""Lower bound of a weight, relative to the largest one, so that every centre attracts a row."""


def representatives(
    embeddings: NDArray[Any], n: int, rng: np.random.Generator, weights: NDArray[Any] | None = None
) -> tuple[Indices, Floats]:
    """Finds ``n`` different rows close to the centres of ``n`` clusters.

    Runs scikit-learn's mini-batch k-means (Sculley 2010), then takes the nearest row of each
    centre, skipping rows another centre has already taken.

    Args:
        embeddings: Finite array of shape [N, D], with N at least ``n``.
        n: Number of clusters.
        rng: Source of the subsample and of the k-means seed.
        weights: Weight of each row in the clustering, [N], at least 0; uniform if None or all 0.

    Returns:
        Row indices and their distances to the centres, [n] each, in no special order.
    """
    if n == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    if n == len(embeddings):
        return np.arange(n, dtype=np.int64), np.zeros(n)
    from sklearn.cluster import MiniBatchKMeans

    # A weight of 0 could leave a centre without any row.
    if weights is not None:
        highest = float(weights.max())
        weights = np.maximum(weights / highest, _FLOOR) if highest > 0 else None
    # Learn the centres from a subsample of very large pools, to bound the running time.
    size = max(_BATCH, 2 * n)
    learnt = embeddings
    if len(embeddings) > (most := max(_SAMPLE, 10 * n)):
        rows = np.sort(rng.choice(len(embeddings), size=most, replace=False))
        learnt, weights = embeddings[rows], None if weights is None else weights[rows]
    # Enough passes over the rows for about _STEPS mini-batches.
    clustering = MiniBatchKMeans(
        n_clusters=n,
        batch_size=size,
        max_iter=min(100, max(1, _STEPS * size // len(learnt))),
        n_init=1,
        compute_labels=False,
        random_state=int(rng.integers(2**31 - 1)),
    ).fit(learnt, sample_weight=weights)
    return _nearest_distinct(embeddings, np.asarray(clustering.cluster_centers_))


def _nearest_distinct(embeddings: NDArray[Any], centres: NDArray[Any]) -> tuple[Indices, Floats]:
    """Nearest row of each centre; a centre whose row is taken gets its nearest free row."""
    from sklearn.metrics import pairwise_distances, pairwise_distances_argmin_min

    nearest, distances = pairwise_distances_argmin_min(centres, embeddings)
    indices, found = nearest.astype(np.int64), distances.astype(np.float64)
    # The first centre of each row keeps it; the others search again, one at a time.
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


class KMeansSampling:
    """Takes the most typical text of each of ``n`` clusters of the student's embeddings.

    The diversity strategy of LLMaAA (Zhang et al. 2023, section 3.3) and of Yuan et al. 2020
    ("BERT-KM"), with mini-batches so that a million texts stay affordable. The score is minus the
    distance of a text to its centre, most typical first.
    """

    stage: Literal["acquire"] = "acquire"

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """Chooses one text per cluster; labelled rows play no part.

        Args:
            view: The unlabelled texts as the student sees them.
            n: Number of texts to choose.
            rng: Source of the clustering's random draws.
        """
        total = len(view.texts)
        count = wanted(n, total)
        embeddings = view.embeddings()
        usable = np.flatnonzero(Distances(embeddings).usable)
        # Indexing would copy the embeddings, so it is skipped when every row is usable.
        rows = embeddings if len(usable) == total else embeddings[usable]
        indices, distances = representatives(rows, min(count, len(usable)), rng)
        # Most typical first; the lower index wins a tie.
        order = np.lexsort((indices, distances))
        return with_rest(usable[indices[order]], -distances[order], count, total)


class KCenter:
    """Repeatedly takes the text farthest from all labelled and already chosen texts.

    The greedy "core-set" selection of Sener and Savarese 2018, algorithm 1, on the student's
    embeddings. The largest remaining distance is at most twice the optimum for ``n`` centres.
    Without labelled rows the first text is random. The score is the distance to the nearest centre
    at the time of the choice, so scores never increase.

    Costs a few numbers of memory per text and ``n`` matrix-vector products with the embeddings.
    """

    stage: Literal["acquire"] = "acquire"

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """Chooses ``n`` texts, in greedy order.

        Args:
            view: The unlabelled texts as the student sees them.
            n: Number of texts to choose.
            rng: Draws the first text if there are no labelled rows.
        """
        total = len(view.texts)
        count = wanted(n, total)
        if not count:
            return with_rest(np.zeros(0, dtype=np.int64), np.zeros(0), 0, total)
        distances = Distances(view.embeddings())
        usable = int(distances.usable.sum())
        # Distance of each text to its nearest labelled row; -1 marks texts never to be chosen.
        labelled = view.labelled_embeddings()
        labelled = labelled[np.isfinite(labelled).all(axis=1)]
        nearest = distances.to_nearest(labelled)
        nearest[~distances.usable] = -1.0
        indices, scores = np.zeros(min(count, usable), dtype=np.int64), np.zeros(min(count, usable))
        # Greedy loop: take the farthest text, then shrink the distances of all others.
        for turn in range(len(indices)):
            # Without any centre all texts are equally far, so the first one is random.
            if turn == 0 and not len(labelled):
                index = int(np.flatnonzero(distances.usable)[rng.integers(usable)])
            else:
                index = int(nearest.argmax())
            indices[turn], scores[turn] = index, nearest[index]
            np.fmin(nearest, distances.to_row(index), out=nearest)
            nearest[index] = -1.0
        if len(scores) and np.isinf(scores[0]):
            # The random first text has no distance; it counts as much as the second one.
            scores[0] = scores[1] if len(scores) > 1 else 0.0
        return with_rest(indices, np.sqrt(scores), count, total)


class Badge:
    """Runs k-means++ over the head's gradients, taking the student's own predictions as labels.

    BADGE (Ash et al. 2020, algorithm 1). The gradient embedding of a text is the outer product of p
    - onehot(argmax p) and its embedding h, C times D numbers; distances are computed from the two
    factors, so it is never formed. As in the authors' code, the first text has the longest
    gradient. Each further text is drawn with probability proportional to its squared distance to
    the nearest chosen one. This distance is also the score (for the first text, its squared
    length), so scores may increase. If all distances are 0, the earliest text is taken.
    """

    stage: Literal["acquire"] = "acquire"

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """Chooses ``n`` texts, in the order drawn; labelled rows play no part.

        Args:
            view: The unlabelled texts as the student sees them.
            n: Number of texts to choose.
            rng: Source of the k-means++ draws.
        """
        total = len(view.texts)
        count = wanted(n, total)
        if not count:
            return with_rest(np.zeros(0, dtype=np.int64), np.zeros(0), 0, total)
        distances = Distances(errors_of(view.probabilities()), view.embeddings())
        # Until the first choice, the squared length of a gradient stands in for its distance.
        free = distances.usable.copy()
        nearest = np.where(free, distances.norms, 0.0)
        indices, scores = (
            np.zeros(min(count, int(free.sum())), dtype=np.int64),
            np.zeros(min(count, int(free.sum()))),
        )
        for turn in range(len(indices)):
            # The longest gradient first, then draws proportional to squared distance.
            if turn == 0:
                index = int(np.where(free, nearest, -1.0).argmax())
            else:
                index = _draw_weighted(nearest, free, rng)
            indices[turn], scores[turn] = index, nearest[index]
            # The lengths of the first turn are replaced, not shrunk: they are no distances.
            new = distances.to_row(index)
            nearest = np.where(free, new if turn == 0 else np.fmin(nearest, new), 0.0)
            free[index] = False
            nearest[index] = 0.0
        return with_rest(indices, scores, count, total)


def errors_of(probabilities: NDArray[Any]) -> NDArray[Any]:
    """Error of the head if its prediction were the label: p - onehot(argmax p).

    Args:
        probabilities: Student distributions, [N, C]; the first of tied classes is the prediction.

    Returns:
        Array of shape [N, C].
    """
    errors: NDArray[Any] = np.array(probabilities)
    if errors.size:
        errors[np.arange(len(errors)), errors.argmax(axis=1)] -= 1
    return errors


def _draw_weighted(
    weights: NDArray[np.float64], free: NDArray[np.bool_], rng: np.random.Generator
) -> int:
    """Draws a free index in proportion to its weight; the first free one if all weights are 0."""
    sums = weights.cumsum()
    point = rng.random() * sums[-1]
    if not sums[-1] > 0:
        return int(free.argmax())
    index = int(sums.searchsorted(point, side="right"))
    # Rounding may put the point at the very end: then take the last index with any weight.
    return index if index < len(weights) else int(np.flatnonzero(weights)[-1])


class Mixed:
    """Takes uncertain texts that differ from one another.

    Clusters the ``beta * n`` least certain texts, weighted by their uncertainty, and takes the text
    nearest to each centre (Zhdanov 2019, "Diverse mini-batch Active Learning", algorithm 1, with
    weighted k-means). The score is the uncertainty, least certain first.

    Args:
        beta: Candidates per wanted text; at least 1, which is plain uncertainty sampling.
        kind: Uncertainty measure: "entropy", "margin" or "least_confidence".

    Raises:
        ConfigError: ``beta`` is below 1, or ``kind`` is unknown.
    """

    stage: Literal["acquire"] = "acquire"

    def __init__(self, beta: int = 10, kind: Uncertainty = "margin") -> None:
        if beta < 1:
            raise ConfigError(
                f"acquire.beta={beta} leaves fewer candidates than wanted texts; give 1 or more."
            )
        self._beta = beta
        self._kind = checked_kind(kind)

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """Chooses ``n`` texts, least certain first; labelled rows play no part.

        Args:
            view: The unlabelled texts as the student sees them.
            n: Number of texts to choose.
            rng: Source of the clustering's random draws.
        """
        total = len(view.texts)
        count = wanted(n, total)
        embeddings = view.embeddings()
        uncertainty = view.uncertainty(self._kind).astype(np.float64)
        # A text without a finite embedding cannot be clustered, so it ranks last.
        uncertainty[~Distances(embeddings).usable] = np.nan
        usable = int(np.isfinite(uncertainty).sum())
        # Only finite scores may become candidates; the rest fills up at the end.
        candidates = best_first(uncertainty, min(self._beta * count, usable)).indices
        # One text per weighted cluster of the candidates.
        near, _ = representatives(
            embeddings[candidates], min(count, usable), rng, weights=uncertainty[candidates]
        )
        # Candidates are sorted by falling uncertainty; sorting their indices restores the order.
        indices = candidates[np.sort(near)]
        return with_rest(indices, uncertainty[indices], count, total)
