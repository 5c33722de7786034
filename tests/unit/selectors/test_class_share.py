"""ClassShare: one threshold per class, set by the class itself."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import ConfigError
from tutelage.records import LabelDistribution
from tutelage.selectors.acceptance import ClassShare


def opinion(a: float) -> LabelDistribution:
    return LabelDistribution(("A", "B"), (a, 1 - a), 0.0)


def test_the_surest_of_each_class_are_kept_even_if_the_teacher_is_unsure_of_the_class() -> None:
    decisions = ClassShare(share=0.5).decide_batch(
        ["A", "A", "B", "B"], [opinion(0.9), opinion(0.8), opinion(0.95), opinion(0.7)]
    )
    assert [decision.accepted for decision in decisions] == [True, False, False, True]
    assert [decision.target for decision in decisions] == ["A", "A", "B", "B"]
    assert decisions[1].reason == "not among the surest 50% of its class"


def test_a_floor_rejects_whatever_the_rank() -> None:
    (decision,) = ClassShare(share=1.0, min_probability=0.2).decide_batch(["A"], [opinion(0.1)])
    assert not decision.accepted
    assert decision.reason == "probability of the class asked for below 0.2"


def test_weights_are_the_probability_of_the_class_asked_for() -> None:
    (decision,) = ClassShare(weighted=True).decide_batch(["B"], [opinion(0.75)])
    assert decision.weight == pytest.approx(0.25)


def test_of_equals_the_earlier_one_is_kept() -> None:
    decisions = ClassShare(share=0.5).decide_batch(["A", "A"], [opinion(0.6), opinion(0.6)])
    assert [decision.accepted for decision in decisions] == [True, False]


def test_nothing_to_judge() -> None:
    assert ClassShare().decide_batch([], []) == []


@given(st.lists(st.tuples(st.sampled_from("AB"), st.floats(0, 1)), max_size=40), st.floats(0.01, 1))
def test_each_class_keeps_its_share_and_no_rejected_text_is_surer_than_a_kept_one(
    texts: list[tuple[str, float]], share: float
) -> None:
    asked = [label for label, _ in texts]
    distributions = [opinion(value) for _, value in texts]
    decisions = ClassShare(share=share).decide_batch(asked, distributions)
    for label in set(asked):
        own = [
            (distributions[index].probability(label), decisions[index].accepted)
            for index in range(len(asked))
            if asked[index] == label
        ]
        kept = [value for value, accepted in own if accepted]
        assert len(kept) == math.ceil(round(len(own) * share, 9))  # 10 x 0.3 is 3, despite rounding
        assert min(kept) >= max((value for value, accepted in own if not accepted), default=0.0)


@pytest.mark.parametrize(
    "settings",
    [{"share": 0.0}, {"share": 1.2}, {"min_probability": -0.1}, {"min_probability": 1.5}],
)
def test_numbers_outside_their_range_are_named(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=rf"accept\.{next(iter(settings))}"):
        ClassShare(**settings)
