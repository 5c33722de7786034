"""TrainingDynamics: weights rows by how the student took to their labels in past epochs.

After LG-CoTrain (Rahman and Caragea 2025, arXiv 2509.16516). With p_e the student's probability of
the teacher's label of a row after its e-th epoch::

    confidence = mean_e p_e      variability = sqrt(mean_e (p_e - confidence)^2)
    weight     = confidence + variability,  or  max(confidence - variability, 0)

The two statistics are those of Swayamdipta et al. 2020 (Dataset Cartography, arXiv 2009.10795).

With ``student.peers=2`` each of the two networks is weighted by the other's statistics, as in the
paper. A single student is weighted by its own, so its early mistakes can confirm themselves. The
paper's first step is left out: it takes the statistics of the first epochs from two students of one
half of the gold rows each, where ours have weight 1.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from tutelage.errors import ConfigError, did_you_mean
from tutelage.selectors.protocol import EpochView, Floats, Normaliser, Step, Weighed

Variability = Literal["auto", "add", "subtract"]

_Past = tuple[int, float, float]
"""Epochs, mean of p, and summed squared deviations from this mean."""
_NEW: _Past = (0, 0.0, 0.0)


class TrainingDynamics:
    """Weights every row by its training dynamics, and leaves none out for good.

    A row has weight 1 until the student has learnt from it for one epoch, and gold rows always do.
    For NER, p is the geometric mean over the words of a row.

    Args:
        variability: "add" weights rows by confidence + variability, which favours rows that the
            student is still learning; "subtract" by max(confidence - variability, 0), which favours
            rows that it has always agreed with. "auto" adds; with ``student.peers=2`` it adds for
            the first network and subtracts for the second, as in the paper.
        normaliser: Divisor of the weighted losses: "batch" for the number of rows in the batch,
            "kept" for the number of rows with a weight above 0, or "weights" for the sum of the
            weights.

    Raises:
        ConfigError: A value is unknown.
    """

    stage: Literal["train"] = "train"
    needs: frozenset[str] = frozenset({"epoch", "peers"})
    refill = False
    watches = False

    def __init__(self, variability: Variability = "auto", normaliser: Normaliser = "batch") -> None:
        for name, value, known in (
            ("variability", variability, ("auto", "add", "subtract")),
            ("normaliser", normaliser, ("batch", "kept", "weights")),
        ):
            if value not in known:
                raise ConfigError(did_you_mean(f"select.{name}", value, known))
        signs = {"auto": (1.0, -1.0), "add": (1.0, 1.0), "subtract": (-1.0, -1.0)}
        self._signs = signs[variability]
        self.normaliser: Normaliser = normaliser
        # The past of each network, by row id.
        self._past: dict[str, tuple[_Past, ...]] = {}
        self._networks = 1

    def begin(self, view: EpochView) -> None:
        """Adds the student's probabilities after the last epoch to the statistics.

        A row that is new to the student only gets its place: nothing has been learnt from it yet.
        A row without a finite loss keeps its statistics.

        Args:
            view: The rows of the coming epoch.
        """
        losses = view.losses[:, None] if view.peer_losses is None else view.peer_losses
        self._networks = losses.shape[1]
        for id, each in zip(view.ids, np.exp(-losses).tolist(), strict=True):
            past = self._past.get(id)
            if past is None:
                self._past[id] = (_NEW,) * self._networks
            else:
                self._past[id] = tuple(map(_updated, past, each))

    def weigh(self, step: Step) -> Weighed:
        """Weights the rows of a batch; the score of a row is its weight, or mean weight.

        Args:
            step: The batch.
        """
        new = (_NEW,) * self._networks
        past = np.array([self._past.get(id, new) for id in step.ids], dtype=np.float64)
        # Each network by the past of the other one; a single network by its own. All [B, networks].
        epochs, confidence, squares = np.moveaxis(past.reshape(-1, self._networks, 3), 2, 0)[
            :, :, ::-1
        ]
        variability = np.sqrt(squares / np.maximum(epochs, 1))
        known = (epochs > 0) & ~step.gold[:, None]
        signs = np.array(self._signs[: self._networks])
        each: Floats = np.where(known, np.maximum(confidence + signs * variability, 0.0), 1.0)
        weights: Floats = each.mean(axis=1)
        report = {
            "confidence": _mean(confidence[known]),
            "variability": _mean(variability[known]),
        }
        return Weighed(weights, report, weights, each if self._networks > 1 else None)

    def state_dict(self) -> dict[str, Any]:
        """The statistics of every row, as plain values."""
        return {"past": {id: [list(one) for one in past] for id, past in self._past.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the statistics of every row."""
        self._past = {
            id: tuple((int(epochs), mean, squares) for epochs, mean, squares in past)
            for id, past in state["past"].items()
        }


def _updated(past: _Past, p: float) -> _Past:
    """Adds a finite value to a running mean and its squared deviations (Welford 1962)."""
    epochs, mean, squares = past
    if not math.isfinite(p):
        return past
    moved = mean + (p - mean) / (epochs + 1)
    return epochs + 1, moved, squares + (p - mean) * (p - moved)


def _mean(values: Floats) -> float | None:
    return round(float(values.mean()), 6) if len(values) else None
