"""Rows rejected for different names share one reason."""

from __future__ import annotations

import pytest

from tutelage.report.figures_rows import reason_kind

NAMES = (
    "Rome",
    "Clara Dune",
    "O'Brien's",
    'the "Blue" Star',
    """Ada's "Star" line""",
    "back\\slash",
    "two\nlines",
    "' or",
    "",
    "Boeing 747",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("does not hold {!r}", "does not hold …"),
        ("{!r} did not survive", "… did not survive"),
        ("{!r} is a name, says the labelling query", "… is a name, says the labelling query"),
        (
            "labelling failed: the quote {!r} is not in the sentence",
            "labelling failed: the quote … is not in the sentence",
        ),
        (
            "labelling failed: the quote {!r} is 1 times in the sentence, there is no occurrence 2",
            "labelling failed: the quote … is … times in the sentence, there is no occurrence …",
        ),
        (
            "labelling failed: does not fit the schema at $[3].type: "
            "{!r} is not one of ['person', 'place']",
            None,
        ),
    ],
)
def test_a_name_is_left_out_wherever_it_stands(name: str, reason: str, kind: str | None) -> None:
    found = reason_kind(reason.format(name))
    assert found == (
        kind or "labelling failed: does not fit the schema at $[…].type: … is not one of […, …]"
    )


@pytest.mark.parametrize(
    "reason",
    [
        "near duplicate of pool",
        "under 3 words",
        "not among the surest 50% of its class",
        "confidence below 0.6",
        "the classes' words don't fit the teacher's",
    ],
)
def test_a_reason_without_a_name_is_as_it_was_written(reason: str) -> None:
    assert reason_kind(reason) == reason


def test_a_name_that_was_cut_off_ends_the_reason() -> None:
    assert (
        reason_kind("does not fit the schema at $: 'W" + "w" * 300)
        == "does not fit the schema at $: …"
    )
    assert (
        reason_kind("request failed: not JSON: line 3 column 17 (char 80)")
        == "request failed: not JSON: line … column … (char …)"
    )
    assert reason_kind("") == "no reason given"
