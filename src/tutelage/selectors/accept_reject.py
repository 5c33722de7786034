"""Texts met in random order, each accepted as likely as the student is unsure of it."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tutelage.selectors.protocol import Acquired, PoolView, Uncertainty
from tutelage.selectors.ranking import in_order, wanted
from tutelage.selectors.uncertainty import checked_kind


class AcceptReject:
    """Walks the texts in random order and accepts each with probability equal to its uncertainty, until ``n`` are accepted.

    M-RARU (arXiv 2511.11574; reconstructed from its summary). Where a walk accepts too few, the rest is walked again. The walks are not
    carried out: in how many a text is rejected before it is accepted has a geometric distribution, so one draw a text gives the walk, and
    the order of walks and places gives the choice, with the same probabilities. So certain texts cost no endless walks: those of
    uncertainty 0 come last, in random order, and after them those without a number, by place. The score is the uncertainty; scores need
    not fall.

    Args:
        kind: entropy (over log C), margin or least_confidence.

    Raises:
        ConfigError: it is none of these.
    """

    stage: Literal["acquire"] = "acquire"

    def __init__(self, kind: Uncertainty = "entropy") -> None:
        self._kind = checked_kind(kind)

    def query(self, view: PoolView, n: int, chance: np.random.Generator) -> Acquired:
        """``n`` texts in the order of their acceptance; see :class:`~tutelage.selectors.protocol.Acquirer`."""
        count = wanted(n, len(view.texts))
        uncertainty = view.uncertainty(self._kind).astype(np.float64)
        met = chance.permutation(len(uncertainty)).astype(np.float64)
        draws = 1.0 - chance.random(len(uncertainty))
        known = np.isfinite(uncertainty)
        with np.errstate(divide="ignore", invalid="ignore"):
            rejections = np.floor(np.log(draws) / np.log1p(-np.clip(uncertainty, 0.0, 1.0)))
        rejections[uncertainty >= 1.0] = 0.0
        rejections[uncertainty <= 0.0] = np.inf
        met[~known] = np.arange(len(met))[~known]
        order = np.lexsort((met, rejections, ~known))[:count]
        return in_order(order, uncertainty[order])
