"""The texts that the student is least sure of."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tutelage.selectors.protocol import Acquired, PoolView, Uncertainty
from tutelage.selectors.ranking import best_first
from tutelage.selectors.uncertainty import checked_kind


class UncertaintySampling:
    """Chooses the texts of highest uncertainty; the score is the uncertainty, in [0, 1].

    Lewis and Gale 1994 (least confidence); Scheffer, Decomain and Wrobel 2001 (margin, "breaking ties"); entropy as in Settles 2009,
    section 2.1. Two of the arms of LLMaAA (Zhang et al. 2023, section 3.3).

    Args:
        kind: entropy, margin or least_confidence.

    Raises:
        ConfigError: it is none of these.
    """

    stage: Literal["acquire"] = "acquire"

    def __init__(self, kind: Uncertainty = "entropy") -> None:
        self._kind = checked_kind(kind)

    def query(self, view: PoolView, n: int, chance: np.random.Generator) -> Acquired:
        """The ``n`` least certain texts, the least certain first; see :class:`~tutelage.selectors.protocol.Acquirer`."""
        return best_first(view.uncertainty(self._kind), n)
