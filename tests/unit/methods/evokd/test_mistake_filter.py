"""Which mistakes count: the teacher must vouch for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.classification import NAMES, TASK

from tutelage.errors import ConfigError
from tutelage.methods.evokd.mistake_filter import MistakeFilter
from tutelage.records import Feedback, LabelDistribution, Outcome, Row

ANIMAL, TOOL, FOOD = NAMES


def row(id: str, target: str, *probabilities: float) -> Row:
    distribution = LabelDistribution(NAMES, probabilities, 0.0) if probabilities else None
    return Row(
        id,
        f"text {id}",
        target,
        "hard" if probabilities else "gold",
        1,
        True,
        distribution=distribution,
    )


def outcome(id: str, target: str, predicted: str) -> Outcome:
    return Outcome(id, f"text {id}", target, predicted, (0.4, 0.3, 0.3), "hard", 1)


def feedback(*outcomes: Outcome) -> Feedback:
    return Feedback(1, outcomes, TASK.scores(outcomes))


def test_a_mistake_counts_where_the_teacher_is_surer_of_its_label_than_of_the_students() -> None:
    rows = [
        row("sure", TOOL, 0.1, 0.8, 0.1),
        row("unsure", TOOL, 0.4, 0.5, 0.1),
        row("right", FOOD, 0.3, 0.3, 0.4),
    ]
    outcomes = [
        outcome("sure", TOOL, ANIMAL),
        outcome("unsure", TOOL, ANIMAL),
        outcome("right", FOOD, FOOD),
    ]
    sifted = MistakeFilter(TASK, 0.3).keep(feedback(*outcomes), rows)
    assert [one.id for one in sifted.outcomes] == ["sure", "right"]
    assert [one.id for one in sifted.wrong] == ["sure"]
    assert sifted.per_class == TASK.scores(sifted.outcomes)
    assert sifted.round == 1


def test_the_students_label_is_what_it_is_held_against() -> None:
    given_row = row("one", TOOL, 0.35, 0.5, 0.15)
    assert (
        len(MistakeFilter(TASK, 0.3).keep(feedback(outcome("one", TOOL, FOOD)), [given_row]).wrong)
        == 1
    )
    assert (
        len(
            MistakeFilter(TASK, 0.3).keep(feedback(outcome("one", TOOL, ANIMAL)), [given_row]).wrong
        )
        == 0
    )


def test_gold_and_unknown_rows_are_believed() -> None:
    mistakes = feedback(outcome("gold", TOOL, FOOD), outcome("elsewhere", TOOL, FOOD))
    assert (
        MistakeFilter(TASK, 1.0).keep(mistakes, [row("gold", TOOL)]).outcomes == mistakes.outcomes
    )


@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.floats(0, 1)), max_size=8
    ),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_a_larger_margin_believes_no_more(
    cases: list[tuple[str, str, float]], one: float, other: float
) -> None:
    rows = [
        row(str(n), target, share, (1 - share) / 2, (1 - share) / 2)
        for n, (target, _, share) in enumerate(cases)
    ]
    given_feedback = feedback(
        *(outcome(str(n), target, predicted) for n, (target, predicted, _) in enumerate(cases))
    )
    few, many = (
        set(MistakeFilter(TASK, margin).keep(given_feedback, rows).outcomes)
        for margin in (max(one, other), min(one, other))
    )
    assert few <= many
    assert set(given_feedback.correct) <= few
    assert set(MistakeFilter(TASK, 0.0).keep(given_feedback, rows).outcomes) == set(
        given_feedback.outcomes
    )


@pytest.mark.parametrize("margin", [-0.1, 1.1])
def test_a_margin_is_a_difference_of_probabilities(margin: float) -> None:
    with pytest.raises(ConfigError, match=r"method\.mistake_margin"):
        MistakeFilter(TASK, margin)
