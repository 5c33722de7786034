"""Each kind of error of a marking, and how wrong predictions find their partners."""

from __future__ import annotations

import pytest
from hypothesis import given
from tests.unit.tasks.test_spans import markings

from tutelage.tasks.span_errors import SpanError, span_errors
from tutelage.tasks.spans import Span

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
    assert span_errors([PER, LOC], [predicted, LOC]) == [SpanError(kind, PER, predicted)]  # type: ignore[arg-type]


def test_missed_and_invented_in_the_order_of_the_text() -> None:
    invented = Span(2, 4, "PER")
    assert span_errors([PER, LOC], [invented]) == [
        SpanError("missed", PER, None), SpanError("invented", None, invented), SpanError("missed", LOC, None),
    ]  # fmt: skip
    assert span_errors([PER, LOC], [LOC, PER]) == []
    assert span_errors([], []) == []


def test_the_partner_shares_the_most_words_and_of_equals_the_type() -> None:
    wide = Span(0, 6, "LOC")
    assert span_errors([Span(0, 2, "LOC"), Span(2, 6, "PER")], [wide]) == [
        SpanError("missed", Span(0, 2, "LOC"), None), SpanError("type and boundary", Span(2, 6, "PER"), wide),
    ]  # fmt: skip
    assert span_errors([Span(0, 3, "PER"), Span(3, 6, "LOC")], [wide]) == [
        SpanError("missed", Span(0, 3, "PER"), None), SpanError("boundary", Span(3, 6, "LOC"), wide),
    ]  # fmt: skip
    # What is right already is nobody's partner.
    assert span_errors([PER], [PER, Span(2, 3, "PER")]) == [SpanError("invented", None, Span(2, 3, "PER"))]


@given(markings(), markings())
def test_every_wrong_span_is_in_exactly_one_error(one: tuple[list[Span], int], other: tuple[list[Span], int]) -> None:
    gold, predicted = one[0], other[0]
    errors = span_errors(gold, predicted)
    assert sorted(error.gold for error in errors if error.gold) == sorted(set(gold) - set(predicted))
    assert sorted(error.predicted for error in errors if error.predicted) == sorted(set(predicted) - set(gold))
    for error in errors:
        assert (error.kind == "missed") == (error.predicted is None)
        assert (error.kind == "invented") == (error.gold is None)
        if error.gold and error.predicted:
            assert error.gold.start < error.predicted.end
            assert error.predicted.start < error.gold.end
            same_words, same_type = error.gold[:2] == error.predicted[:2], error.gold.type == error.predicted.type
            assert (
                error.kind == {(True, False): "type", (False, True): "boundary", (False, False): "type and boundary"}[same_words, same_type]
            )
    assert span_errors(reversed(gold), reversed(predicted)) == errors
