"""Rows that stand for all rows: the nearest one to each centre of a mini-batch k-means."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.selectors.protocol import Floats, Places

_BATCH = 1024
_STEPS = 500
"""Of a batch each, about: mini-batch k-means settles within some hundreds (Sculley 2010)."""
_SAMPLE = 100_000
"""Rows that centres are learnt from where there are more; the rows that stand for them are looked for among all."""
_FLOOR = 1e-6
"""Of the largest weight: what a weight counts at least, so that no centre is left without a row."""


def representatives(
    embeddings: NDArray[Any], n: int, chance: np.random.Generator, weights: NDArray[Any] | None = None
) -> tuple[Places, Floats]:
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
        rows = np.sort(chance.choice(len(embeddings), size=most, replace=False))
        learnt, weights = embeddings[rows], None if weights is None else weights[rows]
    clustering = MiniBatchKMeans(
        n_clusters=n,
        batch_size=size,
        max_iter=min(100, max(1, _STEPS * size // len(learnt))),
        n_init=1,
        compute_labels=False,
        random_state=int(chance.integers(2**31 - 1)),
    ).fit(learnt, sample_weight=weights)
    return _different(embeddings, np.asarray(clustering.cluster_centers_))


def _different(embeddings: NDArray[Any], centres: NDArray[Any]) -> tuple[Places, Floats]:
    """The nearest row to each centre; where two centres have the same one, the second takes its nearest that is free."""
    from sklearn.metrics import pairwise_distances, pairwise_distances_argmin_min

    nearest, distances = pairwise_distances_argmin_min(centres, embeddings)
    places, found = nearest.astype(np.int64), distances.astype(np.float64)
    first = np.unique(places, return_index=True)[1]
    taken = np.zeros(len(embeddings), dtype=bool)
    taken[places[first]] = True
    for centre in np.setdiff1d(np.arange(len(centres)), first):
        own = np.where(taken, np.inf, pairwise_distances(centres[centre : centre + 1], embeddings)[0])
        places[centre] = int(own.argmin())
        found[centre] = own[places[centre]]
        taken[places[centre]] = True
    return places, found
