"""Calibration by the classes' shares: the bias of each label that lets the texts scored so far be shared out as they should be."""

from __future__ import annotations

from typing import Any

import numpy as np

from tutelage.errors import ConfigError
from tutelage.teacher.calibration import Array, NoCalibration, Prior, check_prior, prior_of, softmax


class PriorMatching(NoCalibration):
    """Bias each label so that its mean probability over all texts scored so far is its prior (after Liusie et al. 2023).

    The bias b solves mean_i softmax(l_i + b)_k = prior_k for the log-probabilities l_i. :class:`BatchCalibration` makes the mean log-probabilities
    equal instead, and a label whose scores vary little from text to text (an entity type "none", a vague word) is then hardly ever the
    largest. Both suppose that the prior is that of the texts.

    Args:
        prior: "uniform", or a probability for each label.
        iterations: at most; each multiplies a label's weight by what it lacks.
        tolerance: of the shares, relative, at which the iteration ends.
        keep: texts that the bias is found over, at most: so many say what the shares are, and a checkpoint holds their scores. Of a batch with
            more it takes some at even distances, since a pool may be sorted.

    Raises:
        ConfigError: the prior is unknown, has a value that is not positive, or does not sum to 1.
    """

    name = "matched"

    def __init__(self, prior: Prior = "uniform", iterations: int = 500, tolerance: float = 1e-4, keep: int = 50_000) -> None:
        if prior == "estimated":
            raise ConfigError(
                "calibration=matched makes the labels' shares what its prior says and cannot estimate it; calibration=batch can."
            )
        check_prior(prior, ("uniform",))
        if keep < 1:
            raise ConfigError(f"calibration.keep={keep} must be 1 text or more.")
        self._prior = prior
        self._iterations = iterations
        self._tolerance = tolerance
        self._keep = keep
        self._seen: list[Array] = []

    def transform(self, logprobs: Array) -> Array:
        """Add the batch to the texts seen, find the bias over all of them, and calibrate the batch."""
        room = min(len(logprobs), self._keep - sum(map(len, self._seen)))
        if room > 0:
            self._seen.append(logprobs[np.linspace(0, len(logprobs) - 1, room).round().astype(int)])
        return softmax(logprobs + self._bias(np.concatenate(self._seen)))

    def _bias(self, logprobs: Array) -> Array:
        prior = prior_of(self._prior, logprobs.shape[1])
        # Each row about its own mean: a constant of a row says nothing, and must not move where the iteration begins.
        centred = logprobs - logprobs.mean(axis=1, keepdims=True)
        bias = -centred.mean(axis=0)
        for _ in range(self._iterations):
            missing = np.log(prior) - np.log(np.maximum(softmax(centred + bias).mean(axis=0), np.finfo(np.float64).tiny))
            bias = bias + missing
            if np.abs(missing).max() < self._tolerance:
                break
        found: Array = bias
        return found

    def state_dict(self) -> dict[str, Any]:
        """The scores seen."""
        return {"seen": [batch.tolist() for batch in self._seen]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them up."""
        self._seen = [np.asarray(batch) for batch in state["seen"]]
