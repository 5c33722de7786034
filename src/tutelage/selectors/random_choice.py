"""Random texts: what every other acquisition has to beat."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tutelage.selectors.protocol import Acquired, PoolView
from tutelage.selectors.ranking import wanted


class RandomChoice:
    """Every text is as likely as any other; the student is not asked. All scores are 0."""

    stage: Literal["acquire"] = "acquire"

    def query(self, view: PoolView, n: int, chance: np.random.Generator) -> Acquired:
        """``n`` texts in random order; see :class:`~tutelage.selectors.protocol.Acquirer`."""
        total = len(view.texts)
        count = wanted(n, total)
        places = chance.choice(total, size=count, replace=False) if count else np.zeros(0)
        return Acquired(places.astype(np.int64), np.zeros(count))
