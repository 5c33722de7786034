"""A threshold for each class, so that none is starved."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import ConfigError
from tutelage.records import LabelDistribution, Outcome
from tutelage.selectors.class_share import ClassShare


def opinion(a: float) -> LabelDistribution:
    return LabelDistribution(("A", "B"), (a, 1 - a), 0.0)


def test_the_surest_of_each_class_are_kept() -> None:
    asked = ["A", "A", "A", "A", "B", "B"]
    opinions = [opinion(value) for value in (0.9, 0.6, 0.95, 0.2, 0.7, 0.6)]
    verdicts = ClassShare(share=0.5).judge_batch(asked, opinions)
    assert [one.accepted for one in verdicts] == [True, False, True, False, False, True]
    assert [one.target for one in verdicts] == asked
    assert all(bool(one.reason) != one.accepted for one in verdicts)


def seen(a: float) -> Outcome:
    return Outcome("id", "text", "A", "A" if a >= 0.5 else "B", (a, 1 - a), "hard", 1)


def test_what_the_student_does_not_know_yet_comes_first() -> None:
    asked, opinions = ["A", "A", "A"], [opinion(value) for value in (0.9, 0.88, 0.1)]
    known = [seen(value) for value in (0.99, 0.3, 0.01)]
    assert [one.accepted for one in ClassShare(share=0.3, hardness=0.35).judge_batch(asked, opinions, known)] == [False, True, False]
    assert [one.accepted for one in ClassShare(share=0.3).judge_batch(asked, opinions, known)] == [True, False, False]
    assert [one.accepted for one in ClassShare(share=0.3, hardness=0.35).judge_batch(asked, opinions)] == [True, False, False]


def test_the_student_is_asked_only_where_it_counts() -> None:
    assert (ClassShare(hardness=0.1).asks_student, ClassShare().asks_student) == (True, False)


def test_certain_teachers_and_students_are_ranked_too() -> None:
    verdicts = ClassShare(share=0.5, hardness=1.0).judge_batch(["A", "A"], [opinion(0.0), opinion(1.0)], [seen(0.0), seen(1.0)])
    assert [one.accepted for one in verdicts] == [True, False]


def test_a_floor_holds_whatever_the_rank() -> None:
    verdicts = ClassShare(share=1.0, min_probability=0.5).judge_batch(["A", "A"], [opinion(0.4), opinion(0.6)])
    assert [one.accepted for one in verdicts] == [False, True]
    assert "0.5" in verdicts[0].reason


def test_weights_are_the_probability_of_the_label_asked_for() -> None:
    verdicts = ClassShare(share=1.0, weighted=True).judge_batch(["A", "B"], [opinion(0.75), opinion(0.25)])
    assert [one.weight for one in verdicts] == [0.75, 0.75]
    assert ClassShare(share=1.0).judge_batch(["A"], [opinion(0.75)])[0].weight == 1.0


def test_nothing_gives_nothing() -> None:
    assert ClassShare().judge_batch([], []) == []


@given(st.lists(st.tuples(st.sampled_from("AB"), st.floats(0, 1)), max_size=20), st.sampled_from([0.1, 0.3, 0.5, 1.0]))
def test_every_class_keeps_its_share(texts: list[tuple[str, float]], share: float) -> None:
    asked = [name for name, _ in texts]
    verdicts = ClassShare(share=share).judge_batch(asked, [opinion(value) for _, value in texts])
    kept = Counter(name for name, verdict in zip(asked, verdicts, strict=True) if verdict.accepted)
    for name, count in Counter(asked).items():
        assert abs(kept[name] - count * share) < 1
        assert kept[name] >= math.floor(count * share)


@pytest.mark.parametrize(
    "settings", [{"share": 0.0}, {"share": 1.1}, {"min_probability": -0.1}, {"min_probability": 1.5}, {"hardness": -0.1}]
)
def test_shares_are_shares(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"selector\.{next(iter(settings))}"):
        ClassShare(**settings)
