"""ConfidentLearning: the rows whose label the other rows confirm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.helpers.epoch_views import epoch, kept

from tutelage.errors import ConfigError
from tutelage.selectors.confident_learning import ConfidentLearning

HELD_OUT = np.array([0.9, 0.2, 0.8, 0.1, 0.3, 0.7])


def test_of_the_surest_rows_of_a_class_those_stay_that_the_others_confirm() -> None:
    view = replace(
        epoch([0, 0, 0, 0, 1, 1], confidence=[0.1, 0.9, 0.7, 0.8, 0.9, 0.1]), held_out=HELD_OUT
    )
    assert kept(ConfidentLearning(share=0.25, surest=0.5), view) == [1, 4]
    assert kept(ConfidentLearning(share=0.25, surest=0.75), view) == [2, 5]


def test_with_all_rows_to_choose_from_the_teacher_s_confidence_plays_no_part() -> None:
    view = replace(
        epoch([0, 0, 0, 0, 1, 1], confidence=[0.1, 0.9, 0.1, 0.9, 0.9, 0.1]), held_out=HELD_OUT
    )
    assert kept(ConfidentLearning(share=0.5, surest=1.0), view) == [0, 2, 5]


def test_over_all_classes_the_most_probable_labels_stay() -> None:
    view = replace(epoch([0, 0, 0, 0, 1, 1]), held_out=HELD_OUT)
    assert kept(ConfidentLearning(share=1 / 3, surest=1.0, per_class=False), view) == [0, 2]


def test_a_row_without_a_score_comes_last() -> None:
    view = replace(epoch([0, 0, 0]), held_out=np.array([np.nan, 0.1, 0.2]))
    assert kept(ConfidentLearning(share=2 / 3, surest=1.0), view) == [1, 2]


@pytest.mark.parametrize("surest", [0.2, 1.5])
def test_fewer_surest_rows_than_rows_to_keep_are_refused(surest: float) -> None:
    with pytest.raises(ConfigError, match=r"select.surest=.* at least select.share=0.25"):
        ConfidentLearning(share=0.25, surest=surest)


def test_a_view_without_held_out_scores_is_a_fault_of_the_caller() -> None:
    with pytest.raises(ValueError, match="held-out"):
        ConfidentLearning().choose(epoch([0, 0]))
