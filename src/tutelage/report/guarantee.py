"""The guarantee in the report: threshold and sets of labels, and what they do on dev and test."""

from __future__ import annotations

from tutelage.runs.check_records import Guarantee, GuaranteedSplit

CAVEAT = (
    "This holds for texts drawn like dev, and for no others: a shift of the texts (other subjects, "
    "other shares of the classes, another time) breaks the guarantee. Draw dev like the texts that "
    "will be predicted."
)
_WHO = {
    "student": "student alone",
    "teacher": "teacher alone",
    "both": "student, else teacher",
}


def threshold_line(guarantee: Guarantee) -> str:
    """Return a sentence about the threshold, or about the dev texts that one needs."""
    dev = guarantee.splits[0]
    target = (
        f"an accuracy of {guarantee.accuracy:.1%} with a probability of {1 - guarantee.risk:.1%}"
    )
    if guarantee.threshold is None:
        return (
            f"No threshold has {target} on {dev.texts:,} dev texts. It takes at least "
            f"{guarantee.missing:,} more dev texts, all of them predicted right, or a lower "
            "--accuracy"
        )
    return (
        f"Predictions with a confidence of {guarantee.threshold:.4f} or more have {target}; they "
        f"are {dev.kept:,} of {dev.texts:,} dev texts ({dev.kept / dev.texts:.1%})"
    )


def set_line(guarantee: Guarantee) -> str:
    """Return a sentence about the sets of labels; "" for NER."""
    if guarantee.probability is None:
        return ""
    least = (
        f"all labels with a probability of {guarantee.probability:.4f} or more"
        if guarantee.probability
        else "every label (dev is too small for less)"
    )
    return f"The set of {least} holds the right one with a probability of {guarantee.coverage:.1%}"


def split_cells(split: GuaranteedSplit) -> tuple[str, ...]:
    """Return share kept, accuracy of the kept, share of sets with the right label, mean size."""
    return (
        f"{split.kept / split.texts:.1%}",
        f"{split.right / split.kept:.1%}" if split.kept else "–",
        "–" if split.covered is None else f"{split.covered / split.texts:.1%}",
        "–" if split.labels is None else f"{split.labels / split.texts:.2f}",
    )


def route_cells(guarantee: Guarantee) -> list[tuple[str, str, str]]:
    """Return, for each way to answer, its name, its accuracy and tokens per 1,000 texts."""
    return [
        (
            _WHO[one.who],
            f"{one.accuracy:.1%}",
            "–" if one.tokens is None else f"{one.tokens:,.0f}",
        )
        for one in guarantee.routes
    ]


def routed_line(guarantee: Guarantee) -> str:
    """Return a sentence about the shares of test that student and teacher answer; "" without."""
    if not guarantee.routes:
        return ""
    test = guarantee.splits[-1]
    share = test.kept / test.texts
    return f"On test the student answers {share:.1%}, and {1 - share:.1%} go to the teacher"
