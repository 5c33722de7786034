"""Changed copies of a text, and how far the student's prediction for them differs.

The measure behind ``acquire=instability``; see
:class:`tutelage.selectors.uncertainty_sampling.Instability`.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.characters import counts_in_characters, unspaced
from tutelage.records import derive_seed
from tutelage.selectors.measures import divergence
from tutelage.tasks.spans import joined, split_words
from tutelage.tasks.word_order import swapped, thinned


class ChangedCopy(NamedTuple):
    """A text with a few words left out or swapped.

    Attributes:
        text: The changed text.
        kept: Index of each of its words in the text it was made from.
    """

    text: str
    kept: tuple[int, ...]


def changed_copies(
    text: str, copies: int, share: float, *, by_word: bool, fixed: Collection[int], seed: int
) -> list[ChangedCopy]:
    """Makes changed copies of a text: every second one swaps words, the others leave some out.

    Args:
        text: The text; single spaces separate its words.
        copies: Number of copies.
        share: Share of the words to change, at least one.
        by_word: Whether words have labels of their own. If not, Chinese and Japanese are split into
            characters, since they have no spaces.
        fixed: Words that stay where they are.
        seed: With the text and the number of the copy, gives the changes.

    Returns:
        The copies. With a single word to change, all of them leave it out; without any, or if it is
        the whole text, they are the text itself.
    """
    characters = not by_word and counts_in_characters([text])
    words = (joined(text, split_words(text)) if characters else text).split(" ")
    places = [index for index in range(len(words)) if index not in fixed]
    count = max(1, round(share * len(places)))
    found = []
    for number in range(copies):
        rng = random.Random(derive_seed("instability", seed, number, text))
        if number % 2 and len(places) > 1:
            order = swapped(len(words), places, count, rng)
        else:
            order = thinned(len(words), places, share, rng)
        new = " ".join(words[index] for index in order)
        found.append(ChangedCopy(unspaced(new) if characters else new, tuple(order)))
    return found


def mean_divergence(
    logs: NDArray[np.float64],
    copies: Sequence[NDArray[np.float64]],
    kept: Sequence[Sequence[int]],
) -> float:
    """Mean over copies, and over the units both have, of the divergence; NaN without any.

    Args:
        logs: Log-probabilities of the text's units, [units, C].
        copies: The same of each copy.
        kept: For each copy, the unit of the text that each of its units is.
    """
    means = []
    for other, units in zip(copies, kept, strict=True):
        values = divergence(logs[np.array(units, dtype=np.int64)], other)
        if (read := values[~np.isnan(values)]).size:
            means.append(read.mean())
    return float(np.mean(means)) if means else float("nan")
