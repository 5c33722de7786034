"""Random changes of a text: words replaced, inserted, swapped or deleted, and entities renamed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tutelage.methods.generation.variants import Marked, renamed
from tutelage.tasks.spans import Span
from tutelage.tasks.word_order import swapped, thinned

_DRAWN = 8
"""Words drawn to find one that differs from the word it replaces."""


class Piece(NamedTuple):
    """A word outside the entities, or the words of an entity.

    Attributes:
        words: The words, joined by single spaces.
        type: Type of the entity; "" for a word outside.
    """

    words: str
    type: str = ""


def pieces_of(sentence: Marked) -> list[Piece]:
    """Splits a sentence into words and entities, so that no change can cut an entity."""
    words, done = sentence.text.split(" "), 0
    pieces: list[Piece] = []
    for span in sentence.spans:
        pieces += map(Piece, words[done : span.start])
        pieces.append(Piece(" ".join(words[span.start : span.end]), span.type))
        done = span.end
    return [*pieces, *map(Piece, words[done:])]


def sentence_of(id: str, pieces: Sequence[Piece]) -> Marked:
    """Joins pieces, with the spans of the entities at their new places."""
    words: list[str] = []
    spans = []
    for piece in pieces:
        own = piece.words.split(" ")
        if piece.type:
            spans.append(Span(len(words), len(words) + len(own), piece.type))
        words += own
    return Marked(id, " ".join(words), tuple(spans))


def changed(
    mode: str,
    sentence: Marked,
    words: Sequence[str],
    names: Mapping[str, Sequence[str]],
    share: float,
    rng: random.Random,
) -> Marked:
    """Changes a sentence in one way.

    Args:
        mode: "replace", "insert", "swap", "delete" or "rename".
        sentence: The sentence; spans only where it has entities.
        words: Words to replace others by, and to insert; a frequent one is listed more than once.
        names: Names of entities to choose from, by type.
        share: Share of the words outside the entities to change, at least one.
        rng: Chooses words, names and places.

    Returns:
        The new sentence, with its entities at their new places; the old one where ``mode`` cannot
        change it.
    """
    if mode == "rename":
        return _with_other_names(sentence, names, rng)
    pieces = pieces_of(sentence)
    outside = [index for index, piece in enumerate(pieces) if not piece.type]
    count = max(1, round(share * len(outside)))
    if mode == "replace":
        for index in rng.sample(outside, min(count, len(outside))):
            drawn = rng.choices(words, k=_DRAWN) if words else []
            other = (word for word in drawn if word != pieces[index].words)
            pieces[index] = Piece(next(other, pieces[index].words))
    elif mode == "insert" and words:
        for _ in range(count):
            pieces.insert(rng.randint(0, len(pieces)), Piece(rng.choice(words)))
    elif mode == "swap":
        pieces = [pieces[index] for index in swapped(len(pieces), outside, count, rng)]
    elif mode == "delete":
        pieces = [pieces[index] for index in thinned(len(pieces), outside, share, rng)]
    return sentence_of(sentence.id, pieces)


def _with_other_names(
    sentence: Marked, names: Mapping[str, Sequence[str]], rng: random.Random
) -> Marked:
    """Gives one or more entities another name of their type, none of them in the sentence yet."""
    chosen = {(name, type): name for name, type in sentence.mentions}
    known = set(chosen.values())
    able = [(name, type) for name, type in chosen if not known.issuperset(names[type])]
    for name, type in rng.sample(able, rng.randint(1, len(able))) if able else ():
        if others := [other for other in names[type] if other not in known]:
            known.add(other := rng.choice(others))
            chosen[name, type] = other
    return renamed(sentence, chosen)
