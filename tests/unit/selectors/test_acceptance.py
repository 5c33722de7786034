"""Kept texts with their labels, and the reasons for rejecting the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import ConfigError
from tutelage.records import LabelDistribution
from tutelage.selectors.acceptance import Decision, LabelAgreement


def opinion(*probabilities: float) -> LabelDistribution:
    return LabelDistribution(("A", "B", "C")[: len(probabilities)], probabilities, 0.0)


def test_agreement_keeps_what_was_asked_for() -> None:
    judge = LabelAgreement(agreement=True).judge
    assert judge("A", opinion(0.4, 0.3, 0.3)) == Decision("A", True, "")
    assert judge("B", opinion(0.9, 0.05, 0.05)) == Decision(
        "A", False, "scored label is not the one asked for"
    )


def test_without_agreement_the_scored_label_is_the_target() -> None:
    assert LabelAgreement(agreement=False).judge("B", opinion(0.5, 0.3, 0.2)) == Decision(
        "A", True, ""
    )


@pytest.mark.parametrize("agreement", [True, False])
def test_unsure_texts_are_rejected_first(agreement: bool) -> None:
    judge = LabelAgreement(agreement=agreement, min_confidence=0.6).judge
    assert (
        judge("A", opinion(0.59, 0.41)).reason
        == judge("B", opinion(0.59, 0.41)).reason
        == "confidence below 0.6"
    )
    assert judge("A", opinion(0.6, 0.4)).accepted


def test_a_confident_other_label_is_rescued_under_that_label() -> None:
    judge = LabelAgreement(agreement=True, rescue_confidence=0.9).judge
    assert judge("B", opinion(0.9, 0.1)) == Decision("A", True, "")
    assert not judge("B", opinion(0.89, 0.11)).accepted


def test_a_rescue_confidence_of_one_never_rescues() -> None:
    assert (
        not LabelAgreement(agreement=True, rescue_confidence=1.0)
        .judge("B", opinion(1.0, 0.0))
        .accepted
    )


def test_weights_follow_confidence_only_where_asked() -> None:
    assert LabelAgreement(weighted=True).judge("A", opinion(0.7, 0.3)).weight == 0.7
    assert LabelAgreement(weighted=False).judge("A", opinion(0.7, 0.3)).weight == 1.0


@pytest.mark.parametrize("name", ["min_confidence", "rescue_confidence"])
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_confidences_are_shares(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"accept\.{name}={value} must be in \[0, 1\]"):
        LabelAgreement(**{name: value})


@given(
    st.booleans(),
    st.floats(0, 1),
    st.floats(0, 1),
    st.booleans(),
    st.sampled_from("ABC"),
    st.lists(st.floats(0.01, 1), min_size=3, max_size=3),
)
def test_a_verdict_always_has_a_target_and_a_reason_exactly_when_rejected(
    agreement: bool, minimum: float, rescue: float, weighted: bool, asked: str, weights: list[float]
) -> None:
    given_opinion = opinion(*(weight / sum(weights) for weight in weights))
    decision = LabelAgreement(agreement, minimum, rescue, weighted).judge(asked, given_opinion)
    assert decision.target == given_opinion.top
    assert decision.accepted == (not decision.reason)
    assert 0 < decision.weight <= 1


def test_a_doubtful_label_stays_where_the_student_gives_it_too() -> None:
    judge = LabelAgreement(agreement=False, min_confidence=0.8, student_confirms=True)
    doubtful = [opinion(0.6, 0.4)] * 2
    assert [one.accepted for one in judge.decide_batch(["A", "A"], doubtful, [True, False])] == [
        True,
        False,
    ]
    # Without a trained student nothing is confirmed, and a sure teacher needs no confirmation.
    assert not any(one.accepted for one in judge.decide_batch(["A", "A"], doubtful))
    assert judge.judge("B", opinion(0.9, 0.1)).accepted


def test_only_a_selector_that_asks_the_student_listens_to_it() -> None:
    strict = LabelAgreement(min_confidence=0.8)
    assert not strict.asks_student
    assert not strict.decide_batch(["A"], [opinion(0.6, 0.4)], [True])[0].accepted


def test_a_confirmation_needs_a_least_confidence_to_be_an_exception_from() -> None:
    with pytest.raises(ConfigError, match=r"accept\.min_confidence=0 turns none down"):
        LabelAgreement(student_confirms=True)
