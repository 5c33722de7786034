"""How many texts a round asks for, by class: more where the student is weak (EvoKD's adaptivity)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tutelage.records import ClassScore


def class_quota(
    total: int, labels: Sequence[str], scores: Mapping[str, ClassScore], focus: float, smoothing: float = 4.0, slack: float = 0.1
) -> dict[str, int]:
    """Share ``total`` among ``labels``: a part evenly, a part in proportion to 1 - F1.

    F1 of a class is drawn towards the mean by ``smoothing`` examples' worth, since a round's batch holds few of each class, and
    ``slack`` is added to every weakness: where all are near 0 a single mistake must not draw half a round to its class.
    Rounded by largest remainder, ties in label order; the values sum to ``total``.

    Args:
        focus: the part shared by weakness, in [0, 1]; 0 is even.
    """
    f1 = {label: scores[label].f1 if label in scores else 0.0 for label in labels}
    support = {label: scores[label].support if label in scores else 0 for label in labels}
    mean = sum(f1.values()) / len(labels)
    weakness = {label: slack + 1.0 - (f1[label] * support[label] + mean * smoothing) / (support[label] + smoothing) for label in labels}
    whole = sum(weakness.values())
    shares = {
        label: total * ((1 - focus) / len(labels) + focus * (weakness[label] / whole if whole > 0 else 1 / len(labels))) for label in labels
    }
    quota = {label: int(share) for label, share in shares.items()}
    by_remainder = sorted(labels, key=lambda label: -(shares[label] - quota[label]))
    for label in by_remainder[: total - sum(quota.values())]:
        quota[label] += 1
    return quota
