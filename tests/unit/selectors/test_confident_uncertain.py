"""ConfidentUncertain: the teacher is confident, the student is not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.epoch_views import batch, epoch, kept

from tutelage.errors import ConfigError
from tutelage.selectors.llkd import LLKD
from tutelage.selectors.row_selection import ConfidentUncertain

NAN = math.nan
EVEN, SURE, LEANING = (0.5, 0.5), (1.0, 0.0), (0.8, 0.2)


def slow_score(confidence: float, distribution: tuple[float, ...]) -> float:
    entropy = -sum(value * math.log(value) for value in distribution if value > 0)
    return confidence * entropy / math.log(len(distribution))


def test_both_sides_count() -> None:
    view = epoch(
        [0] * 4, confidence=[0.9, 0.9, 0.4, 1.0], probabilities=[EVEN, LEANING, EVEN, SURE]
    )
    assert kept(ConfidentUncertain(0.25), view) == [0]
    assert kept(ConfidentUncertain(0.5), view) == [0, 1]
    assert kept(ConfidentUncertain(0.75), view) == [0, 1, 2]


def test_classes_can_be_ranked_apart() -> None:
    view = epoch([0, 0, 1, 1], confidence=[0.9, 0.8, 0.2, 0.3], probabilities=[EVEN] * 4)
    assert kept(ConfidentUncertain(0.5), view) == [0, 3]
    assert kept(ConfidentUncertain(0.5, per_class=False), view) == [0, 1]


def test_the_least_confidence_can_be_meant() -> None:
    view = epoch(
        [0, 0], confidence=[0.9, 0.8], least_confidence=[0.1, 0.7], probabilities=[EVEN] * 2
    )
    assert kept(ConfidentUncertain(0.5), view) == [0]
    assert kept(ConfidentUncertain(0.5, confidence="least"), view) == [1]


def test_what_the_student_did_not_see_ranks_last() -> None:
    view = epoch([0] * 3, probabilities=[(NAN, NAN), SURE, SURE])
    assert kept(ConfidentUncertain(0.4), view) == [1, 2]


@st.composite
def rows(draw: st.DrawFn) -> tuple[list[float], list[tuple[float, ...]]]:
    classes = draw(st.integers(2, 4))
    weights = draw(
        st.lists(
            st.lists(st.integers(0, 5), min_size=classes, max_size=classes).filter(any), max_size=12
        )
    )
    confidence = draw(st.lists(st.floats(0, 1), min_size=len(weights), max_size=len(weights)))
    return confidence, [tuple(value / sum(one) for value in one) for one in weights]


@given(rows())
def test_scores_are_the_product(given_rows: tuple[list[float], list[tuple[float, ...]]]) -> None:
    confidence, distributions = given_rows
    view = epoch(
        [0] * len(confidence),
        confidence=confidence,
        probabilities=(
            np.reshape(distributions, (len(confidence), -1)) if confidence else np.empty((0, 2))
        ),
    )
    expected = [
        slow_score(sure, distribution)
        for sure, distribution in zip(confidence, distributions, strict=True)
    ]
    assert ConfidentUncertain().scores(view).tolist() == pytest.approx(expected, abs=1e-12)


def test_kept_rows_may_weigh_what_they_would_in_llkd() -> None:
    view = epoch(
        [0] * 6,
        [False] * 5 + [True],
        confidence=[0.9, 0.8, 0.4, 0.9, 0.95, 1],
        probabilities=[EVEN, LEANING, EVEN, SURE, (0.7, 0.3), SURE],
    )
    ours = ConfidentUncertain(0.5, combine="product", normaliser="kept")
    theirs = LLKD(teacher_gate=False, student_gate=False)
    assert (ours.watches, ours.normaliser, theirs.normaliser) == (True, "kept", "kept")
    ours.begin(view)
    weights, everything = ours.weigh(batch(view)).weights, theirs.weigh(batch(view)).weights
    assert np.flatnonzero(weights).tolist() == [0, 1, 4, 5]
    assert weights[[0, 1, 4, 5]].tolist() == everything[[0, 1, 4, 5]].tolist()
    # The weight comes from the student at the step, the choice from the start of the epoch.
    later = replace(batch(view), probabilities=np.array([SURE, EVEN, EVEN, EVEN, (NAN, NAN), SURE]))
    assert ours.weigh(later).weights.tolist() == pytest.approx([0, 0.8, 0, 0, 0, 1])


def test_it_asks_for_the_student_s_view_and_checks_its_values() -> None:
    assert ConfidentUncertain.needs == {"epoch"}
    with pytest.raises(ConfigError, match=r"Unknown select\.confidence 'most'"):
        ConfidentUncertain(confidence="most")  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match=r"Unknown select\.combine 'sum'. Available: none, product"
    ):
        ConfidentUncertain(combine="sum")  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match=r"Unknown select\.normaliser 'keep'. Did you mean 'kept'"
    ):
        ConfidentUncertain(normaliser="keep")  # type: ignore[arg-type]
    assert (ConfidentUncertain().watches, ConfidentUncertain().normaliser) == (False, "weights")
    with pytest.raises(ConfigError, match=r"select\.share=2"):
        ConfidentUncertain(2)
