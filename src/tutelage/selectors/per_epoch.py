"""Base classes of train selectors that choose the rows of an epoch once, when the epoch begins.

:class:`OncePerEpoch` keeps the rows that :meth:`OncePerEpoch.choose` names; :class:`Ranked` names
the first share of a ranking. The selectors themselves are in
:mod:`tutelage.selectors.row_selection`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError
from tutelage.selectors.protocol import EpochView, Floats, Normaliser, Step, Weighed


class Chosen(NamedTuple):
    """A selector's choice among the M rows of an epoch.

    Attributes:
        kept: True for the rows to keep, [M].
        scores: Score each row was chosen by, [M]; NaN for rows without one.
    """

    kept: NDArray[np.bool_]
    scores: Floats


class OncePerEpoch(ABC):
    """Base class: keeps the rows named by :meth:`choose` for a whole epoch, with weight 1.

    All other rows have weight 0, except gold rows: these are always kept, whatever :meth:`choose`
    returns for them. A row ``begin`` has not seen has weight 0 unless it is gold; rows only arrive
    between epochs, so there should be none. No state is checkpointed, since checkpoints lie between
    epochs and ``begin`` runs again after a resume.

    Args:
        refill: Gather kept rows until a batch is full, so that each step learns from as many rows
            as with any other selector.
    """

    stage: Literal["train"] = "train"
    needs: frozenset[str] = frozenset({"epoch"})
    normaliser: Normaliser = "weights"
    watches = False

    def __init__(self, refill: bool = False) -> None:
        self.refill = refill
        self._chosen: dict[str, tuple[bool, float]] | None = None

    @abstractmethod
    def choose(self, view: EpochView) -> Chosen:
        """Chooses among the M rows of an epoch.

        Args:
            view: The rows; gold rows are included, but the choice does not affect them.

        Returns:
            The kept rows and the scores they were chosen by.
        """

    def begin(self, view: EpochView) -> None:
        """Chooses the rows of the coming epoch.

        Args:
            view: The rows of the epoch, with the contents listed in ``needs``.

        Raises:
            ConfigError: The epoch lacks the rows this selector compares with.
        """
        kept, scores = self.choose(view)
        self._chosen = dict(
            zip(view.ids, zip(kept.tolist(), scores.tolist(), strict=True), strict=True)
        )

    def leaves_out(self, id: str) -> bool:
        """Whether the coming epoch leaves out this row; False for a row it has not seen."""
        return not (self._chosen or {}).get(id, (True, np.nan))[0]

    def weigh(self, step: Step) -> Weighed:
        """Weights a batch: 1 for kept and gold rows, 0 for all others.

        Args:
            step: The batch.

        Raises:
            RuntimeError: ``begin`` was not called before.
        """
        if self._chosen is None:
            raise RuntimeError(
                f"{type(self).__name__}.weigh was called before begin, so no rows are chosen yet."
            )
        # [B, 2] pairs of (kept, score), taken apart into two arrays.
        kept, scores = (
            np.array([self._chosen.get(id, (False, np.nan)) for id in step.ids], dtype=np.float64)
            .reshape(-1, 2)
            .T
        )
        weights = np.maximum(kept, step.gold)
        return Weighed(weights, {"kept": int(weights.sum()), "of": len(weights)}, scores)

    def state_dict(self) -> dict[str, Any]:
        """Empty: every epoch chooses again."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Discards the current choice."""
        self._chosen = None


NEVER = -math.inf
"""Score of a row to leave out whatever the share."""


def first_of(rows: int, share: float) -> int:
    """Number of rows a share keeps: ceil(share * rows)."""
    # Rounding first: 0.07 * 100 is slightly above 7.
    return math.ceil(round(rows * share, 9))


def check_surest(surest: float, share: float) -> None:
    """Refuses a part to choose from that is smaller than the part to keep, or above 1.

    Raises:
        ConfigError: It is.
    """
    if not share <= surest <= 1.0:
        raise ConfigError(
            f"select.surest={surest} must be at least select.share={share} and at most 1: the rows "
            "to keep are chosen among the surest ones."
        )


class Ranked(OncePerEpoch):
    """Base class: keeps the first ceil(share * m) of m rows, ranked by :meth:`scores`.

    m counts the rows without a gold label, so gold rows use up nothing of the share. Ties go to the
    earlier row, and NaN ranks last. Rows scored ``NEVER`` count in m but are not kept.

    Args:
        share: Share of the rows to keep, in (0, 1].
        per_class: Apply the share to each class, as labelled by the teacher, instead of all rows
            together. m is then the size of the class, and every class with any rows keeps at least
            one.
        refill: Gather kept rows until a batch is full, so that each step learns from as many rows
            as with any other selector.

    Raises:
        ConfigError: ``share`` is outside (0, 1].
    """

    def __init__(self, share: float = 0.5, per_class: bool = True, refill: bool = False) -> None:
        if not 0.0 < share <= 1.0:
            raise ConfigError(f"select.share={share} must be above 0 and at most 1.")
        super().__init__(refill)
        self._share = share
        self._per_class = per_class

    @abstractmethod
    def scores(self, view: EpochView) -> Floats:
        """Score of each row, [M]; higher is more wanted."""

    def choose(self, view: EpochView) -> Chosen:
        """Keeps the highest-ranking rows of each class, or of all; gold rows are not ranked."""
        scores = self.scores(view)
        return Chosen(self.first(view, scores, self._share), scores)

    def first(self, view: EpochView, scores: Floats, share: float) -> NDArray[np.bool_]:
        """Which rows are the first ``share`` of their class, or of all; [M]."""
        kept = np.zeros(len(scores), dtype=np.bool_)
        judged = np.flatnonzero(~view.gold)
        # One ranking per class, or a single one over all judged rows.
        groups = (
            [judged[view.groups[judged] == key] for key in np.unique(view.groups[judged])]
            if self._per_class
            else [judged]
        )
        for group in groups:
            # Rows scored NEVER still count in the size of the group.
            wanted = group[scores[group] != NEVER]
            # A stable sort keeps ties in row order, and NumPy puts NaN last.
            kept[
                wanted[np.argsort(-scores[wanted], kind="stable")][: first_of(len(group), share)]
            ] = True
        return kept
