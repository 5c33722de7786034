"""Costs add up, failed requests are recognised by their reason, and classes have rows."""

from __future__ import annotations

import pytest

from tutelage.methods.base import Cost, RequestFailure, class_name_rows
from tutelage.records import Label, Row


def rejected(reason: str) -> Row:
    return Row("1", "text", "", "easy", 1, accepted=False, reason=reason)


@pytest.mark.parametrize("failure", list(RequestFailure))
def test_a_failed_request_is_recognised_by_its_reason(failure: RequestFailure) -> None:
    assert RequestFailure.of(rejected(failure.reason("lost"))) is failure


def test_the_stored_reasons_stay_the_same() -> None:
    """They are part of the pool's hash."""
    assert RequestFailure.GENERATION.reason("lost") == "request failed: lost"
    assert RequestFailure.LABELLING.reason("lost") == "labelling failed: lost"


@pytest.mark.parametrize("reason", ["", "exact duplicate of pool", "the request failed: lost"])
def test_other_reasons_are_no_failed_requests(reason: str) -> None:
    assert RequestFailure.of(rejected(reason)) is None


def test_costs_add_up_with_their_phases_in_order() -> None:
    total = Cost(1, 1, {"analysis": 2.0}) + Cost(seconds={"generation": 3.0}) + Cost(4, 2)
    assert total == Cost(5, 3, {"analysis": 2.0, "generation": 3.0})
    assert list(total.seconds) == ["analysis", "generation"]


def test_each_class_has_a_row_for_its_word_and_one_for_its_description() -> None:
    rows = class_name_rows([Label("HUM", "person", "questions about people"), Label("x", "x", "x")])
    assert [(row.text, row.target) for row in rows] == [
        ("questions about people", "HUM"),
        ("person", "HUM"),
        ("x", "x"),
    ]
    assert all(row.given and row.accepted and row.source == "class_name" for row in rows)
    assert len({row.id for row in rows}) == 3


def test_a_text_that_stands_for_two_classes_has_no_row() -> None:
    rows = class_name_rows([Label("a", "one", "some texts"), Label("b", "two", "some texts")])
    assert [(row.text, row.target) for row in rows] == [("one", "a"), ("two", "b")]
