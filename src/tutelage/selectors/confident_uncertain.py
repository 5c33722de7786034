"""Learn from what the teacher is sure of and the student is not, by a fixed share.

LLKD multiplies the two in its weights and gates them by moving thresholds (Li et al. 2025, arXiv 2411.08028, reconstructed). Here the
product ranks the rows once an epoch and a fixed share is kept. With ``combine="product"`` and ``normaliser="kept"`` kept rows weigh what they
would in LLKD: the ablation "fixed top share instead of dynamic thresholds".
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from tutelage.errors import ConfigError, did_you_mean
from tutelage.selectors.confidence import TeacherConfidence
from tutelage.selectors.protocol import EpochView, Floats, Normaliser, Step, Weighed
from tutelage.selectors.ranked import Ranked
from tutelage.selectors.uncertainty import row_uncertainty, uncertainty_of


class ConfidentUncertain(Ranked):
    """Ranks an epoch's rows by c * u and keeps the first ones.

    c is the teacher's confidence; u is the entropy of the student's distribution divided by log C, in [0, 1]. For NER the ranking takes the
    word that the student is least certain of, the weight the mean over the words, as LLKD does.

    Args:
        share: of the rows that is kept, in (0, 1].
        per_class: the share of each class that the teacher predicted; False: of all rows.
        confidence: for NER the "mean" over a row's entities, or that of the "least" certain one.
        refill: gather kept rows until a batch is full.
        combine: weight of a kept row: "none" (1), or "product": c * u of the student as it stands at the step; 0 where that is not a number.
            Gold rows weigh 1.
        normaliser: what the weighted losses are divided by: "kept" rows, "weights", or "batch".

    Raises:
        ConfigError: ``share`` is outside (0, 1], or another value is unknown.
    """

    def __init__(
        self,
        share: float = 0.5,
        per_class: bool = True,
        confidence: Literal["mean", "least"] = "mean",
        refill: bool = False,
        combine: Literal["none", "product"] = "none",
        normaliser: Normaliser = "weights",
    ) -> None:
        super().__init__(share, per_class, refill)
        self._confidence = TeacherConfidence(confidence)
        for name, value, known in (
            ("combine", combine, ("none", "product")),
            ("normaliser", normaliser, ("kept", "weights", "batch")),
        ):
            if value not in known:
                raise ConfigError(did_you_mean(f"selector.{name}", value, known))
        self.watches = combine == "product"
        self.normaliser = normaliser

    def scores(self, view: EpochView) -> Floats:
        """Confidence times uncertainty, [M]."""
        product: Floats = self._confidence.of(view) * uncertainty_of(view.probabilities, "entropy")
        return product

    def weigh(self, step: Step) -> Weighed:
        """1 for gold rows, 1 or c * u for the others that are kept, 0 for the rest, [B].

        Raises:
            RuntimeError: ``begin`` was not called before.
        """
        weighed = super().weigh(step)
        if not self.watches:
            return weighed
        product = np.nan_to_num(self._confidence.of(step) * row_uncertainty(step, "entropy"), nan=0.0)
        return Weighed(weighed.weights * np.where(step.gold, 1.0, product), weighed.report, weighed.scores)
