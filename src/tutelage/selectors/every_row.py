"""Learn from every row: the arm that the other train selectors are measured against."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from tutelage.selectors.protocol import EpochView, Normaliser, Step, Weighed


class EveryRow:
    """Gives every row the weight 1, so that a batch's loss is the mean over its rows."""

    stage: Literal["train"] = "train"
    needs: frozenset[str] = frozenset()
    normaliser: Normaliser = "weights"
    refill = False
    watches = False

    def begin(self, view: EpochView) -> None:
        """Nothing to decide; it is not called."""

    def weigh(self, step: Step) -> Weighed:
        """Ones, [B]; there is nothing to report of them."""
        return Weighed(np.ones(len(step.ids)), {})

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up nothing."""
