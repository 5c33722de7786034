"""Every kind of annotation error, and the pairing of wrong predictions."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nervaluate import Evaluator
from tests.unit.tasks.test_spans import TYPES, markings

from tutelage.tasks.span_errors import SpanError, span_errors
from tutelage.tasks.spans import Span, to_tags

PER, LOC = Span(0, 2, "PER"), Span(4, 6, "LOC")


@pytest.mark.parametrize(
    ("predicted", "kind"),
    [
        (Span(0, 2, "LOC"), "type"),
        (Span(0, 3, "PER"), "boundary"),
        (Span(1, 2, "PER"), "boundary"),
        (Span(1, 4, "LOC"), "type and boundary"),
    ],
)
def test_an_entity_that_was_seen_otherwise(predicted: Span, kind: str) -> None:
    error = SpanError(kind, PER, predicted)  # type: ignore[arg-type]
    assert span_errors([PER, LOC], [predicted, LOC]) == [error]


def test_missed_and_invented_in_the_order_of_the_text() -> None:
    invented = Span(2, 4, "PER")
    assert span_errors([PER, LOC], [invented]) == [
        SpanError("missed", PER, None),
        SpanError("invented", None, invented),
        SpanError("missed", LOC, None),
    ]
    assert span_errors([PER, LOC], [LOC, PER]) == []
    assert span_errors([], []) == []


def test_the_partner_shares_the_most_words_and_of_equals_the_type() -> None:
    wide = Span(0, 6, "LOC")
    assert span_errors([Span(0, 2, "LOC"), Span(2, 6, "PER")], [wide]) == [
        SpanError("missed", Span(0, 2, "LOC"), None),
        SpanError("type and boundary", Span(2, 6, "PER"), wide),
    ]
    assert span_errors([Span(0, 3, "PER"), Span(3, 6, "LOC")], [wide]) == [
        SpanError("missed", Span(0, 3, "PER"), None),
        SpanError("boundary", Span(3, 6, "LOC"), wide),
    ]
    # A correct entity is never paired.
    assert span_errors([PER], [PER, Span(2, 3, "PER")]) == [
        SpanError("invented", None, Span(2, 3, "PER"))
    ]


@given(markings(), markings())
def test_every_wrong_span_is_in_exactly_one_error(
    one: tuple[list[Span], int], other: tuple[list[Span], int]
) -> None:
    gold, predicted = one[0], other[0]
    errors = span_errors(gold, predicted)
    assert sorted(error.gold for error in errors if error.gold) == sorted(
        set(gold) - set(predicted)
    )
    assert sorted(error.predicted for error in errors if error.predicted) == sorted(
        set(predicted) - set(gold)
    )
    for error in errors:
        assert (error.kind == "missed") == (error.predicted is None)
        assert (error.kind == "invented") == (error.gold is None)
        if error.gold and error.predicted:
            assert error.gold.start < error.predicted.end
            assert error.predicted.start < error.gold.end
            same_words, same_type = (
                error.gold[:2] == error.predicted[:2],
                error.gold.type == error.predicted.type,
            )
            assert (
                error.kind
                == {
                    (True, False): "type",
                    (False, True): "boundary",
                    (False, False): "type and boundary",
                }[same_words, same_type]
            )
    assert span_errors(reversed(gold), reversed(predicted)) == errors


def muc(gold: list[Span], predicted: list[Span]) -> dict[str, list[int]]:
    """Correct, incorrect, partial, missed and spurious counts of each scheme, from our kinds."""
    kinds = Counter(error.kind for error in span_errors(gold, predicted))
    right, type, boundary, both = (
        len(set(gold) & set(predicted)),
        kinds["type"],
        kinds["boundary"],
        kinds["type and boundary"],
    )
    alone = [kinds["missed"], kinds["invented"]]
    return {
        "strict": [right, type + boundary + both, 0, *alone],
        "exact": [right + type, boundary + both, 0, *alone],
        "partial": [right + type, 0, boundary + both, *alone],
        "ent_type": [right + boundary, type + both, 0, *alone],
    }


def nervaluated(gold: list[Span], predicted: list[Span]) -> dict[str, list[int]]:
    """The same counts by nervaluate, from tags."""
    counted = Evaluator(
        [to_tags(gold, 12)], [to_tags(predicted, 12)], tags=list(TYPES), loader="list"
    ).evaluate()["overall"]
    return {
        way: [one.correct, one.incorrect, one.partial, one.missed, one.spurious]
        for way, one in counted.items()
    }


def uncontested(spans: list[Span], others: list[Span]) -> list[Span]:
    return [
        one
        for one in spans
        if sum(one.start < other.end and other.start < one.end for other in others) < 2
    ]


@st.composite
def seen_otherwise(draw: st.DrawFn) -> tuple[list[Span], list[Span]]:
    """Spans, and the same spans with moved edges and wrong types."""
    gold, length = draw(markings())
    predicted: list[Span] = []
    for span in gold:
        free = predicted[-1].end if predicted else 0
        start, end = (
            max(free, span.start + draw(st.integers(-1, 2))),
            min(length, span.end + draw(st.integers(-1, 2))),
        )
        if start < end:
            predicted.append(Span(start, end, draw(st.sampled_from(TYPES))))
    return gold, predicted


@given(seen_otherwise())
def test_counts_are_those_of_nervaluate(both: tuple[list[Span], list[Span]]) -> None:
    gold, predicted = both
    alone = uncontested(gold, predicted), uncontested(predicted, gold)
    assert muc(*alone) == nervaluated(*alone)
    ours, theirs = muc(gold, predicted), nervaluated(gold, predicted)
    for way in ours:
        if way != "ent_type":  # nervaluate pairs again for the type
            assert ours[way][0] == theirs[way][0]
            assert ours[way][3] >= theirs[way][3], "more may be left without a partner, never fewer"
        for count in (ours[way], theirs[way]):
            assert (sum(count[:4]), sum(count[:3]) + count[4]) == (len(gold), len(predicted))


def test_where_spans_are_contested_ours_are_the_pairs_that_share_most() -> None:
    gold, predicted = [Span(0, 2, "PER"), Span(2, 9, "LOC")], [Span(1, 8, "LOC"), Span(8, 9, "LOC")]
    assert [(error.kind, error.gold) for error in span_errors(gold, predicted) if error.gold] == [
        ("missed", gold[0]),
        ("boundary", gold[1]),
    ]
    assert muc(gold, predicted)["strict"] == [0, 1, 0, 1, 1]
    assert nervaluated(gold, predicted)["strict"] == [0, 2, 0, 0, 0]
