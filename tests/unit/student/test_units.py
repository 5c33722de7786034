"""Units of both heads: whole texts, and the words with a token."""

from __future__ import annotations

import numpy as np
import torch

from tutelage.student.units import at_units, least_certain, unit_means

TEXTS = np.array([[0.9, 0.1], [0.6, 0.4]], dtype=np.float32)
"""Two texts of a sequence head."""
WORDS = np.array(
    [[[0.5, 0.5], [0.9, 0.1], [0.3, 0.7]], [[0.8, 0.2], [0.2, 0.8], [0.5, 0.5]]], dtype=np.float32
)
"""Two texts of three tokens of a token head."""
OWNERS, POSITIONS = np.array([0, 0, 1]), np.array([1, 2, 0])


def test_a_sequence_head_has_one_unit_per_text() -> None:
    owners = np.arange(2)
    assert (at_units(TEXTS, owners, np.zeros(2, dtype=np.int64)) == TEXTS).all()
    assert least_certain(TEXTS, [[0], [0]]) is TEXTS
    assert (unit_means(TEXTS[:, 0], [[0], [0]]) == TEXTS[:, 0]).all()


def test_a_token_head_is_read_at_the_words() -> None:
    expected = WORDS[OWNERS, POSITIONS]
    assert (at_units(WORDS, OWNERS, POSITIONS) == expected).all()
    assert (at_units(torch.tensor(WORDS), OWNERS, POSITIONS).numpy() == expected).all()
    assert (least_certain(WORDS, [[1, 2], [0]]) == WORDS[[0, 1], [2, 0]]).all()
    assert (unit_means(WORDS[..., 0], [[0, 1], [1, 2]]) == np.float32([0.7, 0.35])).all()


def test_a_text_without_a_word_has_no_number() -> None:
    assert np.isnan(least_certain(WORDS, [[], [0]])).tolist() == [[True, True], [False, False]]
    assert np.isnan(unit_means(WORDS[..., 0], [[], [0]])).tolist() == [True, False]
    assert at_units(WORDS, OWNERS[:0], POSITIONS[:0]).shape == (0, 2)
