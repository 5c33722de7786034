"""Random changes of the order of a text's words: pairs swapped, or a few words left out.

Two of the four operations of EDA (Wei and Zou 2019, arXiv 1901.11196): those that need no words
from elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Sequence


def swapped(total: int, places: Sequence[int], count: int, rng: random.Random) -> list[int]:
    """Swaps random pairs of words.

    Args:
        total: Number of words.
        places: Words that may move.
        count: Number of swaps.
        rng: Draws the pairs.

    Returns:
        The index of the word at each place; the old order with fewer than two ``places``.
    """
    order = list(range(total))
    if len(places) > 1:
        for _ in range(count):
            first, second = rng.sample(places, 2)
            order[first], order[second] = order[second], order[first]
    return order


def thinned(total: int, places: Sequence[int], share: float, rng: random.Random) -> list[int]:
    """Leaves out each word by chance, as in the paper; but at least one, and never all.

    Args:
        total: Number of words.
        places: Words that may go.
        share: Probability of each of them.
        rng: Makes the draws.

    Returns:
        The indices of the words that stay, in order.
    """
    gone = {place for place in places if rng.random() < share}
    gone = gone or set(rng.sample(places, min(1, len(places))))
    return [index for index in range(total) if len(gone) == total or index not in gone]
