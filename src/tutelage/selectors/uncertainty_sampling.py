"""FOLD: selectors.uncertainty_sampling."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tutelage.errors import ConfigError
from tutelage.selectors.measures import checked_kind
from tutelage.selectors.protocol import Acquired, PoolView, Uncertainty
from tutelage.selectors.ranking import best_first, in_order, wanted


# FOLD: Random texts: what every other acquisition has to beat.
class RandomChoice:
    """Every text is as likely as any other; the student is not asked. All scores are 0."""

    stage: Literal["acquire"] = "acquire"

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """``n`` texts in random order; see :class:`~tutelage.selectors.protocol.Acquirer`."""
        total = len(view.texts)
        count = wanted(n, total)
        indices = rng.choice(total, size=count, replace=False) if count else np.zeros(0)
        return Acquired(indices.astype(np.int64), np.zeros(count))


# FOLD: The texts that the student is least sure of.
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

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """The ``n`` least certain texts, the least certain first; see :class:`~tutelage.selectors.protocol.Acquirer`."""
        return best_first(view.uncertainty(self._kind), n)


# FOLD: The texts on which the student contradicts itself.
class DropoutDisagreement:
    """Chooses the texts whose prediction depends most on which weights dropout leaves out.

    BALD (Houlsby et al. 2011) over dropout masks (Gal, Islam and Ghahramani 2017, section 4): high where each pass is sure and the passes
    contradict one another, low where all are unsure alike. ELAD's choice of samples (Zhang et al. 2024) for encoders. The score is the
    mutual information in nats. Costs ``passes`` forward passes over the pool.

    Args:
        passes: over each text; at least 2.

    Raises:
        ConfigError: there are fewer.
    """

    stage: Literal["acquire"] = "acquire"

    def __init__(self, passes: int = 10) -> None:
        if passes < 2:
            raise ConfigError(f"selector.passes={passes} passes cannot disagree; give 2 or more.")
        self._passes = passes

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """The ``n`` texts of most disagreement, in falling order; see :class:`~tutelage.selectors.protocol.Acquirer`."""
        count = wanted(n, len(view.texts))
        return best_first(view.disagreement(self._passes), count)


# FOLD: Texts met in random order, each accepted as likely as the student is unsure of it.
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

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """``n`` texts in the order of their acceptance; see :class:`~tutelage.selectors.protocol.Acquirer`."""
        count = wanted(n, len(view.texts))
        uncertainty = view.uncertainty(self._kind).astype(np.float64)
        met = rng.permutation(len(uncertainty)).astype(np.float64)
        draws = 1.0 - rng.random(len(uncertainty))
        known = np.isfinite(uncertainty)
        with np.errstate(divide="ignore", invalid="ignore"):
            rejections = np.floor(np.log(draws) / np.log1p(-np.clip(uncertainty, 0.0, 1.0)))
        rejections[uncertainty >= 1.0] = 0.0
        rejections[uncertainty <= 0.0] = np.inf
        met[~known] = np.arange(len(met))[~known]
        order = np.lexsort((met, rejections, ~known))[:count]
        return in_order(order, uncertainty[order])
