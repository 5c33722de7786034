"""Prior of a calibration: the shares of the classes among the texts that are scored.

All arithmetic is on natural-log probabilities of the labels, in arrays of shape [texts, labels]. A
label that was not scored for a text has the log-probability -inf there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, did_you_mean

Array = NDArray[np.float64]


def softmax(logits: Array) -> Array:
    """Returns the softmax of each row, [texts, labels].

    A label at -inf has probability 0. In a row of nothing else, all labels are equally probable.
    """
    # Without this, a row without any scored label would be 0 / 0.
    logits = np.where(np.isneginf(logits.max(axis=1, keepdims=True)), 0.0, logits)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def column_means(logprobs: Array) -> Array:
    """Returns the mean of each label over the texts it was scored for, [labels].

    A label that was scored for no text has the mean of the other labels' means.
    """
    scored = np.isfinite(logprobs)
    count = scored.sum(axis=0)
    means: Array = np.where(scored, logprobs, 0.0).sum(axis=0) / np.maximum(count, 1)
    known = count > 0
    return means if known.all() or not known.any() else np.where(known, means, means[known].mean())


def centred_rows(logprobs: Array) -> Array:
    """Subtracts from each row the mean of its scored labels; the others stay at -inf."""
    scored = np.isfinite(logprobs)
    count = np.maximum(scored.sum(axis=1, keepdims=True), 1)
    centred: Array = logprobs - np.where(scored, logprobs, 0.0).sum(axis=1, keepdims=True) / count
    return centred


def listed(prior: str | Mapping[str, float] | Sequence[float]) -> str | Sequence[float]:
    """Returns a prior as a name or a list.

    Raises:
        TypeError: It is a mapping, which :func:`shares_by_name` lists first.
    """
    if isinstance(prior, Mapping):
        raise TypeError("a prior by label names has no order; see shares_by_name.")
    return prior


def shares_by_name(prior: Mapping[str, float], names: Sequence[str]) -> list[float]:
    """Returns the share of each label; labels without a share have equal parts of the rest.

    Args:
        prior: Shares of some labels, by name.
        names: Names of all labels, in order.

    Raises:
        ConfigError: There is no such label, or nothing is left for the other labels.
    """
    for name in prior:
        if name not in names:
            raise ConfigError(did_you_mean("label of calibration.prior", name, names))
    others = [name for name in names if name not in prior]
    left = 1 - sum(prior.values())
    if others and left <= 0:
        raise ConfigError(
            f"calibration.prior={dict(prior)} leaves no share for {', '.join(others)}. Lower the "
            "shares, which are between 0 and 1."
        )
    return [prior[name] if name in prior else left / len(others) for name in names]


class ClassPrior:
    """Shares of the classes among the texts of a batch.

    Args:
        prior: "uniform", another allowed name, or one probability per label, positive and with
            sum 1. It holds for texts that nobody asked for, such as those of a pool.
        asked: Weight of the classes that generated texts were asked for, from 0 to below 1.
        names: The allowed names.

    Raises:
        ConfigError: The name is unknown, the probabilities are not positive or do not sum to 1, or
            the weight is outside [0, 1).
    """

    def __init__(
        self,
        prior: str | Sequence[float],
        asked: float = 0.0,
        names: Sequence[str] = ("uniform",),
    ) -> None:
        if isinstance(prior, str):
            if prior not in names:
                raise ConfigError(
                    f"calibration.prior is '{prior}'. Set it to {', '.join(names)}, or to a list "
                    "with one probability per label."
                )
        else:
            values = np.asarray(prior, dtype=np.float64)
            if (values <= 0).any() or not np.isclose(values.sum(), 1.0, atol=1e-3):
                raise ConfigError(
                    f"calibration.prior={list(prior)} must be positive and sum to 1 (it sums to "
                    f"{values.sum():.4g})."
                )
        if not 0 <= asked < 1:
            raise ConfigError(
                f"calibration.asked={asked:g} must be at least 0 and below 1: at 1, a class that "
                "no text was asked for could not be a label."
            )
        self._prior = prior
        self._asked = asked

    @property
    def is_uniform(self) -> bool:
        """Whether texts that nobody asked for have equal shares."""
        return isinstance(self._prior, str)

    def shares(self, labels: int) -> Array:
        """Returns the shares among texts that nobody asked for, [labels].

        Raises:
            ConfigError: The number of probabilities is not the number of labels.
        """
        if isinstance(self._prior, str):
            return np.full(labels, 1 / labels)
        if len(self._prior) != labels:
            raise ConfigError(
                f"calibration.prior has {len(self._prior)} values for {labels} labels. Give one "
                "value per label, in the order of the labels."
            )
        return np.asarray(self._prior, dtype=np.float64)

    def shares_of(self, logprobs: Array, asked: Array | None) -> Array | None:
        """Returns the shares in a batch with texts that were asked for by class.

        Each such text counts as its class with the weight ``asked``; the rest of it, and every
        other text, as the prior.

        Args:
            logprobs: Log-probabilities of the batch, [texts, labels].
            asked: Number of texts asked for by label, [labels]; None without such texts.

        Returns:
            The shares, [labels]; None if the asked classes do not count.
        """
        if asked is None or not self._asked:
            return None
        texts, labels = logprobs.shape
        known = self._asked * asked
        return (known + (texts - known.sum()) * self.shares(labels)) / texts  # type: ignore[no-any-return]


def matching_bias(logprobs: Array, prior: Array, iterations: int, tolerance: float) -> Array:
    """Returns the bias that gives each label its share of the texts.

    The bias b solves sum_i softmax(l_i + b)_k = prior_k · texts for the log-probabilities l_i. Each
    step multiplies every label's weight by the ratio of its prior to its current share. A label
    that was scored for no text has no share, and keeps the bias 0.

    Args:
        logprobs: Log-probabilities of the labels, [texts, labels].
        prior: Share of each label, [labels].
        iterations: Most iterations.
        tolerance: Relative error of the shares at which the iteration ends.

    Returns:
        The bias, [labels].
    """
    known = np.isfinite(logprobs).any(axis=0)
    if not known.all():
        found = np.zeros(logprobs.shape[1])
        if known.any():
            prior = prior[known] / prior[known].sum()
            found[known] = matching_bias(logprobs[:, known], prior, iterations, tolerance)
        return found
    # Centre each row on its own mean: a constant carries no information, and must not shift the
    # start of the iteration.
    centred = centred_rows(logprobs)
    bias = -column_means(centred)
    # Each step raises the bias of labels below their share, and lowers that of the others.
    for _ in range(iterations):
        missing = np.log(prior) - np.log(
            np.maximum(softmax(centred + bias).mean(axis=0), np.finfo(np.float64).tiny)
        )
        bias = bias + missing
        if np.abs(missing).max() < tolerance:
            break
    return bias


def mixture_correction(logprobs: Array, iterations: int) -> Array:
    """Estimates prior and bias with a mixture of one Gaussian per class.

    A text of class k scores bias + signal · (e_k - 1/K) + noise, with each row centred on its own
    mean. Expectation-maximisation finds the shares, the bias, the signal and the single variance of
    the noise. It starts from a weak, a medium and a strong signal, and the most likely fit wins. A
    plain mean moves with the shares, and would mistake a skewed pool for a biased teacher.

    Args:
        logprobs: Log-probabilities of the labels, [texts, labels].
        iterations: Most iterations from each start.

    Returns:
        The correction to add to the log-probabilities, [labels].
    """
    # Texts without any scored label say nothing.
    logprobs = logprobs[np.isfinite(logprobs).any(axis=1)]
    if not len(logprobs):
        return np.zeros(logprobs.shape[1])
    centred = centred_rows(logprobs)
    scored = np.isfinite(centred)
    mean = column_means(centred)
    centred = np.where(scored, centred, 0.0)
    spread = float((np.where(scored, centred - mean, 0.0) ** 2).sum(axis=1).mean())
    fits = [
        _mixture(centred, scored, mean, spread, explained, iterations)
        for explained in (0.1, 0.4, 0.8)
    ]
    return max(fits, key=lambda fit: fit[0])[1]


def _mixture(
    centred: Array,
    scored: NDArray[np.bool_],
    mean: Array,
    spread: float,
    explained: float,
    iterations: int,
) -> tuple[float, Array]:
    """Fits the mixture from one starting point.

    Args:
        centred: Log-probabilities, each row centred on its mean, [texts, labels].
        scored: Which of them are known; the others are 0.
        mean: Mean of each label, [labels].
        spread: Mean squared distance of the rows from their mean.
        explained: Share of the spread that the classes explain at the start.
        iterations: Most iterations.

    Returns:
        The log-likelihood and the correction, [labels].
    """
    # Start: even shares, and the spread divided between signal and noise.
    count, labels = centred.shape
    prior = np.full(labels, 1 / labels)
    bias, signal = mean, float(np.sqrt(explained * spread / (1 - 1 / labels)))
    variance = max((1 - explained) * spread / (labels - 1), 1e-6)
    best = -np.inf
    for _ in range(iterations):
        # Expectation: the probability of each class for each text, and the log-likelihood with a
        # Dirichlet prior on the shares.
        rest = np.where(scored, centred - bias, 0.0)
        distance = (
            (rest**2).sum(axis=1, keepdims=True) - 2 * signal * rest + signal**2 * (1 - 1 / labels)
        )
        joint = np.where(scored, np.log(prior) - distance / (2 * variance), -np.inf)
        top = joint.max(axis=1, keepdims=True)
        evidence = top[:, 0] + np.log(np.exp(joint - top).sum(axis=1))
        likelihood = float(
            evidence.sum() - count * (labels - 1) / 2 * np.log(variance) + np.log(prior).sum()
        )
        if likelihood - best < 1e-6 * count:
            break
        best = likelihood
        share = softmax(joint)
        # Maximisation. One extra text per class keeps its share above 0.
        prior = (share.sum(axis=0) + 1) / (count + labels)
        shares = share.mean(axis=0)
        signal = max(
            float(
                (share * (centred - mean)).sum() / count / max(1 - float((shares**2).sum()), 1e-9)
            ),
            1e-3,
        )
        bias = mean - signal * (shares - 1 / labels)
        rest = np.where(scored, centred - bias, 0.0)
        residual = (rest**2).sum() - 2 * signal * (share * rest).sum()
        variance = max(float(residual / count + signal**2 * (1 - 1 / labels)) / (labels - 1), 1e-6)
    # The classes may be further apart than their probabilities suggest. The full logarithm of the
    # prior would then outweigh the text, so it is scaled down.
    correction: Array = min(1.0, variance / signal) * np.log(prior) - bias
    return likelihood, correction


def tracked_prior(logprobs: Array, strength: float, iterations: int, tolerance: float) -> Array:
    """Estimates the shares of the classes with expectation-maximisation.

    After Saerens et al. 2002, "Adjusting the Outputs of a Classifier to New a Priori
    Probabilities", with a Dirichlet distribution over the shares that is centred on equal ones:
    prior_k = (strength / K + sum_i q_ik) / (strength + texts), where q_ik is proportional to
    prior_k · exp(l_ik). Few texts hardly move it, which plain maximisation would let run away.

    Args:
        logprobs: Log-probabilities of the labels, [texts, labels].
        strength: Number of texts that the equal shares count as, above 0.
        iterations: Most iterations.
        tolerance: Largest change of a share at which the iteration ends.

    Returns:
        The shares, [labels]; they sum to 1.
    """
    texts, labels = logprobs.shape
    prior = np.full(labels, 1 / labels)
    for _ in range(iterations):
        counted = softmax(logprobs + np.log(prior)).sum(axis=0)
        before, prior = prior, (strength / labels + counted) / (strength + texts)
        if np.abs(prior - before).max() < tolerance:
            break
    return prior
