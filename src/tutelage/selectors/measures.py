"""Shared measures: student uncertainty, committee disagreement, teacher confidence.

The uncertainty measures are those of Settles, "Active Learning Literature Survey" (2009), section
2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, did_you_mean
from tutelage.selectors.protocol import EpochView, Floats, Step, Uncertainty

KINDS: tuple[Uncertainty, ...] = get_args(Uncertainty)
"""Names of the uncertainty measures."""


def checked_kind(kind: str) -> Uncertainty:
    """Validates the name of an uncertainty measure.

    Args:
        kind: One of :data:`KINDS`.

    Returns:
        The same name, typed.

    Raises:
        ConfigError: The name is unknown.
    """
    for known in KINDS:
        if kind == known:
            return known
    raise ConfigError(did_you_mean("uncertainty", kind, KINDS))


def uncertainty_of(probabilities: NDArray[Any], kind: Uncertainty) -> NDArray[Any]:
    """Uncertainty of each distribution, in [0, 1].

    - "entropy": entropy divided by log C; 1 for a uniform distribution.
    - "least_confidence": 1 - max p; at most 1 - 1/C.
    - "margin": 1 - (p1 - p2) of the two most probable classes; 1 for a tie.

    With one class, or none, the uncertainty is 0.

    Args:
        probabilities: Array of shape [..., C]. Zeros count as 0 log 0 = 0.
        kind: "entropy", "least_confidence" or "margin".

    Returns:
        Array of shape [...], of the same float width; NaN for distributions holding a NaN.

    Raises:
        ConfigError: ``kind`` is unknown.
    """
    checked_kind(kind)
    values = np.asarray(probabilities)
    if not np.issubdtype(values.dtype, np.floating):
        values = values.astype(np.float64)
    classes = values.shape[-1]
    if classes <= 1:
        # Summing keeps NaN.
        nothing: NDArray[Any] = values.sum(axis=-1) * 0
        return nothing
    if kind == "entropy":
        found = _entropy(values) / values.dtype.type(np.log(classes))
    elif kind == "least_confidence":
        found = 1 - values.max(axis=-1)
    else:
        # Partitioning ranks NaN highest, so the difference becomes NaN too.
        best = np.partition(values, classes - 2, axis=-1)
        found = 1 - (best[..., -1] - best[..., -2])
    # Rounding may leave the range by a few units in the last place.
    clipped: NDArray[Any] = np.clip(found, 0, 1)
    return clipped


def row_uncertainty(step: Step, kind: Uncertainty) -> Floats:
    """Uncertainty of each row of a batch: the mean over its decided units.

    Args:
        step: The batch.
        kind: "entropy", "least_confidence" or "margin".

    Returns:
        Array of shape [B], in [0, 1]; 0 for a row without units (a text of which the student sees
        no word), NaN for a row with a non-finite probability.

    Raises:
        ConfigError: ``kind`` is unknown.
    """
    rows = len(step.ids)
    with np.errstate(invalid="ignore"):
        # An infinite probability has to give NaN as well, not a clipped value.
        units = np.where(
            np.isfinite(step.probabilities).all(axis=-1),
            uncertainty_of(step.probabilities, kind),
            np.nan,
        )
    # Mean over the units of each row; NaN in one unit makes the row NaN.
    counts = np.bincount(step.owners, minlength=rows)
    means: Floats = np.bincount(step.owners, weights=units, minlength=rows) / np.maximum(counts, 1)
    return means


def mutual_information(mean: NDArray[Any], mean_entropy: NDArray[Any]) -> NDArray[Any]:
    """Disagreement of a committee: entropy of the mean minus mean of the entropies, in nats.

    BALD (Houlsby et al. 2011, section 2); over dropout masks, Gal, Islam and Ghahramani 2017,
    equation 3.

    Args:
        mean: Mean of the members' distributions, [..., C].
        mean_entropy: Mean of the members' entropies in nats, [...].

    Returns:
        Array of shape [...], at least 0.
    """
    found: NDArray[Any] = np.maximum(_entropy(mean) - mean_entropy, 0)
    return found


def divergence(logs: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """Kullback-Leibler divergence of other distributions from given ones, in nats.

    Args:
        logs: Logarithms of the given distributions, [..., C].
        others: Logarithms of the others, [..., C].

    Returns:
        Array of shape [...], at least 0; NaN where a distribution holds a NaN.
    """
    found: NDArray[Any] = np.maximum((np.exp(logs) * (logs - others)).sum(axis=-1), 0)
    return found


def _entropy(values: NDArray[Any]) -> NDArray[Any]:
    from scipy.special import entr

    found: NDArray[Any] = entr(np.maximum(values, 0)).sum(axis=-1)
    return found


Confidence = Literal["mean", "least", "agreement"]
AGGREGATES: tuple[Confidence, ...] = get_args(Confidence)


@dataclass(frozen=True, slots=True)
class TeacherConfidence:
    """Picks one of the teacher's confidences in a row.

    For classification "mean" and "least" are the same number.

    Attributes:
        kind: "mean", the mean over the entities of a row; "least", the confidence of its least
            certain entity; or "agreement", 1 - the disagreement of a teacher ensemble.

    Raises:
        ConfigError: ``kind`` is unknown.
    """

    kind: Confidence = "mean"

    def __post_init__(self) -> None:
        """Validates ``kind``."""
        if self.kind not in AGGREGATES:
            raise ConfigError(did_you_mean("select.confidence", str(self.kind), AGGREGATES))

    def of(self, rows: Step | EpochView) -> Floats:
        """The confidence in each row.

        Args:
            rows: A batch of B rows, or an epoch of M rows.

        Returns:
            Array of shape [B] or [M], in [0, 1]; for "agreement" NaN without an ensemble's opinion.

        Raises:
            ConfigError: For "agreement", no row of an epoch has an ensemble's opinion.
        """
        if self.kind == "mean":
            return rows.confidence
        if self.kind == "least":
            return rows.least_confidence
        found = rows.disagreement
        agreement: Floats = np.full(len(rows.ids), np.nan) if found is None else 1.0 - found
        judged = agreement[~rows.gold]
        if isinstance(rows, EpochView) and len(judged) and np.isnan(judged).all():
            raise ConfigError(
                "select.confidence=agreement compares the members of a teacher ensemble, and none "
                f"of the {len(judged)} rows to choose from was labelled by one. Give "
                "labelling=ensemble, or select.confidence=mean."
            )
        return agreement
