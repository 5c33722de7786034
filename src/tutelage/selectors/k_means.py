"""Texts that stand for the pool: one for each cluster of the student's embeddings."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tutelage.selectors.distances import Distances
from tutelage.selectors.protocol import Acquired, PoolView
from tutelage.selectors.ranking import wanted, with_rest
from tutelage.selectors.representatives import representatives


class KMeansSampling:
    """Clusters the pool into ``n`` clusters and takes the text nearest to each centre, the most typical one first.

    The diversity arm of LLMaAA (Zhang et al. 2023, section 3.3) and of Yuan et al. 2020 ("BERT-KM"), with mini-batches so that a
    million texts stay affordable. The score is minus the text's distance to its centre.
    """

    stage: Literal["acquire"] = "acquire"

    def query(self, view: PoolView, n: int, chance: np.random.Generator) -> Acquired:
        """``n`` texts, one a cluster; see :class:`~tutelage.selectors.protocol.Acquirer`. Labelled rows play no part."""
        total = len(view.texts)
        count = wanted(n, total)
        embeddings = view.embeddings()
        usable = np.flatnonzero(Distances(embeddings).usable)
        # Taking rows makes a copy, of which the common case is spared.
        rows = embeddings if len(usable) == total else embeddings[usable]
        places, distances = representatives(rows, min(count, len(usable)), chance)
        order = np.lexsort((places, distances))
        return with_rest(usable[places[order]], -distances[order], count, total)
