"""Statistics of a sweep's report, computed with SciPy and statsmodels."""

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
    """The values of one arm.

    Attributes:
        count: Number of values.
        mean: Their mean.
        deviation: Sample standard deviation; NaN for one value.
        low, high: 95 % bootstrap interval of the mean; NaN for one value.
    """

    count: int
    mean: float
    deviation: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm minus another, in pairs of the same data set and seed.

    Attributes:
        arm: The arm.
        other: The subtracted arm.
        count: Number of pairs.
        gain: Mean difference.
        low, high: Its 95 % bootstrap interval.
        p: Of a paired t-test, uncorrected; NaN below two pairs or if all differences are equal.
        p_holm: Corrected over all comparisons of the sweep (Holm 1979).
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
    """Mean ranks of arms over their common blocks; 1 is best (Demsar 2006).

    Attributes:
        mean: Mean rank of each arm.
        blocks: Number of data sets, or of seeds if there is one data set.
        p: Of Friedman's test; NaN below three arms.
        critical: Mean ranks that differ by less are not separated (Nemenyi, 5 %).
    """

    mean: dict[str, float]
    blocks: int
    p: float
    critical: float


def summary(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and bootstrap interval of ``values``.

    Raises:
        ValueError: ``values`` is empty.
    """
    if not values:
        raise ValueError("There are no values to summarise.")
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Summary(len(values), float(np.mean(values)), deviation, *_interval(values))


def compare(
    arm: str, ours: Mapping[Block, float], other: str, theirs: Mapping[Block, float]
) -> Comparison | None:
    """Compares two arms over the blocks of both.

    Args:
        arm: Name of the arm.
        ours: Its values by block.
        other: Name of the arm to subtract.
        theirs: Its values by block.

    Returns:
        The comparison, whose ``p_holm`` is still ``p``; None without a common block.
    """
    from scipy.stats import ttest_1samp

    gains = [ours[block] - theirs[block] for block in ours if block in theirs]
    if not gains:
        return None
    deviation = float(np.std(gains, ddof=1)) if len(gains) > 1 else 0.0
    # Differences that are equal up to rounding have no spread to test.
    spread = deviation > 1e-12
    p = float(ttest_1samp(gains, 0.0).pvalue) if spread else math.nan
    mean = float(np.mean(gains))
    return Comparison(
        arm,
        other,
        len(gains),
        mean,
        *_interval(gains),
        p,
        p,
        mean / deviation if spread else math.nan,
    )


def comparisons(results: SweepResults) -> tuple[Comparison, ...]:
    """Compares every pair of arms, the better arm first.

    Returns:
        The comparisons by falling gain, with p corrected over all of them (Holm 1979).
    """
    from statsmodels.stats.multitest import multipletests

    # Every pair, turned so that its gain is positive.
    found = []
    for one, two in combinations(results.arms, 2):
        made = compare(one, results.blocks(one), two, results.blocks(two))
        if made is not None and made.gain < 0:
            made = compare(two, results.blocks(two), one, results.blocks(one))
        if made is not None:
            found.append(made)
    # Only comparisons with a p are corrected.
    tested = [index for index, one in enumerate(found) if math.isfinite(one.p)]
    if tested:
        corrected = multipletests([found[index].p for index in tested], method="holm")[1]
        for index, p in zip(tested, corrected, strict=True):
            found[index] = replace(found[index], p_holm=float(p))
    return tuple(sorted(found, key=lambda one: -one.gain))


def ranks(results: SweepResults) -> Ranks | None:
    """Ranks the arms over data sets (by the mean of the seeds), or over the seeds of a single one.

    Arms without a run on every data set are left out.

    Returns:
        The ranks; None below two arms or two blocks.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    # Values by arm and block, then the blocks that all arms have.
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

    # Friedman's test and Nemenyi's critical difference (Demsar 2006, section 3.2).
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
    """Billed tokens of each run when it first reached a score on dev.

    Args:
        results: The sweep.
        arm: An arm.
        data: A data set.
        target: Score in [0, 1].

    Returns:
        One number per run; None for a run below the target throughout.
    """
    return tuple(
        min((point.tokens for point in run.curve if point.dev >= target), default=None)
        for run in results.of(arm, data)
    )


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean; NaN for a single value."""
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
