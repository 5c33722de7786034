"""Confirmed: the rows whose labels a classifier of the given rows gives too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.helpers.epoch_views import epoch, kept

from tutelage.errors import ConfigError
from tutelage.selectors.confirmed import Confirmed

GOLD = np.array([True, False, False, False, False])
AGREED = np.array([True, True, False, False, True])
VIEW = replace(
    epoch([0, 0, 0, 1, 1], confidence=[1.0, 0.3, 0.9, 0.7, np.nan]), gold=GOLD, confirmed=AGREED
)


def test_confirmed_rows_stay_and_so_do_those_the_teacher_is_sure_of() -> None:
    assert kept(Confirmed(min_confidence=0.8), VIEW) == [0, 1, 2, 4]


def test_from_a_threshold_of_1_on_confirmed_rows_stay_alone() -> None:
    certain = replace(VIEW, confidence=np.ones(5))
    assert kept(Confirmed(min_confidence=1.0), certain) == [0, 1, 4]


def test_without_a_given_row_there_is_no_second_judge() -> None:
    with pytest.raises(ValueError, match="without gold rows"):
        Confirmed().choose(replace(VIEW, gold=np.zeros(5, dtype=bool)))


def test_a_threshold_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"select.min_confidence=1.2 must be in \[0, 1\]"):
        Confirmed(min_confidence=1.2)


def test_a_view_that_does_not_say_what_is_confirmed_is_a_fault_of_the_caller() -> None:
    with pytest.raises(ValueError, match="without confirmed or"):
        Confirmed().choose(epoch([0, 0]))
