"""Ranked and OncePerEpoch: the rows kept by a share of a ranking, and the fate of the others."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.epoch_views import SCORES, batch, epoch, kept

from tutelage.errors import ConfigError
from tutelage.selectors.per_epoch import NEVER, Ranked
from tutelage.selectors.protocol import EpochView, Floats


class ByLoss(Ranked):
    """Ranks by the losses themselves."""

    def scores(self, view: EpochView) -> Floats:
        return view.losses


def slowly(
    scores: list[float], groups: list[int], gold: list[bool], share: Fraction, per_class: bool
) -> list[int]:
    """The rule, applied row by row."""
    indices = [index for index, given_label in enumerate(gold) if given_label]
    for key in sorted(set(groups)) if per_class else [None]:
        judged = [
            index
            for index in range(len(groups))
            if not gold[index] and key in (None, groups[index])
        ]
        room = math.ceil(len(judged) * share)
        ranking = sorted(
            (index for index in judged if not math.isnan(scores[index])),
            key=lambda index: (-scores[index], index),
        )
        ranking += [index for index in judged if math.isnan(scores[index])]
        indices += [index for index in ranking if scores[index] != NEVER][:room]
    return sorted(indices)


@st.composite
def epochs(draw: st.DrawFn) -> tuple[list[float], list[int], list[bool]]:
    scores = draw(st.lists(st.one_of(SCORES, st.just(NEVER)), max_size=25))
    groups, gold = (
        draw(st.lists(one, min_size=len(scores), max_size=len(scores)))
        for one in (st.integers(0, 3), st.booleans())
    )
    return scores, groups, gold


@given(epochs(), st.integers(1, 100), st.booleans())
def test_it_keeps_what_the_slow_rule_keeps(
    rows: tuple[list[float], list[int], list[bool]], percent: int, per_class: bool
) -> None:
    scores, groups, gold = rows
    view = epoch(groups, gold, losses=scores)
    assert kept(ByLoss(percent / 100, per_class), view) == slowly(
        scores, groups, gold, Fraction(percent, 100), per_class
    )


def test_the_scores_of_a_batch_s_rows_are_told_and_an_unknown_row_has_none() -> None:
    selector = ByLoss(0.5)
    selector.begin(
        epoch([0, 0, 0, 0], [False, False, True, False], losses=[0.1, 0.7, 0.9, math.nan])
    )
    weighed = selector.weigh(batch(epoch([0] * 5), [3, 1, 2, 0, 4]))
    assert weighed.scores == pytest.approx([math.nan, 0.7, 0.9, 0.1, math.nan], nan_ok=True)
    assert weighed.weights.tolist() == [0.0, 1.0, 0.0, 1.0, 0.0]


def test_a_share_that_is_no_binary_number_is_counted_exactly() -> None:
    assert len(kept(ByLoss(0.07, per_class=False), epoch([0] * 100))) == 7


def test_a_class_keeps_one_row_where_a_common_ranking_starves_it() -> None:
    view = epoch([0, 0, 0, 0, 1, 1], losses=[9, 8, 7, 6, 2, 3])
    assert kept(ByLoss(0.25, per_class=True), view) == [0, 5]
    assert kept(ByLoss(0.25, per_class=False), view) == [0, 1]


def test_gold_rows_are_kept_and_use_up_nothing() -> None:
    assert kept(
        ByLoss(0.5), epoch([0] * 5, [True, True, False, False, False], losses=[0, NEVER, 1, 2, 3])
    ) == [0, 1, 3, 4]
    assert kept(ByLoss(0.5), epoch([0, 1], [True, True], losses=[math.nan, 0])) == [0, 1]


def test_many_equal_scores_rank_by_place() -> None:
    assert kept(
        ByLoss(0.5), epoch([0] * 60, losses=[index % 3 == 0 for index in range(60)])
    ) == sorted([*range(0, 60, 3), *[index for index in range(60) if index % 3][:10]])


def test_an_epoch_of_no_rows_keeps_none() -> None:
    assert kept(ByLoss(), epoch([])) == []


def test_the_report_counts_the_batch() -> None:
    selector = ByLoss(0.5)
    view = epoch([0] * 4, [False, False, False, True], losses=[3, 2, 1, 0])
    selector.begin(view)
    weighed = selector.weigh(batch(view, [3, 2, 0]))
    assert weighed.weights.tolist() == [1.0, 0.0, 1.0]
    assert json.loads(json.dumps(weighed.report)) == {"kept": 2, "of": 3}


def test_a_row_that_stands_twice_is_kept_or_left_out_both_times() -> None:
    selector = ByLoss(0.5)
    view = epoch([0] * 2, losses=[1, 2])
    selector.begin(view)
    assert selector.weigh(batch(view, [0, 1, 0, 1])).weights.tolist() == [0.0, 1.0, 0.0, 1.0]


def test_a_row_that_the_epoch_began_without_is_left_out_unless_it_is_gold() -> None:
    selector = ByLoss(1.0)
    selector.begin(epoch([0]))
    assert selector.weigh(batch(epoch([0, 0, 0], [False, False, True]))).weights.tolist() == [
        1.0,
        0.0,
        1.0,
    ]


def test_each_epoch_chooses_anew() -> None:
    selector = ByLoss(0.5)
    assert kept(selector, epoch([0, 0], losses=[1, 2])) == [1]
    assert kept(selector, epoch([0, 0], losses=[2, 1])) == [0]


def test_weighing_before_the_epoch_began_is_an_error_and_not_an_empty_choice() -> None:
    selector = ByLoss()
    with pytest.raises(RuntimeError, match=r"ByLoss\.weigh was called before begin"):
        selector.weigh(batch(epoch([0])))
    selector.begin(epoch([0]))
    selector.load_state_dict(json.loads(json.dumps(selector.state_dict())))
    with pytest.raises(RuntimeError, match="before begin"):
        selector.weigh(batch(epoch([0])))


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, math.nan])
def test_a_share_is_above_zero_and_at_most_one(share: float) -> None:
    with pytest.raises(ConfigError, match=rf"select\.share={share} must be above 0 and at most 1"):
        ByLoss(share)


def test_what_the_loop_reads_of_it() -> None:
    selector: Any = ByLoss(refill=True)
    assert (selector.stage, selector.needs, selector.normaliser) == (
        "train",
        frozenset({"epoch"}),
        "weights",
    )
    assert (selector.refill, ByLoss().refill) == (True, False)
    assert selector.choose(epoch([0, 0])).kept.dtype == np.bool_
