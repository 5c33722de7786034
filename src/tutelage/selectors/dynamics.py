"""TrainingDynamics: weights rows by how the student took to their labels in past epochs.

After LG-CoTrain (Rahman and Caragea 2025, arXiv 2509.16516). With p_e the student's probability of
the teacher's label of a row after its e-th epoch::

    confidence = mean_e p_e      variability = sqrt(mean_e (p_e - confidence)^2)
    weight     = confidence + variability,  or  max(confidence - variability, 0)

The two statistics are those of Swayamdipta et al. 2020 (Dataset Cartography, arXiv 2009.10795). The
paper trains two students, each weighted by the other's statistics; here one student is weighted by
its own, so its early mistakes can confirm themselves.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from tutelage.errors import ConfigError, did_you_mean
from tutelage.selectors.protocol import EpochView, Floats, Normaliser, Step, Weighed

Variability = Literal["add", "subtract"]


class TrainingDynamics:
    """Weights every row by its training dynamics, and leaves none out for good.

    A row has weight 1 until the student has learnt from it for one epoch, and gold rows always do.
    For NER, p is the geometric mean over the words of a row.

    Args:
        variability: "add" weights rows by confidence + variability, which favours rows that the
            student is still learning; "subtract" by max(confidence - variability, 0), which favours
            rows that it has always agreed with.
        normaliser: Divisor of the weighted losses: "batch" for the number of rows in the batch,
            "kept" for the number of rows with a weight above 0, or "weights" for the sum of the
            weights.

    Raises:
        ConfigError: A value is unknown.
    """

    stage: Literal["train"] = "train"
    needs: frozenset[str] = frozenset({"epoch"})
    refill = False
    watches = False

    def __init__(self, variability: Variability = "add", normaliser: Normaliser = "batch") -> None:
        for name, value, known in (
            ("variability", variability, ("add", "subtract")),
            ("normaliser", normaliser, ("batch", "kept", "weights")),
        ):
            if value not in known:
                raise ConfigError(did_you_mean(f"select.{name}", value, known))
        self._sign = 1.0 if variability == "add" else -1.0
        self.normaliser: Normaliser = normaliser
        # Epochs, mean of p, and summed squared deviations from this mean, by row id.
        self._past: dict[str, tuple[int, float, float]] = {}

    def begin(self, view: EpochView) -> None:
        """Adds the student's probabilities after the last epoch to the statistics.

        A row that is new to the student only gets its place: nothing has been learnt from it yet.
        A row without a finite loss keeps its statistics.

        Args:
            view: The rows of the coming epoch.
        """
        for id, p in zip(view.ids, np.exp(-view.losses).tolist(), strict=True):
            past = self._past.get(id)
            if past is None:
                self._past[id] = (0, 0.0, 0.0)
            elif math.isfinite(p):
                self._past[id] = _updated(past, p)

    def weigh(self, step: Step) -> Weighed:
        """Weights the rows of a batch; the score of a row is its weight.

        Args:
            step: The batch.
        """
        past = [self._past.get(id, (0, 0.0, 0.0)) for id in step.ids]
        epochs, confidence, squares = np.array(past, dtype=np.float64).reshape(-1, 3).T
        variability = np.sqrt(squares / np.maximum(epochs, 1))
        known = (epochs > 0) & ~step.gold
        weights: Floats = np.where(
            known, np.maximum(confidence + self._sign * variability, 0.0), 1.0
        )
        report = {
            "confidence": _mean(confidence[known]),
            "variability": _mean(variability[known]),
        }
        return Weighed(weights, report, weights)

    def state_dict(self) -> dict[str, Any]:
        """The statistics of every row, as plain values."""
        return {"past": {id: list(past) for id, past in self._past.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the statistics of every row."""
        self._past = {
            id: (int(epochs), mean, squares)
            for id, (epochs, mean, squares) in state["past"].items()
        }


def _updated(past: tuple[int, float, float], p: float) -> tuple[int, float, float]:
    """Adds one value to a running mean and its squared deviations (Welford 1962)."""
    epochs, mean, squares = past
    moved = mean + (p - mean) / (epochs + 1)
    return epochs + 1, moved, squares + (p - mean) * (p - moved)


def _mean(values: Floats) -> float | None:
    return round(float(values.mean()), 6) if len(values) else None
