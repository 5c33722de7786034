"""The statistics of a sweep's report; the arithmetic is SciPy's and statsmodels'."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from tutelage.sweep.results import Block, SweepResults

_DRAWS = 9999


@dataclass(frozen=True, slots=True)
class Summary:
    """Values of one arm: mean, sample standard deviation and the 95 % bootstrap interval of the mean; NaN where one value has none."""

    count: int
    mean: float
    deviation: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm less another, in pairs of the same data set and seed.

    Attributes:
        gain: mean difference; low, high: its 95 % bootstrap interval.
        p: of a paired t-test, as it is; NaN below two pairs or where all differences are alike.
        p_holm: corrected over all comparisons of the sweep (Holm 1979).
        effect: Cohen's d of the differences (their mean over their standard deviation).
    """

    arm: str
    other: str
    count: int
    gain: float
    low: float
    high: float
    p: float
    p_holm: float
    effect: float


@dataclass(frozen=True, slots=True)
class Ranks:
    """Mean ranks of arms over blocks that all have (1 the best), after Demsar 2006.

    Attributes:
        mean: of each arm that was ranked.
        blocks: data sets, or seeds where there is one data set.
        p: of Friedman's test; NaN below three arms.
        critical: two mean ranks that differ by less are not told apart (Nemenyi, 5 %).
    """

    mean: dict[str, float]
    blocks: int
    p: float
    critical: float


def summary(values: Sequence[float]) -> Summary:
    """Mean, spread and interval of ``values``.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("There are no values to summarise.")
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Summary(len(values), float(np.mean(values)), deviation, *_interval(values))


def compare(
    arm: str, ours: Mapping[Block, float], other: str, theirs: Mapping[Block, float]
) -> Comparison | None:
    """``arm`` less ``other`` over the blocks that both have; None where there is none. ``p_holm`` is still ``p``."""
    from scipy.stats import ttest_1samp

    gains = [ours[block] - theirs[block] for block in ours if block in theirs]
    if not gains:
        return None
    deviation = float(np.std(gains, ddof=1)) if len(gains) > 1 else 0.0
    # Differences that are alike to the last bits have no spread to speak of.
    told = deviation > 1e-12
    p = float(ttest_1samp(gains, 0.0).pvalue) if told else math.nan
    mean = float(np.mean(gains))
    return Comparison(
        arm,
        other,
        len(gains),
        mean,
        *_interval(gains),
        p,
        p,
        mean / deviation if told else math.nan,
    )


def comparisons(results: SweepResults) -> tuple[Comparison, ...]:
    """Every pair of arms, the better one first, with p corrected by Holm over all of them; the largest gain first."""
    from statsmodels.stats.multitest import multipletests

    found = []
    for one, two in combinations(results.arms, 2):
        made = compare(one, results.blocks(one), two, results.blocks(two))
        if made is not None and made.gain < 0:
            made = compare(two, results.blocks(two), one, results.blocks(one))
        if made is not None:
            found.append(made)
    tested = [index for index, one in enumerate(found) if math.isfinite(one.p)]
    if tested:
        corrected = multipletests([found[index].p for index in tested], method="holm")[1]
        for index, p in zip(tested, corrected, strict=True):
            found[index] = replace(found[index], p_holm=float(p))
    return tuple(sorted(found, key=lambda one: -one.gain))


def ranks(results: SweepResults) -> Ranks | None:
    """Mean ranks over data sets (means of their seeds) of the arms that have them all, or over seeds where there is one data set.

    None below two arms or two blocks.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    by_arm: dict[str, dict[str | int, list[float]]] = {}
    for arm in results.arms:
        for (data, seed), value in results.blocks(arm).items():
            by_arm.setdefault(arm, {}).setdefault(
                data if len(results.data) > 1 else seed, []
            ).append(value)
    if len(results.data) > 1:
        by_arm = {arm: found for arm, found in by_arm.items() if len(found) == len(results.data)}
    shared = (
        sorted(set.intersection(*(set(found) for found in by_arm.values())), key=str)
        if by_arm
        else []
    )
    if len(by_arm) < 2 or len(shared) < 2:
        return None
    table = np.array([[np.mean(by_arm[arm][block]) for arm in by_arm] for block in shared])
    mean = rankdata(-table, axis=1).mean(axis=0)
    arms, blocks = len(by_arm), len(shared)
    p = float(friedmanchisquare(*table.T).pvalue) if arms > 2 else math.nan
    critical = (
        studentized_range.ppf(0.95, arms, np.inf)
        / math.sqrt(2)
        * math.sqrt(arms * (arms + 1) / (6 * blocks))
    )
    return Ranks(dict(zip(by_arm, map(float, mean), strict=True)), blocks, p, float(critical))


def tokens_to_reach(
    results: SweepResults, arm: str, data: str, target: float
) -> tuple[int | None, ...]:
    """For each run of an arm the billed tokens at which it first stood at ``target`` on dev; None for a run that never did."""
    return tuple(
        min((point.tokens for point in run.curve if point.dev >= target), default=None)
        for run in results.of(arm, data)
    )


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % percentile bootstrap of the mean."""
    from scipy.stats import bootstrap

    if len(values) < 2:
        return math.nan, math.nan
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    found = bootstrap(
        (np.asarray(values),),
        np.mean,
        n_resamples=_DRAWS,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
