"""Variants of a marked sentence made without a model: other entity names, and noise around them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tutelage.methods.generation.mentions import mentions_of
from tutelage.records import Row
from tutelage.tasks.spans import Span, read_spans, write_spans

Mention = tuple[str, str]
"""The words of an entity, and its type."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A sentence with its entities.

    Attributes:
        id: Id of the row the sentence comes from.
        text: Words joined by single spaces.
        spans: The entities, in order.
    """

    id: str
    text: str
    spans: tuple[Span, ...]

    @property
    def mentions(self) -> list[Mention]:
        """The distinct entities, in order."""
        return list(dict.fromkeys(mentions_of(self.text, write_spans(self.spans))))


def marked(row: Row) -> Marked:
    """Returns the sentence of a row with its entities."""
    return Marked(row.id, row.text, read_spans(row.target))


def renamed(sentence: Marked, names: Mapping[Mention, str]) -> Marked:
    """Replaces the names of all entities in a sentence.

    Args:
        sentence: The sentence.
        names: The new name of each entity.

    Returns:
        The new sentence, with the spans moved to the new words.
    """
    words, done = sentence.text.split(" "), 0
    made: list[str] = []
    spans = []
    for span in sentence.spans:
        name = names[" ".join(words[span.start : span.end]), span.type].split(" ")
        # New names may have another number of words, which moves the later spans.
        made += words[done : span.start]
        spans.append(Span(len(made), len(made) + len(name), span.type))
        made += name
        done = span.end
    return Marked(sentence.id, " ".join([*made, *words[done:]]), tuple(spans))


def noised(sentence: Marked, share: float, rng: random.Random) -> Marked | None:
    """Damages words outside the entities: drops them, swaps two letters or changes their case.

    Args:
        sentence: The sentence.
        share: Share of the words outside the entities to damage, in (0, 1]; at least one word.
        rng: Chooses the words and the damage.

    Returns:
        The damaged sentence, or None if no purely alphabetic word lies outside the entities.
    """
    words = sentence.text.split(" ")
    inside = {index for span in sentence.spans for index in range(span.start, span.end)}
    outside = [index for index, word in enumerate(words) if index not in inside and word.isalpha()]
    if not outside:
        return None
    chosen = rng.sample(outside, max(1, round(share * len(outside))))
    # A change of case alone would leave a duplicate, so the first word is damaged in another way.
    changed = {index: _damaged(words[index], rng, case=index != chosen[0]) for index in chosen}
    kept = [index for index in range(len(words)) if changed.get(index, words[index])]
    # Dropped words shift the spans behind them.
    moved = {index: number for number, index in enumerate(kept)}
    spans = tuple(
        Span(moved[span.start], moved[span.end - 1] + 1, span.type) for span in sentence.spans
    )
    return Marked(sentence.id, " ".join(changed.get(index, words[index]) for index in kept), spans)


def _damaged(word: str, rng: random.Random, *, case: bool) -> str:
    """Returns the word with one fault; "" if it is dropped."""
    # Dropping is always possible.
    ways: list[Callable[[], str]] = [lambda: ""]
    # Swapping needs two different letters, neither first nor last in the word.
    if uneven := [index for index in range(1, len(word) - 2) if word[index] != word[index + 1]]:
        ways.append(lambda: _swapped(word, rng.choice(uneven)))
    if case and word.swapcase() != word:
        ways.append(lambda: word.upper() if word.islower() else word.lower())
    return rng.choice(ways)()


def _swapped(word: str, index: int) -> str:
    return word[:index] + word[index + 1] + word[index] + word[index + 2 :]
