"""Uncertain texts that differ from one another."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tutelage.errors import ConfigError
from tutelage.selectors.distances import Distances
from tutelage.selectors.protocol import Acquired, PoolView, Uncertainty
from tutelage.selectors.ranking import best_first, wanted, with_rest
from tutelage.selectors.representatives import representatives
from tutelage.selectors.uncertainty import checked_kind


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
            raise ConfigError(f"selector.beta={beta} leaves fewer candidates than wanted texts; give 1 or more.")
        self._beta = beta
        self._kind = checked_kind(kind)

    def query(self, view: PoolView, n: int, chance: np.random.Generator) -> Acquired:
        """``n`` texts; see :class:`~tutelage.selectors.protocol.Acquirer`. Labelled rows play no part."""
        total = len(view.texts)
        count = wanted(n, total)
        embeddings = view.embeddings()
        uncertainty = view.uncertainty(self._kind).astype(np.float64)
        uncertainty[~Distances(embeddings).usable] = np.nan
        usable = int(np.isfinite(uncertainty).sum())
        candidates = best_first(uncertainty, min(self._beta * count, usable)).places
        near, _ = representatives(embeddings[candidates], min(count, usable), chance, weights=uncertainty[candidates])
        # Candidates stand in falling order of uncertainty, so their own order is the order wanted.
        places = candidates[np.sort(near)]
        return with_rest(places, uncertainty[places], count, total)
