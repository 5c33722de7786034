"""Learn from rows whose text helps to find the answer, but little: after IFD (Li et al. 2023, arXiv 2308.12032).

IFD is the loss of an answer given its instruction, divided by its loss alone. Above 1 the instruction misleads, and the pair is dropped as
misaligned; of the others those with the highest score teach most. Here the answer is the row's target and the instruction its text.
"""

from __future__ import annotations

import numpy as np

from tutelage.selectors.protocol import EpochView, Floats
from tutelage.selectors.ranked import NEVER, Ranked


class AnswerDifficulty(Ranked):
    """Ranks an epoch's rows by loss / prior loss and keeps the highest ones below 1, so fewer than ``share`` where there are not enough.

    The prior loss is that of the target where the text is left empty.

    Args:
        share: of the rows, the dropped ones included, that is kept at most; in (0, 1].
        per_class: the share of each class as the teacher labelled; False: of all rows. The prior differs by class, and so do the ratios.
        refill: gather kept rows until a batch is full.

    Raises:
        ConfigError: ``share`` is outside (0, 1].
    """

    needs: frozenset[str] = frozenset({"epoch", "prior_losses"})

    def scores(self, view: EpochView) -> Floats:
        """The ratios, [M]; ``NEVER`` from 1 on, and not a number where both losses are 0.

        Raises:
            ValueError: the view has no prior losses.
        """
        if view.prior_losses is None:
            raise ValueError("AnswerDifficulty was given a view without prior losses.")
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = view.losses / view.prior_losses
        return np.where(ratios >= 1.0, NEVER, ratios)
