"""Who decides on a row that several people have labelled."""

from __future__ import annotations

import pytest

from tutelage.review.label_studio import Annotated, Vote
from tutelage.review.votes import Decision, decide


def decided(*votes: Vote, skipped: bool = False) -> Decision:
    return decide(Annotated("Entry 1", "r1", "a text", votes, skipped))


def by(who: str, target: str, *, decides: bool = False, widened: int = 0) -> Vote:
    return Vote(who, target, decides, widened)


@pytest.mark.parametrize(
    ("votes", "target", "agreeing", "of"),
    [
        ((), None, 0, 0),
        ((by("1", "a"),), "a", 1, 1),
        ((by("1", "a"), by("2", "a"), by("3", "b")), "a", 2, 3),
        ((by("1", "a"), by("2", "b")), None, 0, 2),
        ((by("1", "a"), by("2", "b"), by("3", "c"), by("4", "a")), None, 0, 4),
        # The last one of each; without a name each is one.
        ((by("1", "a"), by("2", "b"), by("1", "b")), "b", 2, 2),
        ((by("", "a"), by("", "a"), by("", "b")), "a", 2, 3),
        ((by("1", "a"), by("2", "a"), by("3", "b", decides=True)), "b", 1, 1),
    ],
)
def test_more_than_half_of_the_annotators_decide(
    votes: tuple[Vote, ...], target: str | None, agreeing: int, of: int
) -> None:
    found = decided(*votes)
    assert (found.target, found.agreeing, found.votes) == (target, agreeing, of)


def test_the_widened_marks_are_those_of_the_label_that_counts() -> None:
    found = decided(by("1", "b", widened=7), by("2", "a", widened=2), by("3", "a"))
    assert (found.target, found.widened, found.annotators) == ("a", 2, ("1", "2", "3"))


def test_a_skipped_row_has_no_label() -> None:
    assert decided(skipped=True) == Decision(None, 0, 0, (), True, 0)
