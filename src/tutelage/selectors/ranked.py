"""Keep the best share of an epoch's rows by a score: the rule stands here once, and the selectors differ in the score."""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np

from tutelage.errors import ConfigError
from tutelage.selectors.once_an_epoch import Chosen, OnceAnEpoch
from tutelage.selectors.protocol import EpochView, Floats

NEVER = -math.inf
"""The score of a row that is left out whatever the share."""


def first_of(rows: int, share: float) -> int:
    """How many of ``rows`` a share keeps: ceil(share * rows)."""
    # Rounded first: 0.07 * 100 is a little more than 7.
    return math.ceil(round(rows * share, 9))


class Ranked(OnceAnEpoch):
    """Keeps the first ceil(share * m) rows by :meth:`scores`, where m counts the rows without a gold label.

    Equal scores are ranked by place, and a score that is not a number comes last. Rows scored ``NEVER`` count in m and are not kept. Gold
    rows use up nothing of the share.

    Args:
        share: of the rows that is kept, in (0, 1].
        per_class: take the share of each class (as the teacher labelled) and not of all rows together. Then m is the class's, and a class
            with any rows keeps at least one.
        refill: as in :class:`~tutelage.selectors.once_an_epoch.OnceAnEpoch`.

    Raises:
        ConfigError: ``share`` is outside (0, 1].
    """

    def __init__(self, share: float = 0.5, per_class: bool = True, refill: bool = False) -> None:
        if not 0.0 < share <= 1.0:
            raise ConfigError(f"selector.share={share} must be above 0 and at most 1.")
        super().__init__(refill)
        self._share = share
        self._per_class = per_class

    @abstractmethod
    def scores(self, view: EpochView) -> Floats:
        """One for each row, [M]; the higher the more wanted."""

    def choose(self, view: EpochView) -> Chosen:
        """The rows that rank high enough; gold rows are not ranked."""
        scores = self.scores(view)
        kept = np.zeros(len(scores), dtype=np.bool_)
        judged = np.flatnonzero(~view.gold)
        groups = [judged[view.keys[judged] == key] for key in np.unique(view.keys[judged])] if self._per_class else [judged]
        for group in groups:
            wanted = group[scores[group] != NEVER]
            # A stable sort ranks equals by place, and NumPy puts what is not a number last.
            kept[wanted[np.argsort(-scores[wanted], kind="stable")][: first_of(len(group), self._share)]] = True
        return Chosen(kept, scores)
