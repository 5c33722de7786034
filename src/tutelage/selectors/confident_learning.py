"""ConfidentLearning: keeps the rows whose labels the other rows confirm."""

from __future__ import annotations

import numpy as np

from tutelage.selectors.measures import Confidence, TeacherConfidence
from tutelage.selectors.per_epoch import NEVER, Ranked, check_surest
from tutelage.selectors.protocol import EpochView, Floats


class ConfidentLearning(Ranked):
    """Keeps, among the rows the teacher is surest of, those whose labels the other rows confirm.

    Confident learning (Northcutt et al. 2021, arXiv 1911.00068) prunes by "self-confidence": the
    probability that a cross-validated classifier gives to a row's own label. So the teacher's
    confident mistakes go, where the other rows contradict them.
    :class:`tutelage.student.held_out.HeldOut` computes it, for NER of a row's least probable word.
    The paper also estimates how many labels of each class are wrong; here ``share`` says how many
    rows stay. Asking for the teacher's confidence too (``surest``) is ours.

    Args:
        share: Share of the rows to keep, in (0, 1].
        surest: Share of the rows to choose from, those with the highest teacher confidence; at
            least ``share``. With 1 the teacher's confidence plays no part.
        per_class: Apply both shares to each class, as labelled by the teacher. False applies them
            to all rows together, which starves rare classes.
        confidence: The teacher's confidence in a text. For NER, "mean" over its entities, or
            "least" for its least certain entity; the same number for classification. With
            labelling=ensemble, "agreement" of its members.
        refill: Gather kept rows until a batch is full, so that each step learns from as many rows
            as with any other selector.

    Raises:
        ConfigError: A share is out of its range, or ``confidence`` is unknown.
    """

    needs: frozenset[str] = frozenset({"rows", "held_out"})

    def __init__(
        self,
        share: float = 0.25,
        surest: float = 0.5,
        per_class: bool = True,
        confidence: Confidence = "mean",
        refill: bool = False,
    ) -> None:
        super().__init__(share, per_class, refill)
        check_surest(surest, share)
        self._surest = surest
        self._confidence = TeacherConfidence(confidence)

    def scores(self, view: EpochView) -> Floats:
        """Held-out probability of each row's label, [M]; ``NEVER`` outside the surest part.

        Raises:
            ValueError: The view has no held-out probabilities.
        """
        if view.held_out is None:
            raise ValueError("ConfidentLearning was given a view without held-out probabilities.")
        sure = self.first(view, self._confidence.of(view), self._surest)
        return np.where(sure, view.held_out, NEVER)
