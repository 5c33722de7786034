"""AnswerDifficulty: the text helps, but only a little."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.epoch_views import epoch, kept

from tutelage.errors import ConfigError
from tutelage.selectors.row_selection import AnswerDifficulty

NAN = math.nan


def test_the_highest_ratios_below_one_are_kept() -> None:
    view = epoch(
        [0] * 6, losses=[0.1, 0.9, 1.0, 1.4, 0.5, 3.0], prior_losses=[1.0, 1.0, 1.0, 1.0, 1.0, 4.0]
    )
    assert kept(AnswerDifficulty(0.3), view) == [1, 5]
    assert kept(AnswerDifficulty(0.5), view) == [1, 4, 5]


def test_misaligned_rows_are_dropped_whatever_the_share() -> None:
    view = epoch([0, 0, 0, 1], losses=[2.0, 1.0, 0.5, 5.0], prior_losses=[1.0] * 4)
    assert kept(AnswerDifficulty(1.0), view) == [2]
    assert kept(AnswerDifficulty(1.0, per_class=False), view) == [2]


def test_the_prior_of_a_class_decides_what_is_hard_there() -> None:
    view = epoch([0, 0, 1, 1], losses=[0.9, 0.6, 0.9, 0.6], prior_losses=[1.0, 1.0, 9.0, 9.0])
    assert kept(AnswerDifficulty(0.5), view) == [0, 2]
    assert kept(AnswerDifficulty(0.5, per_class=False), view) == [0, 1]


def test_losses_of_zero_and_of_no_number_are_no_error() -> None:
    view = epoch([0] * 5, losses=[0.0, 0.0, 0.3, NAN, 0.2], prior_losses=[0.0, 1.0, 0.0, 1.0, 1.0])
    scores = AnswerDifficulty().scores(view)
    assert math.isnan(scores[0])
    assert math.isnan(scores[3])
    assert scores.tolist()[1:3] == [0.0, -math.inf]
    assert kept(AnswerDifficulty(0.4), view) == [1, 4]
    assert kept(AnswerDifficulty(1.0), view) == [0, 1, 3, 4]


def test_gold_rows_are_kept_however_misaligned() -> None:
    assert kept(
        AnswerDifficulty(0.5), epoch([0, 0], [True, False], losses=[9, 9], prior_losses=[1, 1])
    ) == [0]


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 8)), max_size=20), st.integers(1, 100))
def test_it_keeps_what_the_slow_rule_keeps(rows: list[tuple[int, int]], percent: int) -> None:
    view = epoch(
        [0] * len(rows),
        losses=[loss for loss, _ in rows],
        prior_losses=[prior for _, prior in rows],
    )
    ratios = {index: Fraction(*row) for index, row in enumerate(rows) if row[0] < row[1]}
    ranking = sorted(ratios, key=lambda index: (-ratios[index], index))
    assert kept(AnswerDifficulty(percent / 100), view) == sorted(
        ranking[: math.ceil(Fraction(percent, 100) * len(rows))]
    )


def test_a_view_without_prior_losses_is_a_mistake_of_the_loop() -> None:
    assert AnswerDifficulty.needs == {"epoch", "prior_losses"}
    with pytest.raises(ValueError, match="without prior losses"):
        AnswerDifficulty().begin(epoch([0]))
    with pytest.raises(ConfigError, match=r"select\.share=0"):
        AnswerDifficulty(0)
