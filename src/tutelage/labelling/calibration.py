"""Calibration of a teacher's label distributions.

A small teacher favours some labels whatever the text says. Removing this bias raises label accuracy
by several points and makes the confident half of the labels nearly always right (measured on SNIPS
with SmolLM2-135M and 1 shot; docs/results/labelling.md).

All arithmetic is on natural-log probabilities of the labels, in arrays of shape [texts, labels]. A
label outside a text's shortlist has -inf there: it counts in no mean, and its probability stays 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Any, Literal, Protocol

import numpy as np

from tutelage.errors import ConfigError
from tutelage.labelling.calibration_prior import (
    Array,
    ClassPrior,
    column_means,
    listed,
    matching_bias,
    mixture_correction,
    softmax,
)

Uniform = Literal["uniform"] | Mapping[str, float] | Sequence[float]
"""Equal shares, the shares of some labels by name, or the share of each label."""


HALF = 0.5
"""Part of the matching bias that ``calibration=half_matched`` adds."""


class FittedState(Protocol):
    """The part of a calibrator that a run names and saves.

    Attributes:
        name: Name of the option in the group ``calibration``.
        needs: Input of ``fit``: "content_free" for scores of content-free texts, "dev" for scores
            of labelled dev texts, or "" if the calibrator needs no fitting.
    """

    name: str
    needs: Literal["", "content_free", "dev"]

    def state_dict(self) -> dict[str, Any]:
        """Returns the state as plain values, for a checkpoint."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state of a checkpoint."""
        ...

    def freeze(self) -> None:
        """Calibrates all further batches by what was seen so far, which they no longer change.

        The probabilities of a text then depend on nothing but the text, so that a stream may be cut
        into batches anywhere. A state that is restored later is frozen by another call.
        """
        ...


class Calibrator(FittedState, Protocol):
    """Turns raw label log-probabilities into calibrated probabilities."""

    def fit(self, logprobs: Array, targets: Sequence[int] | None = None) -> None:
        """Learns from scores of texts outside the pool.

        Args:
            logprobs: Log-probabilities of the labels, [texts, labels].
            targets: Index of the gold label of each text, if ``needs`` is "dev".
        """
        ...

    def transform(self, logprobs: Array, asked: Array | None = None) -> Array:
        """Calibrates one batch.

        Running statistics may be updated with the batch first, so later batches can depend on it.

        Args:
            logprobs: Log-probabilities of the labels, [texts, labels]; -inf for a label that was
                not scored.
            asked: Number of texts in the batch that were asked for by label, [labels]; None
                without generated texts.

        Returns:
            Probabilities of the labels, [texts, labels]; each row sums to 1.
        """
        ...


class NoCalibration:
    """Normalises the raw probabilities over the labels, times a prior if there is one.

    Args:
        prior: Shares of the classes by which the probabilities are multiplied: "uniform" leaves
            them as they are; or a list with one probability per label, positive and with sum 1.
        asked: For generated texts, weight of the classes that they were asked for in the prior,
            from 0 to below 1; the rest of the weight has ``prior``.

    Raises:
        ConfigError: The prior is unknown, has a value of 0 or less, or does not sum to 1; or
            ``asked`` is outside [0, 1).
    """

    name = "none"
    needs: Literal["", "content_free", "dev"] = ""

    def __init__(self, prior: Uniform = "uniform", asked: float = 0.0) -> None:
        self._prior = ClassPrior(listed(prior), asked)

    def fit(self, logprobs: Array, targets: Sequence[int] | None = None) -> None:
        """Does nothing; there is nothing to fit."""

    def transform(self, logprobs: Array, asked: Array | None = None) -> Array:
        """Multiplies by the prior and normalises each row over the labels."""
        return softmax(self._with_prior(logprobs, asked))

    def _with_prior(self, logprobs: Array, asked: Array | None) -> Array:
        shares = self._prior.shares_of(logprobs, asked)
        if shares is None and self._prior.is_uniform:
            return logprobs
        prior = self._prior.shares(logprobs.shape[1]) if shares is None else shares
        shifted: Array = logprobs + np.log(prior)
        return shifted

    def state_dict(self) -> dict[str, Any]:
        """Returns an empty state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Does nothing; there is no state."""

    def freeze(self) -> None:
        """Does nothing; no batch changes what later ones get."""


class ContextualCalibration(NoCalibration):
    """Divides by the teacher's distribution on content-free texts ("N/A", "[MASK]", "…").

    After Zhao et al. 2021, "Calibrate Before Use".

    Args:
        prior: Shares of the classes among the texts: "uniform", or a list with one probability per
            label, positive and with sum 1.
        asked: For generated texts, weight of the classes that they were asked for in the prior,
            from 0 to below 1; the rest of the weight has ``prior``.

    Raises:
        ConfigError: The prior is unknown, has a value of 0 or less, or does not sum to 1; or
            ``asked`` is outside [0, 1).
    """

    name = "contextual"
    needs: Literal["", "content_free", "dev"] = "content_free"

    def __init__(self, prior: Uniform = "uniform", asked: float = 0.0) -> None:
        super().__init__(prior, asked)
        self._bias: Array | None = None

    def fit(self, logprobs: Array, targets: Sequence[int] | None = None) -> None:
        """Sets the bias to the mean log-probabilities of the content-free texts."""
        self._bias = column_means(logprobs)

    def transform(self, logprobs: Array, asked: Array | None = None) -> Array:
        """Subtracts the bias, multiplies by the prior and normalises.

        Raises:
            ConfigError: The calibrator is not fitted.
        """
        if self._bias is None:
            raise ConfigError(
                "contextual calibration was not fitted on content-free texts; call fit first."
            )
        return softmax(self._with_prior(logprobs - self._bias, asked))

    def state_dict(self) -> dict[str, Any]:
        """Returns the bias."""
        return {"bias": None if self._bias is None else self._bias.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the bias."""
        self._bias = None if state["bias"] is None else np.asarray(state["bias"])


class BatchCalibration(NoCalibration):
    """Subtracts each label's mean log-probability over all texts scored so far.

    After Zhou et al. 2023, "Batch Calibration". The running mean covers every batch, so late and
    small rounds benefit from all texts before them.

    Subtracting the mean assumes that the scored texts are balanced over the classes. For a skewed
    pool, set the prior: its logarithm is added back. "estimated" derives it from the scores
    themselves with a mixture model, and suits skewed pools only: measured on SNIPS (SmolLM2-135M, 1
    shot, 12 draws), accuracy rose from 63 % (uniform) to 92 % with three classes at 80/15/5 %, and
    fell from 88 % to 78 % with equal shares.

    Args:
        prior: Shares of the classes among the scored texts: "uniform", "estimated", a mapping
            from some labels to their shares, which leaves the rest to the other labels, or a list
            with one probability per label, positive and with sum 1.
        iterations: Most iterations of expectation-maximisation, for the prior "estimated".
        asked: For generated texts, weight of the classes that they were asked for in the prior,
            from 0 to below 1; the rest of the weight has ``prior``.

    Raises:
        ConfigError: The prior is unknown, has a value of 0 or less, or does not sum to 1; or
            ``asked`` is outside [0, 1), or above 0 beside an estimated prior.
    """

    name = "batch"

    def __init__(
        self,
        prior: Uniform | Literal["estimated"] = "uniform",
        iterations: int = 200,
        asked: float = 0.0,
    ) -> None:
        self._prior = ClassPrior(listed(prior), asked, ("uniform", "estimated"))
        self._estimates = isinstance(prior, str) and prior == "estimated"
        if self._estimates and asked:
            raise ConfigError(
                f"calibration.asked={asked:g} cannot be used with calibration.prior=estimated, "
                "which estimates the shares of generated texts too. Leave out one of the two."
            )
        self._iterations = iterations
        self._sum: Array | None = None
        self._count: Array | None = None
        self._seen: list[Array] = []
        self._frozen: Array | None = None

    def transform(self, logprobs: Array, asked: Array | None = None) -> Array:
        """Adds the batch to the running mean, then calibrates it."""
        if self._frozen is None:
            self._see(logprobs)
        if self._estimates:
            return softmax(logprobs + self._correction)
        shares = self._prior.shares_of(logprobs, asked)
        prior = self._prior.shares(logprobs.shape[1]) if shares is None else shares
        return softmax(logprobs + self._correction + np.log(prior))

    @property
    def _correction(self) -> Array:
        """What is added to log-probabilities, [labels]."""
        if self._frozen is not None:
            return self._frozen
        if self._estimates:
            return mixture_correction(np.concatenate(self._seen), self._iterations)
        assert self._sum is not None
        assert self._count is not None
        mean: Array = self._sum / np.maximum(self._count, 1)
        return -mean

    def _see(self, logprobs: Array) -> None:
        # A label's mean is over the texts it was scored for.
        scored = np.isfinite(logprobs)
        total = np.where(scored, logprobs, 0.0).sum(axis=0)
        count = scored.sum(axis=0)
        self._sum = total if self._sum is None else self._sum + total
        self._count = count if self._count is None else self._count + count
        if self._estimates:
            self._seen.append(logprobs)

    def freeze(self) -> None:
        """Keeps the mean, or the estimated shares, of the texts so far.

        Raises:
            ConfigError: No text was seen.
        """
        check_seen(self.name, self._sum)
        self._frozen = self._correction

    def state_dict(self) -> dict[str, Any]:
        """Returns the running sums and counts, and all scores if the prior is estimated."""
        return {
            "sum": None if self._sum is None else self._sum.tolist(),
            "count": None if self._count is None else self._count.tolist(),
            "seen": [batch.tolist() for batch in self._seen],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the running mean and the scores."""
        self._sum = None if state["sum"] is None else np.asarray(state["sum"])
        # A number in the checkpoints of older versions, which scored every label of every text.
        self._count = None if state["count"] is None else np.asarray(state["count"])
        self._seen = [np.asarray(batch) for batch in state["seen"]]
        self._frozen = None


class TemperatureCalibration(NoCalibration):
    """One temperature and one bias per label, fitted on dev labels by log-loss.

    After "vector scaling" in Guo et al. 2017, "On Calibration of Modern Neural Networks". The dev
    labels count as used gold labels.
    """

    name = "temperature"
    needs: Literal["", "content_free", "dev"] = "dev"

    def __init__(self) -> None:
        self._scale = 1.0
        self._bias: Array | None = None

    def fit(self, logprobs: Array, targets: Sequence[int] | None = None) -> None:
        """Minimises the log-loss of the targets, with a weak pull towards scale 1 and bias 0.

        Args:
            logprobs: Log-probabilities of the labels on the dev texts, [texts, labels].
            targets: Index of the gold label of each text.

        Raises:
            ConfigError: There are no targets.
        """
        from scipy.optimize import minimize

        if targets is None or not len(targets):
            raise ConfigError(
                "temperature calibration needs labelled dev texts; this data has none. Use "
                "calibration=batch."
            )
        # The scale is exp(v), so it stays positive; the penalty keeps few dev labels from
        # overfitting.
        gold = np.asarray(targets)
        mean = column_means(logprobs)
        # A text whose own label was not scored has no loss that the values could lower.
        whole = np.isfinite(logprobs[np.arange(len(gold)), gold])
        logprobs, gold = logprobs[whole], gold[whole]

        def loss(values: Array) -> float:
            logits = np.exp(values[0]) * (logprobs - mean) + values[1:]
            probabilities = softmax(logits)[np.arange(len(gold)), gold]
            return float(-np.log(probabilities + 1e-12).mean() + 1e-2 * (values**2).mean())

        best = minimize(loss, np.zeros(1 + logprobs.shape[1]), method="L-BFGS-B").x
        self._scale = float(np.exp(best[0]))
        self._bias = best[1:] - self._scale * mean

    def transform(self, logprobs: Array, asked: Array | None = None) -> Array:
        """Scales, shifts and normalises.

        Raises:
            ConfigError: The calibrator is not fitted.
        """
        if self._bias is None:
            raise ConfigError(
                "temperature calibration was not fitted on dev texts; call fit first."
            )
        return softmax(self._scale * logprobs + self._bias)

    def state_dict(self) -> dict[str, Any]:
        """Returns the scale and the bias."""
        return {"scale": self._scale, "bias": None if self._bias is None else self._bias.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the scale and the bias."""
        self._scale = float(state["scale"])
        self._bias = None if state["bias"] is None else np.asarray(state["bias"])


class PriorMatching(NoCalibration):
    """Biases each label so that its mean probability over all texts scored so far equals its prior.

    After Liusie et al. 2023, "Mitigating Word Bias in Zero-shot Prompt-based Classifiers". The bias
    b solves mean_i softmax(l_i + b)_k = prior_k for the log-probabilities l_i.

    :class:`BatchCalibration` makes the mean log-probabilities equal instead. Labels with nearly
    constant scores (an entity type "none", a vague word) then almost never win. Both assume that
    the prior is the class distribution of the texts. ``bias`` = 0.5 assumes less: it takes half of
    the difference from the prior for the teacher's bias, and half for a true difference between
    the classes. It labels best with teachers of 0.5B and 1.5B and shots
    (docs/results/labelling.md, "Ways of asking").

    Args:
        prior: Shares of the classes among the scored texts: "uniform", or a list with one
            probability per label, positive and with sum 1.
        iterations: Most iterations. Each one multiplies every label's weight by the ratio of its
            prior to its current share.
        tolerance: Relative error of the shares at which the iteration ends.
        keep: Most texts to find the bias over; at least 1. A checkpoint stores their scores. A
            batch with more texts is sampled at even distances, because a pool may be sorted.
        asked: For generated texts, weight of the classes that they were asked for in the prior,
            from 0 to below 1; the rest of the weight has ``prior``.
        bias: Part of the bias b that is added, from 0 to 1.

    Raises:
        ConfigError: The prior is unknown or "estimated", has a value of 0 or less, or does not sum
            to 1; or ``keep`` is below 1, ``asked`` outside [0, 1), or ``bias`` outside [0, 1].
    """

    name = "matched"

    def __init__(
        self,
        prior: Uniform = "uniform",
        iterations: int = 500,
        tolerance: float = 1e-4,
        keep: int = 50_000,
        asked: float = 0.0,
        bias: float = 1.0,
    ) -> None:
        if str(prior) == "estimated":
            raise ConfigError(
                "calibration=matched sets the labels' shares to its prior and cannot estimate it; "
                "calibration=batch can."
            )
        self._prior = ClassPrior(listed(prior), asked)
        if keep < 1:
            raise ConfigError(f"calibration.keep={keep} must be 1 text or more.")
        if not 0 <= bias <= 1:
            raise ConfigError(f"calibration.bias={bias:g} must be between 0 and 1.")
        if bias == HALF:
            self.name = "half_matched"
        self._part = bias
        self._iterations = iterations
        self._tolerance = tolerance
        self._keep = keep
        self._seen: list[Array] = []
        self._shares: list[Array | None] = []
        self._frozen: Array | None = None

    def transform(self, logprobs: Array, asked: Array | None = None) -> Array:
        """Adds the batch to the texts seen, fits the bias over all of them, and calibrates it."""
        shares = self._prior.shares_of(logprobs, asked)
        # At most ``keep`` texts in total, spread evenly over the batch.
        room = min(len(logprobs), self._keep - sum(map(len, self._seen)))
        if room > 0 and self._frozen is None:
            self._seen.append(logprobs[np.linspace(0, len(logprobs) - 1, room).round().astype(int)])
            self._shares.append(shares)
        given = self._prior.shares(logprobs.shape[1])
        seen = self._seen_shares(given)
        bias = self._bias(seen) if self._frozen is None else self._frozen
        if all(one is None for one in (shares, *self._shares)):
            return softmax(logprobs + bias)
        # The bias holds for the mean shares of all batches; this batch has shares of its own.
        return softmax(logprobs + bias + np.log((given if shares is None else shares) / seen))

    def _bias(self, shares: Array) -> Array:
        """Returns what is added to log-probabilities, [labels]."""
        bias: Array = self._part * matching_bias(
            np.concatenate(self._seen), shares, self._iterations, self._tolerance
        )
        return bias

    def freeze(self) -> None:
        """Keeps the bias of the texts so far.

        Raises:
            ConfigError: No text was seen.
        """
        check_seen(self.name, self._seen)
        self._frozen = self._bias(self._seen_shares(self._prior.shares(self._seen[0].shape[1])))

    def _seen_shares(self, given: Array) -> Array:
        """Returns the shares of the classes among all texts seen, [labels]."""
        if all(one is None for one in self._shares):
            return given
        sizes = [len(batch) for batch in self._seen]
        known = [given if one is None else one for one in self._shares]
        return np.average(known, axis=0, weights=sizes)  # type: ignore[no-any-return]

    def state_dict(self) -> dict[str, Any]:
        """Returns the scores of the texts seen, with the shares of each batch."""
        return {
            "seen": [batch.tolist() for batch in self._seen],
            "shares": [None if one is None else one.tolist() for one in self._shares],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the scores of the texts seen, and the shares of each batch."""
        self._seen = [np.asarray(batch) for batch in state["seen"]]
        # Checkpoints of older versions have none.
        shares = state.get("shares") or [None] * len(self._seen)
        self._shares = [None if one is None else np.asarray(one) for one in shares]
        self._frozen = None


def check_seen(name: str, seen: Sized | None) -> None:
    """Refuses to freeze a calibration by texts that has seen none."""
    if seen is None or not len(seen):
        raise ConfigError(f"{name} calibration was frozen before it saw a text.")


def suited_calibration(
    suits_chat: bool,
    prior: Uniform | Literal["auto"] = "auto",
    asked: float = 0.0,
    labels: int = 0,
) -> Calibrator:
    """Builds the calibration that suits a teacher best for classes.

    :class:`PriorMatching`, with half of its bias for a capable chat model, which labels 3 points
    worse with the whole of it (docs/results/labelling.md, "Ways of asking"). Shares that are given
    are matched wholly. With two classes, a capable chat model's labels of a pool have
    :class:`tutelage.labelling.calibration_tracking.PriorTracking`, because one class may
    be rare ("Skewed pools").

    Args:
        suits_chat: Whether the teacher is a chat model, and no very small one.
        prior: Shares of the classes among the scored texts. "auto" tracks the shares of two
            classes with a capable chat model, and has equal shares otherwise. "uniform", a mapping
            from some labels to their shares, or a list with one probability per label, positive
            and with sum 1, holds for every teacher.
        asked: For generated texts, weight of the classes that they were asked for in the prior,
            from 0 to below 1; the rest of the weight has ``prior``.
        labels: Number of classes.

    Raises:
        ConfigError: The prior is unknown, has a value of 0 or less, or does not sum to 1; or
            ``asked`` is outside [0, 1).
    """
    if isinstance(prior, str) and prior == "auto":
        if labels == 2 and suits_chat:
            # It builds on this module.
            from tutelage.labelling.calibration_tracking import PriorTracking

            return PriorTracking(generated="half_matched", asked=asked)
        prior = "uniform"
    is_given = not isinstance(prior, str)
    return PriorMatching(prior, asked=asked, bias=HALF if suits_chat and not is_given else 1.0)
