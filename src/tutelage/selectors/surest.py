"""Learn from what the teacher is surest of: selection by confidence in its plainest form.

A fixed share on the teacher's side of LLKD alone (Li et al. 2025, arXiv 2411.08028, reconstructed), without its student's gate and its
weights; :mod:`tutelage.selectors.confident_uncertain` has both sides, and is LLKD's ablation.
"""

from __future__ import annotations

from typing import Literal

from tutelage.selectors.confidence import TeacherConfidence
from tutelage.selectors.protocol import EpochView, Floats
from tutelage.selectors.ranked import Ranked


class Surest(Ranked):
    """Ranks an epoch's rows by the teacher's confidence and keeps the first ones. It needs no pass of the student.

    Args:
        share: of the rows that is kept, in (0, 1].
        per_class: the share of each class that the teacher predicted; False: of all rows, which may starve a class.
        confidence: for NER the "mean" over a row's entities, or that of the "least" certain one.
        refill: gather kept rows until a batch is full.

    Raises:
        ConfigError: ``share`` is outside (0, 1], or ``confidence`` is unknown.
    """

    needs: frozenset[str] = frozenset({"rows"})

    def __init__(
        self, share: float = 0.5, per_class: bool = True, confidence: Literal["mean", "least"] = "mean", refill: bool = False
    ) -> None:
        super().__init__(share, per_class, refill)
        self._confidence = TeacherConfidence(confidence)

    def scores(self, view: EpochView) -> Floats:
        """The teacher's confidence, [M]."""
        return self._confidence.of(view)
