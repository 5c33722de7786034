"""The review in the report: what people say about the teacher's labels, and the student's."""

from __future__ import annotations

from tutelage.runs.check_records import Review, ReviewedPart, ReviewedScore

_PARTS = {
    "control": "random control",
    "unsure": "least sure",
    "disputed": "most disputed",
}


def part_title(part: ReviewedPart) -> str:
    """Return the name of a part of the sample."""
    return _PARTS[part.part]


def score_line(score: ReviewedScore) -> str:
    """Return a score on the control with its interval."""
    return (
        f"{score.who}: {score.metric} {score.value:.1%} "
        f"(95 % interval {score.low:.1%} to {score.high:.1%})"
    )


def count_line(review: Review) -> str:
    """Return a sentence about what was imported, and what was left out."""
    left = [
        f"{count:,} {what}"
        for count, what in (
            (review.open, "open"),
            (review.skipped, "skipped"),
            (review.undecided, "without a majority"),
        )
        if count
    ]
    people = f"{review.annotators:,} annotator{'' if review.annotators == 1 else 's'}"
    said = f"{review.gold:,} rows labelled by {people}" + "".join(f", {one}" for one in left)
    if review.several:
        said += (
            f"; of {review.several:,} with several votes, {review.agreed:,} have the same label by "
            "all"
        )
    if review.widened:
        said += f"; {review.widened:,} marks were widened to whole words"
    return said
