"""FreeAL's small-loss filter: rows that the student fits early are likely labelled right (Xiao et al. 2023, arXiv 2311.15614).

In each class a mixture of two Gaussians is fitted to the losses; the component with the lower mean holds the clean rows. The paper gives
the mixture by class and the threshold 0.7; the fallbacks below are ours.
"""

from __future__ import annotations

import warnings

import numpy as np

from tutelage.errors import ConfigError
from tutelage.selectors.once_an_epoch import Chosen, OnceAnEpoch
from tutelage.selectors.protocol import EpochView, Floats

_SPREAD = 5e-4
"""Added to the variance of each component, on losses in [0, 1], so that none collapses onto one row."""


class SmallLoss(OnceAnEpoch):
    """Keeps the rows whose probability of belonging to the low-loss component reaches ``threshold``.

    Losses are scaled to [0, 1] in each class. Outside the two means a loss counts as the nearer mean's: a wide component would otherwise
    claim the other one's far end, and the largest losses of all could pass as clean. All rows of a class are kept where it has fewer than
    ``min_rows``, where its losses are all the same, and where the mixture finds nothing clean (it has not told two groups apart). A row
    whose loss is not a finite number has no part in this and is left out. Gold rows take no part either.

    Args:
        threshold: of the probability, in (0, 1].
        per_class: fit a mixture for each class as the teacher labelled; False: one for all rows.
        min_rows: fewest rows that a mixture is fitted to; at least 2.
        refill: gather kept rows until a batch is full.

    Raises:
        ConfigError: a number is outside its range.
    """

    def __init__(self, threshold: float = 0.7, per_class: bool = True, min_rows: int = 8, refill: bool = False) -> None:
        if not 0.0 < threshold <= 1.0:
            raise ConfigError(f"selector.threshold={threshold} must be above 0 and at most 1.")
        if min_rows < 2:
            raise ConfigError(f"selector.min_rows={min_rows} is too few for a mixture of two; give 2 or more.")
        super().__init__(refill)
        self._threshold = threshold
        self._per_class = per_class
        self._min_rows = min_rows

    def choose(self, view: EpochView) -> Chosen:
        """The rows that look clean, by the probability of it; gold rows are not judged, nor is a class that no mixture is fitted to."""
        kept, scores = np.zeros(len(view.losses), dtype=np.bool_), np.full(len(view.losses), np.nan)
        judged = np.flatnonzero(~view.gold & np.isfinite(view.losses))
        groups = [judged[view.keys[judged] == key] for key in np.unique(view.keys[judged])] if self._per_class else [judged]
        for group in groups:
            losses = view.losses[group]
            if len(losses) < self._min_rows or losses.min() == losses.max():
                kept[group] = True
                continue
            scores[group] = low_probability((losses - losses.min()) / (losses.max() - losses.min()))
            clean = scores[group] >= self._threshold
            kept[group] = clean if clean.any() else True
        return Chosen(kept, scores)


def low_probability(losses: Floats) -> Floats:
    """Probability that each loss belongs to the lower of two Gaussians fitted to all of them, [M] → [M]; it never grows with the loss.

    Args:
        losses: in [0, 1], at least two different ones.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(n_components=2, reg_covar=_SPREAD, random_state=0)
    with warnings.catch_warnings():
        # A fit that stops early is still a fit; the groups are told apart long before the last digits.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(losses[:, None])
    means = mixture.means_[:, 0]
    # Between the means the odds fall steadily; beyond them they need not.
    between = np.clip(losses, means.min(), means.max())
    probability: Floats = mixture.predict_proba(between[:, None])[:, int(means.argmin())]
    return probability
