"""SmallLoss: the low-loss group of each class is kept, and no class is lost."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.epoch_views import epoch, kept

from tutelage.errors import ConfigError
from tutelage.selectors.row_selection import SmallLoss, low_probability

NAN = math.nan


def two_groups(low: int, high: int, seed: int = 0, scale: float = 1.0) -> list[float]:
    rng = np.random.default_rng(seed)
    return [
        *rng.normal(0.2 * scale, 0.05 * scale, low).tolist(),
        *rng.normal(2 * scale, 0.3 * scale, high).tolist(),
    ]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_two_groups_are_told_apart_at_any_scale(scale: float) -> None:
    assert kept(SmallLoss(), epoch([0] * 40, losses=two_groups(25, 15, scale=scale))) == list(
        range(25)
    )


def test_each_class_has_a_mixture_of_its_own() -> None:
    # A low loss in class 1 is a high loss in class 0.
    losses = [*two_groups(12, 8), *two_groups(12, 8, scale=20)]
    groups = [0] * 20 + [1] * 20
    assert kept(SmallLoss(), epoch(groups, losses=losses)) == [*range(12), *range(20, 32)]
    together = kept(SmallLoss(per_class=False), epoch(groups, losses=losses))
    assert set(range(20)) <= set(together)


def test_small_and_level_classes_keep_all() -> None:
    losses = [*two_groups(4, 3), *[0.5] * 10, *two_groups(6, 5)]
    groups = [0] * 7 + [1] * 10 + [2] * 11
    assert kept(SmallLoss(), epoch(groups, losses=losses)) == [*range(17), *range(17, 23)]
    assert kept(SmallLoss(min_rows=7), epoch(groups, losses=losses)) == [
        *range(4),
        *range(7, 17),
        *range(17, 23),
    ]
    scores = SmallLoss().choose(epoch(groups, losses=losses)).scores
    assert np.isnan(scores[:17]).all(), "no mixture is fitted to them"
    assert (scores[17:23] >= 0.7).all()
    assert (scores[23:] < 0.7).all()


def test_losses_that_differ_by_next_to_nothing_are_no_error() -> None:
    losses = [1.0] * 9 + [float(np.nextafter(1.0, 2.0))]
    assert 0 < len(kept(SmallLoss(), epoch([0] * 10, losses=losses))) <= 10
    assert 0 < len(kept(SmallLoss(), epoch([0] * 10, losses=[0.0] * 9 + [5e-324]))) <= 10


def test_gold_rows_pass_and_do_not_count() -> None:
    losses = [*two_groups(10, 6), 50.0, NAN]
    gold = [False] * 16 + [True, True]
    assert kept(SmallLoss(), epoch([0] * 18, gold, losses=losses)) == [*range(10), 16, 17]
    # Counting their losses, the class would be large enough for a mixture.
    assert kept(SmallLoss(min_rows=17), epoch([0] * 18, gold, losses=losses)) == list(range(18))


def test_losses_that_are_no_numbers_are_left_out() -> None:
    losses = [*two_groups(10, 6), NAN, math.inf]
    assert kept(SmallLoss(), epoch([0] * 18, losses=losses)) == list(range(10))
    assert kept(SmallLoss(), epoch([0, 0], losses=[NAN, 0.1])) == [1]
    assert kept(SmallLoss(), epoch([], losses=[])) == []


def test_the_threshold_decides_how_sure_it_must_be() -> None:
    losses = np.random.default_rng(3).gamma(1.0, 1.0, 60)
    counts = [
        len(kept(SmallLoss(threshold), epoch([0] * 60, losses=losses)))
        for threshold in (0.1, 0.5, 0.9)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_it_repeats_itself() -> None:
    view = epoch([0] * 60, losses=np.random.default_rng(4).gamma(1.0, 1.0, 60))
    state = np.random.get_state()[1].copy()  # type: ignore[index, union-attr]
    assert kept(SmallLoss(), view) == kept(SmallLoss(), view)
    assert (np.random.get_state()[1] == state).all()  # type: ignore[index]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 8), min_size=8, max_size=30))
def test_no_kept_loss_is_above_one_left_out(losses: list[float]) -> None:
    chosen = kept(SmallLoss(), epoch([0] * len(losses), losses=losses))
    rest = set(range(len(losses))) - set(chosen)
    assert chosen
    assert max(losses[index] for index in chosen) <= min(
        (losses[index] for index in rest), default=math.inf
    )


@pytest.mark.parametrize(("wide", "narrow"), [(12, 0.8), (20, 0.2)])
def test_a_wide_group_does_not_claim_what_lies_beyond_a_narrow_one(
    wide: int, narrow: float
) -> None:
    # Under the mixture alone, the largest losses would count as clean in the first case, and the
    # smallest as noisy in the second.
    losses = np.sort(
        np.concatenate([np.linspace(0, 1, wide), np.linspace(narrow, narrow + 0.02, 30)])
    )
    probability = low_probability(losses)
    assert (np.diff(probability) <= 1e-12).all()
    assert probability[0] > 0.7
    assert probability[-1] < 0.7


def test_a_class_with_a_single_group_is_kept_whole() -> None:
    losses = np.random.default_rng(0).normal(3, 1, 20)
    scaled = (losses - losses.min()) / (losses.max() - losses.min())
    assert low_probability(scaled).max() < 0.7
    assert kept(SmallLoss(0.7), epoch([0] * 20, losses=losses)) == list(range(20))
    assert len(kept(SmallLoss(0.5), epoch([0] * 20, losses=losses))) < 20


@pytest.mark.parametrize(
    ("values", "predicted"),
    [
        ({"threshold": 0.0}, r"select\.threshold=0.0 must be above 0 and at most 1"),
        ({"threshold": NAN}, r"select\.threshold=nan"),
        ({"threshold": 1.2}, r"select\.threshold=1.2"),
        ({"min_rows": 1}, r"select\.min_rows=1 is too few for a mixture of two; give 2 or more"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, float], predicted: str) -> None:
    with pytest.raises(ConfigError, match=predicted):
        SmallLoss(**values)  # type: ignore[arg-type]


def test_what_the_loop_reads_of_it() -> None:
    assert SmallLoss.needs == {"epoch"}
    assert SmallLoss(refill=True).refill
