"""Records survive a round trip through JSON unchanged."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.records import (
    Feedback,
    LabelDistribution,
    Outcome,
    Row,
    as_dicts,
    outcome_from_dict,
    record_id,
    row_from_dict,
)

TEXT = st.text(max_size=20)
SHARE = st.floats(0, 1)
DISTRIBUTIONS = st.integers(1, 4).flatmap(
    lambda size: st.builds(
        LabelDistribution,
        labels=st.just(tuple(f"L{n}" for n in range(size))),
        probabilities=st.tuples(*[SHARE] * size),
        off_label_mass=SHARE,
        raw=st.one_of(st.just(()), st.tuples(*[SHARE] * size)),
    )
)
ROWS = st.builds(
    Row,
    id=TEXT,
    text=TEXT,
    target=TEXT,
    source=st.sampled_from(["gold", "init", "easy", "hard", "pool"]),
    round=st.integers(0, 99),
    accepted=st.booleans(),
    reason=TEXT,
    distribution=st.none() | DISTRIBUTIONS,
    asked=TEXT,
    parents=st.lists(TEXT, max_size=3).map(tuple),
    weight=SHARE,
    detail=st.dictionaries(TEXT, TEXT, max_size=3),
)
OUTCOMES = st.builds(
    Outcome,
    id=TEXT,
    text=TEXT,
    target=TEXT,
    predicted=TEXT,
    probabilities=st.lists(SHARE, min_size=1, max_size=4).map(tuple),
    source=TEXT,
    round=st.integers(0, 9),
)


@given(ROWS)
def test_a_row_goes_through_json(row: Row) -> None:
    assert row_from_dict(json.loads(json.dumps(asdict(row)))) == row


@given(st.lists(OUTCOMES, max_size=3))
def test_outcomes_go_through_json(outcomes: list[Outcome]) -> None:
    assert [
        outcome_from_dict(record) for record in json.loads(json.dumps(as_dicts(outcomes)))
    ] == outcomes


@given(DISTRIBUTIONS)
def test_a_distribution_knows_its_top(distribution: LabelDistribution) -> None:
    assert (
        distribution.probability(distribution.top)
        == distribution.confidence
        == max(distribution.probabilities)
    )
    assert distribution.labels.index(distribution.top) == distribution.probabilities.index(
        distribution.confidence
    )


@given(st.lists(OUTCOMES, max_size=8))
def test_feedback_splits_its_outcomes(outcomes: list[Outcome]) -> None:
    feedback = Feedback(1, tuple(outcomes), {})
    assert len(feedback.correct) + len(feedback.wrong) == len(outcomes)
    assert all(one.predicted == one.target for one in feedback.correct)
    assert sorted(map(id, feedback.confident_wrong)) == sorted(map(id, feedback.wrong))
    sure = [one.confidence for one in feedback.confident_wrong]
    assert sure == sorted(sure, reverse=True)


def test_records_do_not_change() -> None:
    row = Row("r", "t", "A", "easy", 1, True)
    with pytest.raises(FrozenInstanceError):
        row.text = "other"  # type: ignore[misc]
    assert row.confidence == 1.0


def test_the_confidence_of_a_row_is_that_of_its_target() -> None:
    opinion = LabelDistribution(("A", "B"), (0.1, 0.9), 0.0)
    asked = Row("r", "t", "A", "easy", 1, True, distribution=opinion, asked="A")
    assert (asked.confidence, asked.mean_confidence) == (0.1, 0.1)
    assert replace(asked, target="B").confidence == opinion.confidence == 0.9
    # For NER the target is no label: the probabilities of the entities count, or without entities
    # the least certain candidate's.
    marked = replace(asked, target="[]")
    assert (marked.confidence, marked.mean_confidence) == (0.9, 0.9)
    entities = replace(marked, entity_confidence=(0.5, 0.75))
    assert (entities.confidence, entities.mean_confidence) == (0.5, 0.625)


@given(ROWS)
def test_the_surest_a_row_can_be_is_under_its_top_label(row: Row) -> None:
    if row.distribution is not None:
        assert row.confidence <= row.distribution.confidence
        assert replace(row, target=row.distribution.top).confidence == row.distribution.confidence


def test_an_unknown_field_is_refused() -> None:
    record: dict[str, Any] = {**asdict(Row("r", "t", "A", "easy", 1, True)), "extra": 1}
    with pytest.raises(TypeError, match="extra"):
        row_from_dict(record)


def test_ids_are_stable_and_keep_their_parts_apart() -> None:
    assert record_id("row", 1, "hard") == record_id("row", "1", "hard")
    assert record_id("ab", "c") != record_id("a", "bc")
    assert (
        record_id("draw", 0, 1) == "09d47ac0d64c5fbd"
    )  # stored in caches and pools, which a change would orphan


def test_an_id_of_a_text_that_has_no_utf_8_form() -> None:
    assert record_id("half \ud83d") != record_id("half \ufffd")
    assert record_id("a", "ü", 1) == record_id("a\x1fü\x1f1") == "37f701bb64056347"
