"""GradientSimilarity: rows whose gradient points in the direction of the gold rows'."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.epoch_views import epoch, kept

from tutelage.errors import ConfigError
from tutelage.selectors.row_selection import GradientSimilarity

NAN = math.nan
EAST, NORTH, WEST = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)


def slow_cosine(one: list[float], other: list[float]) -> float:
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0


def test_rows_that_point_with_the_gold_row_are_kept_whatever_their_length() -> None:
    view = epoch(
        [0] * 5,
        [True, False, False, False, False],
        gradients=[EAST, WEST, (9.0, 9.0), (0.01, 0.0), NORTH],
    )
    assert kept(GradientSimilarity(0.25), view) == [0, 3]
    assert kept(GradientSimilarity(0.5), view) == [0, 2, 3]
    assert kept(GradientSimilarity(0.75), view) == [0, 2, 3, 4]


def test_each_class_is_compared_with_its_own_gold_rows_or_with_all() -> None:
    view = epoch(
        [0, 1, 0, 0, 1, 1, 2, 2],
        [True, True] + [False] * 6,
        gradients=[EAST, WEST, EAST, WEST, EAST, WEST, EAST, NORTH],
    )
    scores = GradientSimilarity().scores(view)
    assert scores[:6].tolist() == [1, 1, 1, -1, -1, 1]
    # Class 2 has no gold rows; the mean over all of them is 0, so the cosine is undefined.
    assert scores[6:].tolist() == [0, 0]
    assert kept(GradientSimilarity(0.5), view) == [0, 1, 2, 5, 6]
    assert kept(GradientSimilarity(0.5, per_class=False), view) == [0, 1, 2, 5, 6]


def test_several_gold_rows_are_averaged() -> None:
    view = epoch(
        [0] * 4, [True, True, False, False], gradients=[EAST, (0.0, 3.0), (1.0, 3.0), (3.0, 1.0)]
    )
    assert GradientSimilarity().scores(view)[2:].tolist() == pytest.approx([1.0, 0.6])


def test_gradients_that_are_no_numbers_rank_last_and_guide_nobody() -> None:
    view = epoch(
        [0] * 4, [True, True, False, False], gradients=[(NAN, NAN), EAST, (NAN, NAN), WEST]
    )
    assert kept(GradientSimilarity(0.5), view) == [0, 1, 3]


@pytest.mark.parametrize(("gold", "first"), [([False, False], EAST), ([True, False], (NAN, NAN))])
def test_without_gold_rows_it_says_that_shots_are_needed(
    gold: list[bool], first: tuple[float, float]
) -> None:
    with pytest.raises(
        ConfigError, match=r"none of this epoch's 2 rows is gold.* Give shots=1 or more"
    ):
        GradientSimilarity().begin(epoch([0, 0], gold, gradients=[first, NORTH]))


def test_a_view_without_gradients_is_a_mistake_of_the_loop() -> None:
    assert GradientSimilarity.needs == {"epoch", "gradients"}
    with pytest.raises(ValueError, match="without gradients"):
        GradientSimilarity().begin(epoch([0], [True]))


@st.composite
def epochs(draw: st.DrawFn) -> tuple[list[int], list[bool], list[list[float]]]:
    groups = draw(st.lists(st.integers(0, 2), min_size=1, max_size=10))
    gold = [
        True,
        *draw(st.lists(st.booleans(), min_size=len(groups) - 1, max_size=len(groups) - 1)),
    ]
    number = st.integers(-4, 4).map(float)
    vectors = st.lists(number, min_size=3, max_size=3)
    return groups, gold, draw(st.lists(vectors, min_size=len(groups), max_size=len(groups)))


@given(epochs())
def test_scores_are_cosines_with_the_mean_gold_gradient(
    rows: tuple[list[int], list[bool], list[list[float]]],
) -> None:
    groups, gold, gradients = rows
    scores = GradientSimilarity().scores(epoch(groups, gold, gradients=gradients))
    for index, key in enumerate(groups):
        guides = [
            vector
            for vector, own, trusted in zip(gradients, groups, gold, strict=True)
            if trusted and own == key
        ]
        guides = guides or [
            vector for vector, trusted in zip(gradients, gold, strict=True) if trusted
        ]
        mean = [sum(column) / len(guides) for column in zip(*guides, strict=True)]
        # Means of integers may miss 0 by the last digit, leaving an arbitrary direction.
        if math.hypot(*mean) > 1e-9 or not any(mean):
            assert scores[index] == pytest.approx(slow_cosine(gradients[index], mean), abs=1e-9)
    assert np.abs(scores).max() <= 1 + 1e-9
