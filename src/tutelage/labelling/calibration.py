"""FOLD: labelling.calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError

# FOLD: Calibration of a teacher's label distributions: none, contextual, batch (with a prior), temperature.
# FOLD:
# FOLD: A small teacher favours some labels whatever the text says. Measured on SmolLM2-135M, SNIPS, 1 shot: taking that bias away
# FOLD: lifts label accuracy by several points and makes the confident half nearly always right (docs/results.md).
# FOLD: All arithmetic is on natural-log probabilities of the labels, arrays of shape [texts, labels].
Array = NDArray[np.float64]
Prior = Literal["uniform", "estimated"] | Sequence[float]


class Calibrator(Protocol):
    """Turns raw label log-probabilities into calibrated probabilities."""

    name: str
    needs: Literal["", "content_free", "dev"]
    """What ``fit`` must be given first: scores of content-free texts, scores of labelled dev texts, or nothing."""

    def fit(self, logprobs: Array, targets: Sequence[int] | None = None) -> None:
        """Learn from scores that are not to be labelled."""
        ...

    def transform(self, logprobs: Array) -> Array:
        """Calibrated probabilities, [texts, labels], each row summing to 1."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Plain values that make a resumed run go on alike."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what ``state_dict`` gave."""
        ...


def softmax(logits: Array) -> Array:
    """Row-wise softmax."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def check_prior(prior: str | Sequence[float], words: Sequence[str]) -> None:
    """Refuse a prior that is neither one of ``words`` nor positive numbers that sum to 1.

    Raises:
        ConfigError: it is.
    """
    if isinstance(prior, str):
        if prior not in words:
            raise ConfigError(
                f"calibration prior is '{prior}'; give {', '.join(words)}, or a list of one probability for each label."
            )
        return
    values = np.asarray(prior, dtype=np.float64)
    if (values <= 0).any() or not np.isclose(values.sum(), 1.0, atol=1e-3):
        raise ConfigError(
            f"calibration prior {list(prior)} must be positive and sum to 1 (it sums to {values.sum():.4g})."
        )


def prior_of(prior: str | Sequence[float], labels: int) -> Array:
    """A checked prior as one number for each label; even shares for a word.

    Raises:
        ConfigError: it has another number of values.
    """
    if isinstance(prior, str):
        return np.full(labels, 1 / labels)
    if len(prior) != labels:
        raise ConfigError(
            f"calibration prior has {len(prior)} values for {labels} labels; give one for each, in the label order."
        )
    return np.asarray(prior, dtype=np.float64)


class NoCalibration:
    """The raw distribution, normalised over the labels."""

    name = "none"
    needs: Literal["", "content_free", "dev"] = ""

    def fit(self, logprobs: Array, targets: Sequence[int] | None = None) -> None:
        """Nothing to learn."""

    def transform(self, logprobs: Array) -> Array:
        """Normalise over the labels."""
        return softmax(logprobs)

    def state_dict(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to take up."""


class ContextualCalibration(NoCalibration):
    """Divide by the distribution that content-free texts ("N/A", "", "[MASK]") get (after Zhao et al. 2021)."""

    name = "contextual"
    needs: Literal["", "content_free", "dev"] = "content_free"

    def __init__(self) -> None:
        self._bias: Array | None = None

    def fit(self, logprobs: Array, targets: Sequence[int] | None = None) -> None:
        """Take the mean log-probabilities of the content-free texts as the bias."""
        self._bias = logprobs.mean(axis=0)

    def transform(self, logprobs: Array) -> Array:
        """Subtract the bias and normalise."""
        if self._bias is None:
            raise ConfigError(
                "contextual calibration was not fitted on content-free texts; call fit first."
            )
        return softmax(logprobs - self._bias)

    def state_dict(self) -> dict[str, Any]:
        """The bias."""
        return {"bias": None if self._bias is None else self._bias.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the bias."""
        self._bias = None if state["bias"] is None else np.asarray(state["bias"])


class BatchCalibration(NoCalibration):
    """Subtract the mean log-probability of each label over all texts scored so far (after Zhou et al. 2023).

    Subtracting the mean supposes that the scored texts are balanced over the classes. On a skewed pool give the prior:
    its logarithm is added back. "estimated" finds it from the scores themselves, by a mixture model over them. It is for skewed pools: measured on
    SNIPS (SmolLM2-135M, 1 shot, 12 draws), three classes at 80/15/5 % went from 63 (uniform) to 92 % right, at equal shares from 88 to
    78 %. The running mean is over every batch that was transformed, so that late small rounds stand on the many texts before them.

    Args:
        prior: "uniform", "estimated", or a probability for each label.
        iterations: of the estimation, at most.

    Raises:
        ConfigError: the prior is unknown, has a value that is not positive, or does not sum to 1.
    """

    name = "batch"

    def __init__(self, prior: Prior = "uniform", iterations: int = 200) -> None:
        check_prior(prior, ("uniform", "estimated"))
        self._prior = prior
        self._iterations = iterations
        self._sum: Array | None = None
        self._count = 0
        self._seen: list[Array] = []

    def transform(self, logprobs: Array) -> Array:
        """Add the batch to the running mean, then calibrate it."""
        prior = prior_of(self._prior, logprobs.shape[1])
        self._sum = logprobs.sum(axis=0) if self._sum is None else self._sum + logprobs.sum(axis=0)
        self._count += len(logprobs)
        if self._prior == "estimated":
            self._seen.append(logprobs)
            return softmax(logprobs + self._estimate(np.concatenate(self._seen)))
        return softmax(logprobs - self._sum / self._count + np.log(prior))

    def _estimate(self, logprobs: Array) -> Array:
        """The correction that is added to log-probabilities: the prior's weight less the bias, from a mixture with one Gaussian a class.

        A text of class k scores bias + signal · (e_k - 1/K) + noise, each row taken about its own mean. Shares, bias, signal and the
        noise's one variance are settled by expectation-maximisation, from a weak, a middling and a strong signal; the likeliest stays.
        The plain mean would not do: it moves with the shares, so a skewed pool is taken for a biased teacher.
        """
        centred = logprobs - logprobs.mean(axis=1, keepdims=True)
        spread = float(((centred - centred.mean(axis=0)) ** 2).sum(axis=1).mean())
        fits = [self._mixture(centred, spread, explained) for explained in (0.1, 0.4, 0.8)]
        return max(fits, key=lambda fit: fit[0])[1]

    def _mixture(self, centred: Array, spread: float, explained: float) -> tuple[float, Array]:
        """Log-likelihood and correction of a fit that starts with a share ``explained`` of the spread due to the classes."""
        count, labels = centred.shape
        mean, prior = centred.mean(axis=0), np.full(labels, 1 / labels)
        bias, signal = mean, float(np.sqrt(explained * spread / (1 - 1 / labels)))
        variance = max((1 - explained) * spread / (labels - 1), 1e-6)
        best = -np.inf
        for _ in range(self._iterations):
            distance = (
                ((centred - bias) ** 2).sum(axis=1, keepdims=True)
                - 2 * signal * (centred - bias)
                + signal**2 * (1 - 1 / labels)
            )
            joint = np.log(prior) - distance / (2 * variance)
            top = joint.max(axis=1, keepdims=True)
            evidence = top[:, 0] + np.log(np.exp(joint - top).sum(axis=1))
            likelihood = float(
                evidence.sum() - count * (labels - 1) / 2 * np.log(variance) + np.log(prior).sum()
            )
            if likelihood - best < 1e-6 * count:
                break
            best = likelihood
            share = softmax(joint)
            # One more text for each class, so that none dies out.
            prior = (share.sum(axis=0) + 1) / (count + labels)
            shares = share.mean(axis=0)
            signal = max(
                float(
                    (share * (centred - mean)).sum()
                    / count
                    / max(1 - float((shares**2).sum()), 1e-9)
                ),
                1e-3,
            )
            bias = mean - signal * (shares - 1 / labels)
            residual = ((centred - bias) ** 2).sum() - 2 * signal * (share * (centred - bias)).sum()
            variance = max(
                float(residual / count + signal**2 * (1 - 1 / labels)) / (labels - 1), 1e-6
            )
        # Where the classes lie further apart than their probabilities say, a whole logarithm of the prior would outweigh the text.
        correction: Array = min(1.0, variance / signal) * np.log(prior) - bias
        return likelihood, correction

    def state_dict(self) -> dict[str, Any]:
        """The running sum and count, and the scores seen where the prior is estimated."""
        return {
            "sum": None if self._sum is None else self._sum.tolist(),
            "count": self._count,
            "seen": [batch.tolist() for batch in self._seen],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the running mean."""
        self._sum = None if state["sum"] is None else np.asarray(state["sum"])
        self._count = int(state["count"])
        self._seen = [np.asarray(batch) for batch in state["seen"]]


class TemperatureCalibration(NoCalibration):
    """One temperature, and one bias for each label, fitted on dev labels by log-loss (after Guo et al. 2017: "vector scaling")."""

    name = "temperature"
    needs: Literal["", "content_free", "dev"] = "dev"

    def __init__(self) -> None:
        self._scale = 1.0
        self._bias: Array | None = None

    def fit(self, logprobs: Array, targets: Sequence[int] | None = None) -> None:
        """Minimise the log-loss of ``targets`` with a weak pull towards scale 1 and bias 0.

        Raises:
            ConfigError: no targets.
        """
        from scipy.optimize import minimize

        if targets is None or not len(targets):
            raise ConfigError(
                "temperature calibration needs labelled dev texts; this data has none. Use calibration=batch."
            )
        gold = np.asarray(targets)
        mean = logprobs.mean(axis=0)

        def loss(values: Array) -> float:
            logits = np.exp(values[0]) * (logprobs - mean) + values[1:]
            probabilities = softmax(logits)[np.arange(len(gold)), gold]
            return float(-np.log(probabilities + 1e-12).mean() + 1e-2 * (values**2).mean())

        best = minimize(loss, np.zeros(1 + logprobs.shape[1]), method="L-BFGS-B").x
        self._scale = float(np.exp(best[0]))
        self._bias = best[1:] - self._scale * mean

    def transform(self, logprobs: Array) -> Array:
        """Scale, shift and normalise."""
        if self._bias is None:
            raise ConfigError(
                "temperature calibration was not fitted on dev texts; call fit first."
            )
        return softmax(self._scale * logprobs + self._bias)

    def state_dict(self) -> dict[str, Any]:
        """Scale and bias."""
        return {"scale": self._scale, "bias": None if self._bias is None else self._bias.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up scale and bias."""
        self._scale = float(state["scale"])
        self._bias = None if state["bias"] is None else np.asarray(state["bias"])


# FOLD: Calibration by the classes' shares: the bias of each label that lets the texts scored so far be shared out as they should be.
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

    def __init__(
        self,
        prior: Prior = "uniform",
        iterations: int = 500,
        tolerance: float = 1e-4,
        keep: int = 50_000,
    ) -> None:
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
            missing = np.log(prior) - np.log(
                np.maximum(softmax(centred + bias).mean(axis=0), np.finfo(np.float64).tiny)
            )
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
