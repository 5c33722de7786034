"""The confident joint, against numbers of cleanlab and small cases counted by hand."""

from __future__ import annotations

import numpy as np
from tests.helpers.confident_joint import CLEANLAB, noisy

from tutelage.audit.confident_joint import confident_joint, expected_wrong


def test_it_is_cleanlab_s_but_for_the_rounding_to_whole_rows() -> None:
    labels, shares = noisy()
    found = confident_joint(labels, shares)
    np.testing.assert_allclose(found.sum(axis=1), np.bincount(labels))
    assert np.abs(found - CLEANLAB).max() < 1.0


def test_a_row_counts_where_it_reaches_the_mean_of_a_class() -> None:
    shares = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.3, 0.7], [0.1, 0.9]])
    labels = np.array([0, 0, 0, 1, 1])
    # Thresholds 0.633 and 0.8: the fourth row reaches neither and is left out.
    np.testing.assert_allclose(confident_joint(labels, shares), [[2, 1], [0, 2]])
    np.testing.assert_allclose(expected_wrong(labels, shares), [1, 0])


def test_a_class_without_rows_is_nobody_s_true_class_and_has_none_wrong() -> None:
    shares = np.array([[0.2, 0.1, 0.7], [0.6, 0.3, 0.1]])
    found = confident_joint(np.array([0, 0]), shares)
    np.testing.assert_allclose(found, [[2, 0, 0], [0, 0, 0], [0, 0, 0]])


def test_of_no_rows_nothing_is_expected() -> None:
    labels, shares = np.empty(0, dtype=np.int64), np.empty((0, 3))
    np.testing.assert_array_equal(expected_wrong(labels, shares), np.zeros(3))
