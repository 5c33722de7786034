"""Confirmed: keeps the rows whose labels a second judge gives too, one that asks no teacher."""

from __future__ import annotations

import numpy as np

from tutelage.errors import ConfigError
from tutelage.selectors.measures import Confidence, TeacherConfidence
from tutelage.selectors.per_epoch import Chosen, OncePerEpoch
from tutelage.selectors.protocol import EpochView


class Confirmed(OncePerEpoch):
    """Keeps the rows that a classifier of the gold rows and class names labels like the teacher.

    Two judges that err apart are more often right where they agree: the idea behind co-training
    (Blum and Mitchell 1998). Here the second judge is a regression on the untrained encoder's
    features, fitted to the gold rows and the class names alone
    (:meth:`tutelage.student.held_out.HeldOut.confirmed`). It costs no token, and no label of the
    teacher has touched it. A row of which the teacher is sure stays in any case, so that the
    student can learn what the second judge gets wrong. The rule and its threshold are ours.

    Args:
        min_confidence: Teacher's confidence from which a row stays without being confirmed, in
            [0, 1]; 1 keeps confirmed rows alone, since confidences stay below it.
        confidence: The teacher's confidence in a text. For NER, "mean" over its entities, or
            "least" for its least certain entity; the same number for classification. With
            labelling=ensemble, "agreement" of its members.
        refill: Gather kept rows until a batch is full, so that each step learns from as many rows
            as with any other selector.

    Raises:
        ConfigError: ``min_confidence`` is outside [0, 1], or ``confidence`` is unknown.
    """

    needs: frozenset[str] = frozenset({"rows", "confirmed"})

    def __init__(
        self, min_confidence: float = 0.8, confidence: Confidence = "mean", refill: bool = False
    ) -> None:
        super().__init__(refill)
        if not 0.0 <= min_confidence <= 1.0:
            raise ConfigError(f"select.min_confidence={min_confidence} must be in [0, 1].")
        self._minimum = min_confidence
        self._confidence = TeacherConfidence(confidence)

    def choose(self, view: EpochView) -> Chosen:
        """Keeps confirmed and sure rows; the score of a row is the teacher's confidence.

        Raises:
            ValueError: The view does not say which rows are confirmed, or has no gold row and no
                class name to fit the second judge to; :mod:`tutelage.config.build_fit`
                refuses such runs.
        """
        if view.confirmed is None or not view.gold.any():
            raise ValueError("Confirmed was given a view without confirmed or without gold rows.")
        confidence = self._confidence.of(view)
        sure = np.nan_to_num(confidence, nan=0.0) >= self._minimum
        if self._minimum == 1.0:
            sure[:] = False
        return Chosen(sure | view.confirmed, confidence)
