"""The label of a row from the annotations of several people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tutelage.review.label_studio import Annotated, Vote


@dataclass(frozen=True, slots=True)
class Decision:
    """What the annotators of a row decided.

    Attributes:
        target: The label; None if nobody gave one, or if no majority agrees.
        votes: Number of votes.
        agreeing: How many of them are for the label.
        annotators: Who voted, as the export names them.
        skipped: Whether every annotator skipped the row.
        widened: For NER, marks of the decisive annotation that were widened to whole words.
    """

    target: str | None
    votes: int
    agreeing: int
    annotators: tuple[str, ...]
    skipped: bool
    widened: int


def decide(task: Annotated) -> Decision:
    """Returns the label that more than half of the annotators give.

    Each annotator has one vote, the last. Annotations that are marked as ground truth overrule the
    others. For entities the whole text counts: two annotators agree if all of their entities do.
    """
    # An annotation without a name is a vote of its own.
    last = {vote.annotator or index: vote for index, vote in enumerate(task.votes)}
    votes: list[Vote] = list(last.values())
    votes = [vote for vote in votes if vote.decides] or votes
    names = tuple(sorted({vote.annotator for vote in votes} - {""}))
    (target, count), *_ = Counter(vote.target for vote in votes).most_common(1) or [("", 0)]
    if 2 * count <= len(votes):
        return Decision(None, len(votes), 0, names, task.skipped, 0)
    widened = next(vote.widened for vote in votes if vote.target == target)
    return Decision(target, len(votes), count, names, False, widened)
