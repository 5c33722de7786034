"""FOLD: selectors.measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, did_you_mean
from tutelage.selectors.protocol import EpochView, Floats, Step, Uncertainty

# FOLD: How unsure distributions are, by the three measures of Settles' survey ("Active Learning Literature Survey", 2009, section 2.1).
KINDS: tuple[Uncertainty, ...] = get_args(Uncertainty)
"""The measures, by name."""


def checked_kind(kind: str) -> Uncertainty:
    """``kind``, if it is one of :data:`KINDS`.

    Raises:
        ConfigError: it is not.
    """
    for known in KINDS:
        if kind == known:
            return known
    raise ConfigError(did_you_mean("uncertainty", kind, KINDS))


def uncertainty_of(probabilities: NDArray[Any], kind: Uncertainty) -> NDArray[Any]:
    """The uncertainty of each distribution, in [0, 1], float of the same width; one row that is not a number gives one that is not.

    "entropy": over the natural logarithm of C, 1 for an even distribution. "least_confidence": 1 - max p, at most 1 - 1/C. "margin":
    1 - (p1 - p2) of the two most probable classes, 1 where they are level. With one class (or none) nothing is uncertain: 0.

    Args:
        probabilities: [N, C]; leading dimensions are kept, the last one is the classes. Zeros count as 0 log 0 = 0.

    Raises:
        ConfigError: ``kind`` is none of the three.
    """
    checked_kind(kind)
    values = np.asarray(probabilities)
    if not np.issubdtype(values.dtype, np.floating):
        values = values.astype(np.float64)
    classes = values.shape[-1]
    if classes <= 1:
        # The sum keeps what is not a number.
        nothing: NDArray[Any] = values.sum(axis=-1) * 0
        return nothing
    if kind == "entropy":
        found = _entropy(values) / values.dtype.type(np.log(classes))
    elif kind == "least_confidence":
        found = 1 - values.max(axis=-1)
    else:
        # Partitioning ranks what is not a number highest, so that the difference is not one either.
        best = np.partition(values, classes - 2, axis=-1)
        found = 1 - (best[..., -1] - best[..., -2])
    clipped: NDArray[Any] = np.clip(found, 0, 1)
    return clipped


def row_uncertainty(step: Step, kind: Uncertainty) -> Floats:
    """The uncertainty of each row of a batch, the mean over its decided units, in [0, 1], [B].

    0 for a row without any (a text with no word that the student sees has nothing to be unsure of), and not a number for a row of which
    any probability is not a finite one.

    Raises:
        ConfigError: ``kind`` is none of the three.
    """
    rows = len(step.ids)
    with np.errstate(invalid="ignore"):
        units = np.where(
            np.isfinite(step.probabilities).all(axis=-1),
            uncertainty_of(step.probabilities, kind),
            np.nan,
        )
    counts = np.bincount(step.owners, minlength=rows)
    means: Floats = np.bincount(step.owners, weights=units, minlength=rows) / np.maximum(counts, 1)
    return means


def mutual_information(mean: NDArray[Any], mean_entropy: NDArray[Any]) -> NDArray[Any]:
    """How much the members of a committee disagree: the entropy of their mean minus the mean of their entropies, in nats, at least 0.

    "BALD" (Houlsby et al. 2011, section 2); over dropout masks Gal, Islam and Ghahramani 2017, equation 3.

    Args:
        mean: of the members' distributions, [..., C].
        mean_entropy: of their entropies in nats, [...].
    """
    found: NDArray[Any] = np.maximum(_entropy(mean) - mean_entropy, 0)
    return found


def _entropy(values: NDArray[Any]) -> NDArray[Any]:
    from scipy.special import entr

    found: NDArray[Any] = entr(np.maximum(values, 0)).sum(axis=-1)
    return found


# FOLD: Which of the teacher's two confidences a selector looks at.
AGGREGATES = ("mean", "least")


@dataclass(frozen=True, slots=True)
class TeacherConfidence:
    """The teacher's confidence in a row. For classification both kinds are the same number.

    Attributes:
        kind: for NER "mean" is the mean over the row's entities, "least" that of its least certain entity.

    Raises:
        ConfigError: ``kind`` is neither.
    """

    kind: Literal["mean", "least"] = "mean"

    def __post_init__(self) -> None:
        """Check the kind."""
        if self.kind not in AGGREGATES:
            raise ConfigError(did_you_mean("selector.confidence", str(self.kind), AGGREGATES))

    def of(self, rows: Step | EpochView) -> Floats:
        """One number in [0, 1] for each row, [B] or [M]."""
        return rows.confidence if self.kind == "mean" else rows.least_confidence
