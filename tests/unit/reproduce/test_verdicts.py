"""Verdicts: what is shown, what is not, and that a doubt is never a reproduction."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.reproduce.papers import claims_file

from tutelage.reproduce.claims import Claim, Side
from tutelage.reproduce.reading import read_papers
from tutelage.reproduce.verdicts import judge

BASE, LESS, SHARE = Side("base"), Side("less"), Side("base", "share")


def blocks(*values: float, data: str = "a") -> dict[tuple[str, int], float]:
    return {(data, seed): value for seed, value in enumerate(values, 1)}


@pytest.fixture(scope="module")
def claims(tmp_path_factory: pytest.TempPathFactory) -> Any:
    def make(number: int, **changed: Any) -> Claim:
        folder = tmp_path_factory.mktemp("claims")
        (paper,) = read_papers(
            claims_file(folder, f"mine/claims/{number}", {**_claim(number), **changed})
        ).values()
        return paper.claims[number]

    return make


def _claim(number: int) -> dict[str, Any]:
    from tests.unit.reproduce.papers import SMALL

    found: dict[str, Any] = SMALL["mine"]["claims"][number]
    return found


@pytest.mark.parametrize(
    ("ours", "theirs", "state", "why"),
    [
        ((0.8, 0.82, 0.81), (0.6, 0.61, 0.62), "reproduced", ""),
        (
            (0.6, 0.61, 0.62),
            (0.8, 0.82, 0.81),
            "not reproduced",
            "the figure lies outside the band",
        ),
        # Every difference is above 0, so the bootstrap interval is as well; Student's t is not
        # significant for three values.
        ((0.61, 0.7, 0.9), (0.6, 0.6, 0.6), "not reproduced", "not shown either way"),
        ((0.6, 0.9, 0.5), (0.7, 0.6, 0.6), "not reproduced", "not shown either way"),
        # Equal is not above.
        ((0.6, 0.7, 0.8), (0.6, 0.7, 0.8), "not reproduced", "not shown either way"),
        ((0.9,), (0.1,), "not reproduced", "not shown either way; one run has no interval"),
    ],
)
def test_a_gap(
    claims: Any, ours: tuple[float, ...], theirs: tuple[float, ...], state: str, why: str
) -> None:
    verdict = judge(claims(0), {BASE: blocks(*ours), LESS: blocks(*theirs)})
    assert (verdict.state, verdict.why) == (state, why)
    assert verdict.findings[0].mean == pytest.approx(
        sum(ours) / len(ours) - sum(theirs) / len(theirs)
    )


def test_a_factor_and_a_margin_move_what_has_to_be_passed(claims: Any) -> None:
    values = {BASE: blocks(0.80, 0.81, 0.82), LESS: blocks(0.81, 0.81, 0.81)}
    assert judge(claims(0, times=0.9), values).state == "reproduced"
    (finding,) = judge(claims(0, times=0.9, at_least=0.05), values).findings
    assert finding.mean == pytest.approx(0.81 - 0.729)
    assert finding.low < finding.mean < finding.high
    assert (
        judge(claims(0, times=0.9, at_least=0.12), values).why == "the figure lies outside the band"
    )


def test_of_several_comparisons_every_one_has_to_hold_and_the_worst_is_told_first(
    claims: Any,
) -> None:
    claim = claims(0, worse=["less", "base:before"])
    before = Side("base", "before")
    values = {
        BASE: blocks(0.8, 0.82, 0.81),
        LESS: blocks(0.6, 0.61, 0.62),
        before: blocks(0.7, 0.71, 0.72),
    }
    verdict = judge(claim, values)
    assert (verdict.state, [one.what for one in verdict.findings]) == (
        "reproduced",
        ["base − base:before", "base − less"],
    )
    verdict = judge(claim, {**values, before: blocks(0.9, 0.7, 0.81)})
    assert (verdict.state, verdict.why) == (
        "not reproduced",
        "not shown either way (1 of 2 comparisons)",
    )
    verdict = judge(claim, {**values, before: blocks(0.9, 0.91, 0.92)})
    assert verdict.why == "the figure lies outside the band in 1 of 2 comparisons"


@pytest.mark.parametrize(
    ("values", "state", "why"),
    [
        ((0.1, 0.11, 0.12), "reproduced", ""),
        ((0.4, 0.41, 0.42), "not reproduced", "the figure lies outside the band"),
        ((0.05, 0.2, 0.4), "not reproduced", "not shown either way"),
    ],
)
def test_a_value_has_to_lie_in_its_band(
    claims: Any, values: tuple[float, ...], state: str, why: str
) -> None:
    verdict = judge(claims(1), {SHARE: blocks(*values)})
    assert (verdict.state, verdict.why) == (state, why)


def test_a_band_of_two_ends_holds_at_both(claims: Any) -> None:
    claim = claims(1, at_least=0.2, at_most=0.3)
    assert judge(claim, {SHARE: blocks(0.24, 0.25, 0.26)}).state == "reproduced"
    assert judge(claim, {SHARE: blocks(0.1, 0.11, 0.12)}).why == "the figure lies outside the band"
    assert judge(claim, {SHARE: blocks(0.15, 0.25, 0.35)}).why == "not shown either way"


def test_a_spread_is_of_seeds_and_not_of_data_sets_and_three_seeds_never_show_it(
    claims: Any,
) -> None:
    claim = claims(0, kind="spread")
    steady = blocks(0.80, 0.81, 0.80, 0.81, 0.80, 0.81)
    wild = blocks(0.5, 0.9, 0.55, 0.8, 0.7, 0.6)
    assert judge(claim, {BASE: steady, LESS: wild}).state == "reproduced"
    assert judge(claim, {BASE: wild, LESS: steady}).why == "the figure lies outside the band"
    assert (
        judge(claim, {BASE: blocks(0.80, 0.81, 0.80), LESS: blocks(0.5, 0.9, 0.55)}).why
        == "not shown either way"
    )
    # The level of a data set is no spread.
    means = []
    for level in (0.0, 0.3):
        again = {
            side: {("b", seed): value - level for (_, seed), value in ours.items()}
            for side, ours in ((BASE, steady), (LESS, wild))
        }
        (finding,) = judge(claim, {BASE: steady | again[BASE], LESS: wild | again[LESS]}).findings
        means.append(finding.mean)
    assert means[0] == pytest.approx(means[1])
    assert means[0] < -0.1


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6))
@settings(max_examples=40)
def test_no_claim_and_its_contrary_are_both_reproduced(pairs: list[tuple[float, float]]) -> None:
    claim = Claim("c", "", "known", "main", "gap", (BASE,), (LESS,), 1.0, 0.0, math.inf, {}, {}, ())
    contrary = Claim(
        "d", "", "known", "main", "gap", (LESS,), (BASE,), 1.0, 0.0, math.inf, {}, {}, ()
    )
    values = {BASE: blocks(*(one for one, _ in pairs)), LESS: blocks(*(two for _, two in pairs))}
    one, other = judge(claim, values), judge(contrary, values)
    assert [one.state, other.state].count("reproduced") <= 1
    # What reproduces a claim puts its contrary outside.
    if one.state == "reproduced":
        assert one.findings[0].low > 0
        assert other.why == "the figure lies outside the band"


def test_a_side_without_a_value_is_no_verdict(tmp_path: Path) -> None:
    (paper,) = read_papers(claims_file(tmp_path)).values()
    with pytest.raises(ValueError, match="Claim more has a side without values"):
        judge(paper.claims[0], {BASE: blocks(0.5), LESS: {}})
