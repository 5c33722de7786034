"""Calibration for pools whose classes are not equally frequent, and whose shares nobody knows."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from tutelage.errors import ConfigError
from tutelage.labelling.calibration import (
    HALF,
    BatchCalibration,
    Calibrator,
    NoCalibration,
    PriorMatching,
    check_seen,
)
from tutelage.labelling.calibration_prior import Array, matching_bias, softmax, tracked_prior


class PriorTracking(NoCalibration):
    """Estimates the shares of the classes from the texts scored so far, and labels by them.

    Matching the classes to equal shares ruins a pool with 10 % of a class. The scores alone cannot
    tell a teacher's bias towards a class from a class that is frequent, so ``bias`` sets how much
    of the matching bias (see :class:`PriorMatching`) is held to be the teacher's. After it is
    added, expectation-maximisation finds the shares; see
    :func:`tutelage.labelling.calibration_prior.tracked_prior`.

    Generated texts say nothing about the pool. A batch with texts that were asked for by class is
    calibrated over such batches alone, with equal shares and the asked classes.

    Made for two classes. With more, the bias of a teacher of 0.5B parameters and below outweighs
    the difference between frequent and rare classes (docs/results/labelling.md, "Skewed pools").

    Args:
        strength: Number of texts that equal shares count as before the first text, above 0.
        growth: Number of texts that equal shares count as for each text scored, at least 0. With
            0, a large pool would outweigh them, and maximisation make frequent classes even more
            frequent.
        bias: Part of the matching bias that is added, from 0 to 1. 0 trusts the teacher's own
            shares, which suits capable teachers; 1 keeps equal shares.
        iterations: Most iterations, of each of the two searches.
        tolerance: Relative error of the shares at which a search ends.
        keep: Most texts to estimate the shares from; at least 1. A checkpoint stores their scores.
        generated: Calibration of generated texts: "matched" (:class:`PriorMatching`),
            "half_matched" (with half of its bias) or "batch" (:class:`BatchCalibration`).
        asked: For generated texts, weight of the classes that they were asked for in the prior,
            from 0 to below 1; the rest of the weight is shared equally.

    Raises:
        ConfigError: ``strength`` is not above 0, ``growth`` is below 0, ``bias`` is outside [0, 1],
            ``keep`` is below 1, or ``asked`` is outside [0, 1).
    """

    name = "tracked"

    def __init__(
        self,
        strength: float = 20.0,
        growth: float = 1.0,
        bias: float = 0.0,
        iterations: int = 500,
        tolerance: float = 1e-4,
        keep: int = 50_000,
        generated: Literal["matched", "half_matched", "batch"] = "matched",
        asked: float = 0.0,
    ) -> None:
        super().__init__()
        if strength <= 0:
            raise ConfigError(f"calibration.strength={strength:g} must be above 0 texts.")
        if growth < 0:
            raise ConfigError(f"calibration.growth={growth:g} must be 0 or more.")
        if not 0 <= bias <= 1:
            raise ConfigError(f"calibration.bias={bias:g} must be between 0 and 1.")
        self._generated: Calibrator = (
            BatchCalibration(asked=asked)
            if generated == "batch"
            else PriorMatching(
                "uniform",
                iterations,
                tolerance,
                keep,
                asked,
                HALF if generated == "half_matched" else 1.0,
            )
        )
        self._strength = strength
        self._growth = growth
        self._part = bias
        self._iterations = iterations
        self._tolerance = tolerance
        self._keep = keep
        self._seen: list[Array] = []
        self._frozen: Array | None = None

    def transform(self, logprobs: Array, asked: Array | None = None) -> Array:
        """Adds the batch to the texts seen, estimates the shares over them, and calibrates it."""
        if asked is not None:
            return self._generated.transform(logprobs, asked)
        if self._frozen is not None:
            return softmax(logprobs + self._frozen)
        room = min(len(logprobs), self._keep - sum(map(len, self._seen)))
        if room > 0:
            self._seen.append(logprobs[np.linspace(0, len(logprobs) - 1, room).round().astype(int)])
        return softmax(logprobs + self._correction(np.concatenate(self._seen)))

    def freeze(self) -> None:
        """Keeps the shares of the texts so far.

        Raises:
            ConfigError: No text was seen.
        """
        check_seen(self.name, self._seen)
        self._frozen = self._correction(np.concatenate(self._seen))

    def _correction(self, seen: Array) -> Array:
        """Returns what to add to log-probabilities, [labels]."""
        labels = seen.shape[1]
        equal = np.full(labels, 1 / labels)
        bias = self._part * matching_bias(seen, equal, self._iterations, self._tolerance)
        strength = self._strength + self._growth * len(seen)
        shares = tracked_prior(seen + bias, strength, self._iterations, self._tolerance)
        correction: Array = bias + np.log(shares)
        return correction

    def state_dict(self) -> dict[str, Any]:
        """Returns the scores of the texts seen, and the state for generated texts."""
        return {
            "seen": [batch.tolist() for batch in self._seen],
            "generated": self._generated.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state returned by :meth:`state_dict`."""
        self._seen = [np.asarray(batch) for batch in state["seen"]]
        self._frozen = None
        self._generated.load_state_dict(state["generated"])
