"""Number of texts per class and kind in a round of EvoKD."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tutelage.records import ClassScore, Source

Quota = dict[Source, dict[str, int]]
"""Number of texts by kind and class."""


@dataclass(frozen=True, slots=True)
class TextGroup:
    """Texts of a round that are asked for alike.

    Attributes:
        kind: Source of the future rows.
        label: The class.
        count: Number of texts.
        style: Cell of the attribute grid; None draws one for each text.
        partner: Class that the student takes such texts for; None leaves it to ``method.pairs``.
        rewrites: Rewrite the rows of the class with the highest student loss.
        detail: Background for the rows, as (name, value).
    """

    kind: Source
    label: str
    count: int
    style: str | None = None
    partner: str | None = None
    rewrites: bool = False
    detail: tuple[tuple[str, str], ...] = ()


def class_quota(
    total: int,
    labels: Sequence[str],
    scores: Mapping[str, ClassScore],
    focus: float,
    smoothing: float = 4.0,
    slack: float = 0.1,
) -> dict[str, int]:
    """Shares texts among the classes, with more for weak ones (EvoKD's adaptivity).

    One part is shared evenly, the other in proportion to 1 - F1. Rounding goes by largest
    remainder, ties in label order.

    Args:
        total: Number of texts.
        labels: The classes.
        scores: Scores by class; a class without a score counts as F1 0 over no example.
        focus: The part shared by weakness, in [0, 1]; 0 shares evenly.
        smoothing: Weight of the mean F1 in the F1 of each class, in examples: the batch of a round
            has few examples per class.
        slack: Added to each weakness. With all F1 near 1, a single mistake must not draw half of a
            round to its class.

    Returns:
        The number of texts by class, summing to ``total``.
    """
    # Weakness by smoothed F1.
    f1 = {label: scores[label].f1 if label in scores else 0.0 for label in labels}
    support = {label: scores[label].support if label in scores else 0 for label in labels}
    mean = sum(f1.values()) / len(labels)
    weakness = {
        label: slack
        + 1.0
        - (f1[label] * support[label] + mean * smoothing) / (support[label] + smoothing)
        for label in labels
    }
    return _shared_out(total, labels, weakness, focus)


def mistake_quota(
    total: int, labels: Sequence[str], mistakes: Mapping[str, int], focus: float
) -> dict[str, int]:
    """Shares texts among the classes, with more for those of many mistakes.

    Where the student is unsure of all texts, its F1 is much the same for all classes, and says
    little about where it errs. The mistakes that the teacher vouches for do.

    Args:
        total: Number of texts.
        labels: The classes.
        mistakes: Number of mistakes by class.
        focus: The part shared in proportion to the mistakes, in [0, 1]; the other part, and without
            mistakes all of it, is shared evenly.

    Returns:
        The number of texts by class, summing to ``total``.
    """
    return _shared_out(total, labels, {label: mistakes.get(label, 0) for label in labels}, focus)


def _shared_out(
    total: int, labels: Sequence[str], weakness: Mapping[str, float], focus: float
) -> dict[str, int]:
    # One part evenly, the other by weakness.
    whole = sum(weakness.values())
    shares = {
        label: total
        * (
            (1 - focus) / len(labels)
            + focus * (weakness[label] / whole if whole > 0 else 1 / len(labels))
        )
        for label in labels
    }
    # Round by largest remainder.
    quota = {label: int(share) for label, share in shares.items()}
    by_remainder = sorted(labels, key=lambda label: -(shares[label] - quota[label]))
    for label in by_remainder[: total - sum(quota.values())]:
        quota[label] += 1
    return quota


def by_class(groups: Iterable[TextGroup]) -> dict[str, int]:
    """Returns the number of texts by class, of all kinds together."""
    total: Counter[str] = Counter()
    for group in groups:
        total[group.label] += group.count
    return dict(total)
