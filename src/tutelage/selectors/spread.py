"""Spread: typical rows among those the teacher is most confident about."""

from __future__ import annotations

import numpy as np

from tutelage.errors import ConfigError
from tutelage.selectors.distances import Distances
from tutelage.selectors.diversity import representatives
from tutelage.selectors.measures import Confidence, TeacherConfidence
from tutelage.selectors.per_epoch import Chosen, OncePerEpoch, check_surest, first_of
from tutelage.selectors.protocol import EpochView

_CLUSTERING_SEED = 20251107
"""Seed of the clusterings of Spread, the same in every epoch and run."""


class Spread(OncePerEpoch):
    """Keeps typical rows among those the teacher is most confident about.

    Within the surest part of each class (by the teacher's labels), k-means clusters the student's
    embeddings, and the row nearest to each centre is kept. So the kept rows are as many as with
    :class:`Surest`, but cover the class instead of repeating its plainest texts. The clustering is
    the diversity strategy of Yuan et al. 2020 ("BERT-KM"), as in acquire=k_means; joining it with a
    teacher's confidence is ours.

    The embeddings are those of the student at the start of the epoch, so other rows of the surest
    part may be kept in the next one. Rows without a finite confidence or embedding come last.

    Args:
        share: Share of each class to keep, in (0, 1].
        surest: Share of each class to choose from, in (0, 1]; at least ``share``.
        confidence: The teacher's confidence in a text. For NER, "mean" over its entities, or
            "least" for its least certain entity; the same number for classification. With
            labelling=ensemble, "agreement" of its members.
        refill: Gather kept rows until a batch is full, so that each step learns from as many rows
            as with any other selector.

    Raises:
        ConfigError: A share is out of its range, or ``confidence`` is unknown.
    """

    needs: frozenset[str] = frozenset({"epoch", "embeddings"})

    def __init__(
        self,
        share: float = 0.25,
        surest: float = 0.5,
        confidence: Confidence = "mean",
        refill: bool = False,
    ) -> None:
        if not 0.0 < share <= 1.0:
            raise ConfigError(f"select.share={share} must be above 0 and at most 1.")
        check_surest(surest, share)
        super().__init__(refill)
        self._share, self._surest = share, surest
        self._confidence = TeacherConfidence(confidence)

    def choose(self, view: EpochView) -> Chosen:
        """Keeps one row per cluster of each class's surest rows; the score is the confidence.

        Raises:
            ValueError: The view has no embeddings.
        """
        if view.embeddings is None:
            raise ValueError("Spread was given a view without embeddings.")
        confidence = self._confidence.of(view)
        kept = np.zeros(len(confidence), dtype=np.bool_)
        for key in np.unique(view.groups):
            rows = np.flatnonzero(~view.gold & (view.groups == key))
            # A stable sort keeps ties in row order, and NumPy puts NaN last.
            ranked = rows[np.argsort(-confidence[rows], kind="stable")]
            sure = np.sort(ranked[: first_of(len(rows), self._surest)])
            usable = sure[Distances(view.embeddings[sure]).usable & np.isfinite(confidence[sure])]
            wanted = first_of(len(rows), self._share)
            near, _ = representatives(
                view.embeddings[usable],
                min(wanted, len(usable)),
                np.random.default_rng(_CLUSTERING_SEED),
            )
            kept[usable[near]] = True
            # Where too few rows can be clustered, the surest of the others fill up.
            kept[ranked[~kept[ranked]][: wanted - len(near)]] = True
        return Chosen(kept, confidence)
