"""ConfidentLearning: keeps the rows whose labels the other rows confirm."""

from __future__ import annotations

from tutelage.selectors.per_epoch import Ranked
from tutelage.selectors.protocol import EpochView, Floats


class ConfidentLearning(Ranked):
    """Keeps the rows with the highest held-out probability of their label.

    Confident learning (Northcutt et al. 2021, arXiv 1911.00068) prunes by "self-confidence": the
    probability that a cross-validated classifier gives to a row's own label. The teacher's
    confidence plays no part, so its confident mistakes go too, where the other rows contradict
    them. :class:`tutelage.student.held_out.HeldOut` computes the scores, for NER of a row's least
    probable word. The paper also estimates how many labels of each class are wrong; here ``share``
    says how many rows stay.

    Args:
        share: Share of the rows to keep, in (0, 1].
        per_class: Apply the share to each class, as labelled by the teacher. False applies it to
            all rows together, which starves rare classes.
        refill: Gather kept rows until a batch is full, so that each step learns from as many rows
            as with any other selector.

    Raises:
        ConfigError: ``share`` is outside (0, 1].
    """

    needs: frozenset[str] = frozenset({"rows", "held_out"})

    def scores(self, view: EpochView) -> Floats:
        """Held-out probability of each row's label, [M].

        Raises:
            ValueError: The view has no held-out probabilities.
        """
        if view.held_out is None:
            raise ValueError("ConfidentLearning was given a view without held-out probabilities.")
        return view.held_out
