"""Surest: the teacher's confidence ranks the rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.epoch_views import SCORES, epoch, kept

from tutelage.errors import ConfigError
from tutelage.selectors.row_selection import Surest

NAN = math.nan


def test_the_surest_of_each_class_are_kept() -> None:
    view = epoch([0, 0, 0, 0, 1, 1], confidence=[0.9, 0.8, 0.99, 0.7, 0.2, 0.3])
    assert kept(Surest(0.5), view) == [0, 2, 5]
    assert kept(Surest(0.5, per_class=False), view) == [0, 1, 2]


def test_either_confidence_can_rank() -> None:
    view = epoch([0, 0], confidence=[0.9, 0.8], least_confidence=[0.1, 0.7])
    assert kept(Surest(0.5), view) == kept(Surest(0.5, confidence="mean"), view) == [0]
    assert kept(Surest(0.5, confidence="least"), view) == [1]


def test_unknown_confidences_rank_last_and_equals_by_place() -> None:
    view = epoch([0] * 5, confidence=[NAN, 0.5, 0.5, 0.5, 0.4])
    assert kept(Surest(0.4), view) == [1, 2]
    assert kept(Surest(0.8), view) == [1, 2, 3, 4]


@given(st.lists(SCORES, max_size=30), st.integers(1, 100))
def test_no_row_left_out_is_surer_than_one_kept(sure: list[float], percent: int) -> None:
    view = epoch([0] * len(sure), confidence=sure)
    chosen = kept(Surest(percent / 100), view)
    rest = sorted(set(range(len(sure))) - set(chosen))
    level = np.nan_to_num(np.array(sure, dtype=float), nan=-1)
    assert max(level[rest], default=-1) <= min(level[chosen], default=2)
    assert len(chosen) == math.ceil(round(len(sure) * percent / 100, 9))


def test_the_student_is_not_asked() -> None:
    view = epoch(
        [0, 0], confidence=[0.1, 0.2], probabilities=np.full((2, 2), NAN), losses=[NAN, NAN]
    )
    assert Surest.needs == {"rows"}
    assert kept(Surest(0.5), view) == [1]


def test_an_unknown_confidence_is_named() -> None:
    with pytest.raises(
        ConfigError,
        match=r"Unknown select.confidence 'leats'. Did you mean 'least'\? Available: agreement, "
        r"least, mean",
    ):
        Surest(confidence="leats")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"select\.share=0"):
        Surest(0)


def test_the_agreement_of_an_ensemble_can_rank() -> None:
    view = epoch([0] * 4, confidence=[0.9, 0.8, 0.7, 0.6], disagreement=[0.3, 0.1, NAN, 0.2])
    assert kept(Surest(0.5, confidence="agreement"), view) == [1, 3]


def test_agreement_without_an_ensemble_is_an_error_and_not_a_ranking_by_place() -> None:
    view = epoch([0, 0], [True, False], disagreement=[0.1, NAN])
    for rows in (view, epoch([0, 0])):
        with pytest.raises(ConfigError, match=r"none of the \d rows .* Give labelling=ensemble"):
            kept(Surest(0.5, confidence="agreement"), rows)
