"""Learn from what the teacher is sure of and the student is not, by a fixed share.

LLKD multiplies the two in its weights and gates them by moving thresholds (Li et al. 2025, arXiv 2411.08028, reconstructed). Here the
product ranks the rows once an epoch and a fixed share is kept: the ablation "fixed top share instead of dynamic thresholds".
"""

from __future__ import annotations

from typing import Literal

from tutelage.selectors.confidence import TeacherConfidence
from tutelage.selectors.protocol import EpochView, Floats
from tutelage.selectors.ranked import Ranked
from tutelage.selectors.uncertainty import uncertainty_of


class ConfidentUncertain(Ranked):
    """Ranks an epoch's rows by c * u and keeps the first ones.

    c is the teacher's confidence; u is the entropy of the student's distribution divided by log C, in [0, 1] (for NER of the word that the
    student is least certain of).

    Args:
        share: of the rows that is kept, in (0, 1].
        per_class: the share of each class that the teacher predicted; False: of all rows.
        confidence: for NER the "mean" over a row's entities, or that of the "least" certain one.
        refill: gather kept rows until a batch is full.

    Raises:
        ConfigError: ``share`` is outside (0, 1], or ``confidence`` is unknown.
    """

    def __init__(
        self, share: float = 0.5, per_class: bool = True, confidence: Literal["mean", "least"] = "mean", refill: bool = False
    ) -> None:
        super().__init__(share, per_class, refill)
        self._confidence = TeacherConfidence(confidence)

    def scores(self, view: EpochView) -> Floats:
        """Confidence times uncertainty, [M]."""
        product: Floats = self._confidence.of(view) * uncertainty_of(view.probabilities, "entropy")
        return product
