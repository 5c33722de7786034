"""The arithmetic of a sweep's report, against numbers worked out by hand or by the library."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from scipy import stats
from tests.unit.sweep.sweeps import build_sweep, results_of

from tutelage.sweep.results import read_sweep
from tutelage.sweep.statistics import compare, comparisons, ranks, summary, tokens_to_reach

HERE = "snips"


def on(*values: float) -> dict[tuple[str, int], float]:
    return {(HERE, seed): value for seed, value in enumerate(values, 1)}


def test_a_summary_has_the_mean_its_spread_and_an_interval_around_it() -> None:
    found = summary([0.7, 0.8, 0.9])
    assert (found.count, found.mean, found.deviation) == (3, pytest.approx(0.8), pytest.approx(0.1))
    assert 0.699 < found.low < 0.8 < found.high < 0.901
    assert found == summary([0.7, 0.8, 0.9])
    alone = summary([0.5])
    assert alone.mean == 0.5
    assert all(math.isnan(value) for value in (alone.deviation, alone.low, alone.high))
    assert (summary([0.5, 0.5]).low, summary([0.5, 0.5]).high) == (0.5, 0.5)
    with pytest.raises(ValueError, match="no values"):
        summary([])


def test_arms_are_compared_in_pairs_of_the_same_seed() -> None:
    found = compare("a", on(0.9, 0.7, 0.8, 0.4), "b", on(0.8, 0.5, 0.7))
    assert found is not None
    assert (found.count, found.gain) == (3, pytest.approx(0.4 / 3))
    assert found.p == pytest.approx(stats.ttest_rel([0.9, 0.7, 0.8], [0.8, 0.5, 0.7]).pvalue)
    assert found.effect == pytest.approx(
        (0.4 / 3) / math.sqrt(((0.1 / 3) ** 2 * 2 + (0.2 / 3) ** 2) / 2)
    )


def test_differences_that_are_all_alike_or_alone_have_no_p() -> None:
    for ours, theirs in (
        (on(0.9, 0.8), on(0.8, 0.7)),
        (on(0.9), on(0.8)),
        (on(0.9, 0.8), on(0.9, 0.8)),
    ):
        found = compare("a", ours, "b", theirs)
        assert found is not None
        assert math.isnan(found.p)
        assert math.isnan(found.effect)
    assert compare("a", {(HERE, 1): 0.5}, "b", {(HERE, 2): 0.5}) is None


def test_p_is_corrected_over_all_pairs_and_the_better_arm_stands_first(tmp_path: Path) -> None:
    results = results_of(
        tmp_path, {"a": (0.5, 0.52, 0.55), "b": (0.6, 0.61, 0.66), "c": (0.9, 0.93, 0.91)}
    )
    found = comparisons(results)
    assert [(one.arm, one.other) for one in found] == [("c", "a"), ("c", "b"), ("b", "a")]
    raw = sorted(one.p for one in found)
    holm = [min(1.0, raw[0] * 3), max(min(1.0, raw[0] * 3), raw[1] * 2), 0.0]
    holm[2] = max(holm[1], raw[2])
    assert sorted(one.p_holm for one in found) == pytest.approx(holm)
    assert all(one.p_holm >= one.p for one in found)


def test_ranks_over_seeds_of_one_set_and_over_sets(tmp_path: Path) -> None:
    results = results_of(
        tmp_path / "one", {"a": (0.5, 0.7, 0.5), "b": (0.6, 0.6, 0.6), "c": (0.9, 0.9, 0.9)}
    )
    found = ranks(results)
    assert found is not None
    assert found.mean == {"a": pytest.approx(8 / 3), "b": pytest.approx(7 / 3), "c": 1.0}
    # Demsar 2006, table 5: q of three arms is 2.343.
    assert (found.blocks, found.critical) == (
        3,
        pytest.approx(2.343 * math.sqrt(3 * 4 / (6 * 3)), abs=1e-3),
    )
    assert found.p == pytest.approx(
        stats.friedmanchisquare((0.5, 0.7, 0.5), (0.6, 0.6, 0.6), (0.9, 0.9, 0.9)).pvalue
    )
    assert ranks(results_of(tmp_path / "two", {"a": (0.5, 0.6)})) is None
    assert ranks(results_of(tmp_path / "three", {"a": (0.5,), "b": (0.6,)})) is None


def test_an_arm_without_a_run_on_each_data_set_is_left_out_of_the_ranks(tmp_path: Path) -> None:
    folder = build_sweep(tmp_path, {"a": (0.5,), "b": (0.6,), "c": (0.9,)}, ("snips", "trec6"))
    (folder / "jobs" / "005.json").unlink()
    found = ranks(read_sweep(folder))
    assert found is not None
    assert (found.mean, found.blocks) == ({"a": 2.0, "b": 1.0}, 2)


def test_ties_share_their_rank(tmp_path: Path) -> None:
    found = ranks(results_of(tmp_path, {"a": (0.5, 0.5), "b": (0.5, 0.5)}))
    assert found is not None
    assert found.mean == {"a": 1.5, "b": 1.5}
    assert math.isnan(found.p)


def test_tokens_to_a_target_are_those_of_the_first_round_that_stood_there(tmp_path: Path) -> None:
    results = results_of(tmp_path, {"a": (0.5, 0.8)})
    # Each run's dev goes from 0.2 over half of its score to its score, at 0, 100 and 200 tokens.
    assert tokens_to_reach(results, "all runs", HERE, 0.2) == (0, 0)
    assert tokens_to_reach(results, "all runs", HERE, 0.4) == (200, 100)
    assert tokens_to_reach(results, "all runs", HERE, 0.6) == (None, 200)
