"""Verdicts on claims, from the measures of their runs.

A claim is *reproduced* only if both the 95 % bootstrap interval of its figure and Student's t-test
at 5 % (for spreads the test of Pitman and Morgan) put the figure inside the band, in every one of
its comparisons. Otherwise it is *not reproduced*: outside the band by the same two criteria, or not
shown either way. A claim with a missing run is *not run*.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tutelage.reproduce.claims import Claim, Side
from tutelage.sweep.results import Block
from tutelage.sweep.statistics import compare, summary

State = Literal["reproduced", "not reproduced", "not run"]
Status = Literal["inside", "outside", "unclear"]
LEFT_OUT = "not chosen by --table or --only"
LEVEL = 0.05
_DRAWS = 9999


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure of a claim: a measure, or one side minus another.

    Attributes:
        what: The comparison in words.
        count: Number of runs, or of pairs of data set and seed.
        mean, low, high: The figure and its 95 % bootstrap interval, in the unit of the metric;
            the interval is NaN for a single run.
        p: Of the test against the nearer bound of the band; NaN below two runs, or if all values
            are equal.
        status: Inside or outside the band if interval and test agree, else unclear.
    """

    what: str
    count: int
    mean: float
    low: float
    high: float
    p: float
    status: Status


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a claim.

    Attributes:
        claim: The claim.
        state: Reproduced, not reproduced or not run.
        findings: One per comparison, the least favourable first.
        why: The reason behind the state; "" for a reproduced claim.
    """

    claim: Claim
    state: State
    findings: tuple[Finding, ...]
    why: str


def not_run(claim: Claim, why: str) -> Verdict:
    """The verdict on a claim without its runs."""
    return Verdict(claim, "not run", (), why)


def judge(claim: Claim, values: Mapping[Side, Mapping[Block, float]]) -> Verdict:
    """Judges a claim by its measures.

    Args:
        claim: The claim.
        values: For each side, the measure by data set and seed; every side has the same blocks.

    Raises:
        ValueError: A side has no value.
    """
    if any(not values[side] for side in (*claim.better, *claim.worse)):
        raise ValueError(f"Claim {claim.id} has a side without values.")
    # Every comparison of the claim.
    if claim.kind == "value":
        findings = [_value(claim, side, values[side]) for side in claim.better]
    else:
        pairs = [
            (one, values[one], two, values[two]) for one in claim.better for two in claim.worse
        ]
        findings = [_gap(claim, *pair) if claim.kind == "gap" else _spread(*pair) for pair in pairs]
    # The least favourable first: the smallest, or the largest where less is better.
    sign = -1 if claim.kind == "spread" or not math.isfinite(claim.low) else 1
    findings.sort(key=lambda one: sign * one.mean)

    # One comparison outside the band decides; an unclear one leaves the claim unproven.
    if all(one.status == "inside" for one in findings):
        return Verdict(claim, "reproduced", tuple(findings), "")
    if outside := sum(one.status == "outside" for one in findings):
        of_all = f" in {outside} of {len(findings)} comparisons" if len(findings) > 1 else ""
        return Verdict(
            claim, "not reproduced", tuple(findings), f"the figure lies outside the band{of_all}"
        )
    unclear = sum(one.status == "unclear" for one in findings)
    of_all = f" ({unclear} of {len(findings)} comparisons)" if len(findings) > 1 else ""
    lone = "; one run has no interval" if max(one.count for one in findings) < 2 else ""
    return Verdict(claim, "not reproduced", tuple(findings), f"not shown either way{of_all}{lone}")


def _gap(
    claim: Claim, one: Side, ours: Mapping[Block, float], two: Side, theirs: Mapping[Block, float]
) -> Finding:
    """``one`` minus ``two`` times the factor, in pairs of data set and seed."""
    # Tested against the bound, and shown without it.
    bound = {block: claim.times * value + claim.low for block, value in theirs.items()}
    found = compare(str(one), ours, str(two), bound)
    assert found is not None
    factor = f" × {claim.times:g}" if claim.times != 1 else ""
    status = _status(found.low, found.high, found.p)
    shift = claim.low
    return Finding(
        f"{one} − {two}{factor}",
        found.count,
        found.gain + shift,
        found.low + shift,
        found.high + shift,
        found.p,
        status,
    )


def _value(claim: Claim, side: Side, values: Mapping[Block, float]) -> Finding:
    """A measure against each finite end of the band."""
    found = summary(list(values.values()))
    statuses, ps = [], []
    for bound, sign in ((claim.low, 1), (claim.high, -1)):
        if math.isfinite(bound):
            ours = {block: sign * value for block, value in values.items()}
            beyond = compare("", ours, "", dict.fromkeys(values, sign * bound))
            assert beyond is not None
            statuses.append(_status(beyond.low, beyond.high, beyond.p))
            ps.append(beyond.p)
    status: Status = (
        "outside"
        if "outside" in statuses
        else "inside"
        if set(statuses) == {"inside"}
        else "unclear"
    )
    return Finding(str(side), found.count, found.mean, found.low, found.high, max(ps), status)


def _spread(
    one: Side, ours: Mapping[Block, float], two: Side, theirs: Mapping[Block, float]
) -> Finding:
    """Compares the standard deviations of two sides over seeds.

    The mean of each data set is subtracted first, so only the seeds spread. The test is Pitman's
    and Morgan's (1939), for the variances of two paired samples.
    """
    from scipy.stats import bootstrap, pearsonr
    from scipy.stats import t as student

    blocks = [block for block in ours if block in theirs]
    sets = len({data for data, _ in blocks})
    first, second = (_centred(values, blocks) for values in (ours, theirs))
    what, mean = f"sd of {one} − sd of {two}", _deviation(first, sets) - _deviation(second, sets)
    # The mean of each data set was subtracted, which takes one degree of freedom per set.
    freedom = len(blocks) - sets - 1
    if freedom < 1 or np.ptp(first + second) == 0 or np.ptp(first - second) == 0:
        return Finding(what, len(blocks), mean, math.nan, math.nan, math.nan, "unclear")

    # Interval and test.
    drawn = bootstrap(
        (first, second),
        lambda a, b, axis=-1: a.std(axis=axis, ddof=1) - b.std(axis=axis, ddof=1),
        paired=True,
        vectorized=True,
        n_resamples=_DRAWS,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    # Two paired samples have equal variances if their sum and their difference do not correlate.
    r = float(pearsonr(first + second, first - second).statistic)
    p = 2 * float(student.sf(abs(r) * math.sqrt(freedom / max(1e-12, 1 - r * r)), freedom))
    low, high = float(drawn.low), float(drawn.high)
    return Finding(what, len(blocks), mean, low, high, p, _status(-high, -low, p))


def _status(low: float, high: float, p: float) -> Status:
    """The status of a figure whose band is above 0, by its interval and its test."""
    if not p < LEVEL:  # a NaN shows nothing
        return "unclear"
    return "inside" if low > 0 else "outside" if high < 0 else "unclear"


def _centred(values: Mapping[Block, float], blocks: Sequence[Block]) -> np.ndarray:
    by_set: dict[str, list[float]] = {}
    for data, seed in blocks:
        by_set.setdefault(data, []).append(values[data, seed])
    return np.array([values[block] - np.mean(by_set[block[0]]) for block in blocks])


def _deviation(values: np.ndarray, sets: int) -> float:
    return float(values.std(ddof=sets)) if len(values) > sets else math.nan
