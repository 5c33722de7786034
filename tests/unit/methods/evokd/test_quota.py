"""Adaptivity: more samples are generated for the classes whose F1 is low."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.methods.evokd.quota import class_quota, mistake_quota
from tutelage.records import ClassScore

LABELS = ("A", "B", "C", "D")


def scores(support: int = 20, **f1: float) -> dict[str, ClassScore]:
    return {name: ClassScore(value, value, value, support) for name, value in f1.items()}


def test_weak_classes_are_asked_for_more() -> None:
    quota = class_quota(80, LABELS, scores(A=0.95, B=0.7, C=0.4, D=0.1), focus=0.5)
    # Half of 80 evenly, half by weakness: F1 smoothed towards 0.5375 by 4 examples, plus the slack
    # of 0.1.
    assert quota == {"A": 14, "B": 18, "C": 22, "D": 26}


def test_more_focus_leans_further_towards_the_weak() -> None:
    given_scores = scores(A=0.9, B=0.9, C=0.9, D=0.2)
    asked = [class_quota(200, LABELS, given_scores, focus)["D"] for focus in (0.0, 0.25, 0.5, 1.0)]
    assert asked == sorted(asked)
    assert asked[0] == 50 < asked[-1]


def test_a_single_mistake_does_not_draw_a_round_to_its_class() -> None:
    quota = class_quota(56, LABELS, scores(8, A=1.0, B=1.0, C=1.0, D=0.93), focus=0.5)
    assert quota == {"A": 14, "B": 13, "C": 13, "D": 16}


def test_few_examples_prove_little() -> None:
    """F1 of 0 over one example is weaker evidence than over twenty."""
    few = class_quota(
        100, LABELS, {**scores(A=0.9, B=0.9, C=0.9), "D": ClassScore(0, 0, 0, 1)}, focus=1.0
    )
    many = class_quota(
        100, LABELS, {**scores(A=0.9, B=0.9, C=0.9), "D": ClassScore(0, 0, 0, 20)}, focus=1.0
    )
    assert few["A"] < few["D"] < many["D"]


@pytest.mark.parametrize(
    "given_scores", [{}, scores(A=1.0, B=1.0, C=1.0, D=1.0), scores(A=0.0, B=0.0, C=0.0, D=0.0)]
)
def test_nothing_to_lean_on_is_even(given_scores: dict[str, ClassScore]) -> None:
    assert class_quota(10, LABELS, given_scores, focus=1.0) == {"A": 3, "B": 3, "C": 2, "D": 2}


def test_a_class_without_a_score_counts_as_weak() -> None:
    quota = class_quota(40, LABELS, scores(A=0.9, B=0.9, C=0.9), focus=1.0)
    assert quota["D"] > quota["A"]


@given(
    st.integers(0, 200),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 50)), min_size=1, max_size=12),
    st.floats(0, 1),
)
def test_a_quota_sums_to_the_total(
    total: int, given_scores: list[tuple[float, int]], focus: float
) -> None:
    labels = [f"L{n}" for n in range(len(given_scores))]
    quota = class_quota(
        total,
        labels,
        {
            name: ClassScore(f1, f1, f1, n)
            for name, (f1, n) in zip(labels, given_scores, strict=True)
        },
        focus,
    )
    assert sum(quota.values()) == total
    assert list(quota) == labels
    assert all(count >= 0 for count in quota.values())
    even = int((1 - focus) * total / len(labels) - 1e-9)
    assert all(count >= even for count in quota.values())


@given(st.lists(st.integers(0, 100), min_size=2, max_size=6), st.integers(0, 100))
def test_of_two_classes_the_weaker_is_never_asked_for_less(percent: list[int], total: int) -> None:
    f1 = [value / 100 for value in percent]
    labels = [f"L{n}" for n in range(len(f1))]
    quota = class_quota(
        total,
        labels,
        {name: ClassScore(v, v, v, 10) for name, v in zip(labels, f1, strict=True)},
        0.5,
    )
    for name, value in zip(labels, f1, strict=True):
        for other, better in zip(labels, f1, strict=True):
            assert better <= value or quota[name] >= quota[other]


def test_mistakes_draw_the_texts_to_their_classes() -> None:
    assert mistake_quota(12, LABELS, {"B": 3, "D": 1}, focus=0.5) == {
        "A": 2,
        "B": 6,
        "C": 1,
        "D": 3,
    }
    assert mistake_quota(10, LABELS, {}, focus=1.0) == {"A": 3, "B": 3, "C": 2, "D": 2}
    # Missing and invented names are under no class.
    assert mistake_quota(8, LABELS, {"": 9, "C": 1}, focus=1.0) == {"A": 0, "B": 0, "C": 8, "D": 0}
