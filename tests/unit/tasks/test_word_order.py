"""Random changes of the order of words."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tutelage.tasks.word_order import swapped, thinned


@given(st.integers(0, 12), st.sets(st.integers(0, 11)), st.integers(1, 4), st.integers(0, 99))
def test_only_places_change_and_no_word_is_made_up(
    total: int, free: set[int], count: int, seed: int
) -> None:
    places = sorted(free & set(range(total)))
    fixed = set(range(total)) - free
    order = swapped(total, places, count, random.Random(seed))
    assert sorted(order) == list(range(total))
    assert all(order[place] == place for place in fixed)
    kept = thinned(total, places, count / 4, random.Random(seed))
    assert kept == sorted(set(kept))
    assert fixed <= set(kept) <= set(range(total))
    # At least one word goes, unless that would leave nothing.
    assert len(kept) < total or not places or not fixed
    assert kept or not total


def test_a_swap_exchanges_two_words() -> None:
    order = swapped(6, [0, 2, 5], 1, random.Random(3))
    assert sum(word != place for place, word in enumerate(order)) == 2
    assert swapped(3, [1], 5, random.Random(0)) == [0, 1, 2]
