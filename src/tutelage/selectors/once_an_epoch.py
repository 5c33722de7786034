"""What the train selectors share that choose rows once, when an epoch begins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.selectors.protocol import EpochView, Floats, Normaliser, Step, Weighed


class Chosen(NamedTuple):
    """What a selector makes of an epoch of M rows.

    Attributes:
        kept: True for the rows to keep, [M].
        scores: what they were chosen by, [M]; NaN for a row that was not judged.
    """

    kept: NDArray[np.bool_]
    scores: Floats


class OnceAnEpoch(ABC):
    """Keeps the rows that :meth:`choose` names for a whole epoch, with weight 1; the others have weight 0.

    Gold rows are always kept and never judged: :meth:`choose` sees them, but its word on them does not count. A row that ``begin`` did not
    see has weight 0 unless it is gold; rows come between epochs only, so there should be none. Nothing survives a checkpoint, since
    checkpoints lie between epochs and ``begin`` comes again.

    Args:
        refill: gather kept rows until a batch is full, so that a step learns from as many rows as any other arm's.
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
        """Which of the M rows to keep, and by what score."""

    def begin(self, view: EpochView) -> None:
        """Choose the rows of the epoch that begins.

        Raises:
            ConfigError: they lack what the selector compares them with.
        """
        kept, scores = self.choose(view)
        self._chosen = dict(zip(view.ids, zip(kept.tolist(), scores.tolist(), strict=True), strict=True))

    def weigh(self, step: Step) -> Weighed:
        """1 for kept and gold rows, 0 for the others, [B].

        Raises:
            RuntimeError: ``begin`` was not called before.
        """
        if self._chosen is None:
            raise RuntimeError(f"{type(self).__name__}.weigh was called before begin, so nothing is chosen yet.")
        kept, scores = np.array([self._chosen.get(id, (False, np.nan)) for id in step.ids], dtype=np.float64).reshape(-1, 2).T
        weights = np.maximum(kept, step.gold)
        return Weighed(weights, {"kept": int(weights.sum()), "of": len(weights)}, scores)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the next epoch chooses anew."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Forget what was chosen."""
        self._chosen = None
