"""Entities as spans of words, and the ways between words, characters, tag sequences and sub-tokens.

Inside tutelage a text for NER is its words joined by single spaces, and a target is a canonical JSON list of
``[first word, one past the last, type]``: two markings are the same when their targets are the same string.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from tutelage.errors import DataError

_MARK, _BREAK = "\u0300", "\u200b"
_WORD = re.compile(
    rf"[{_MARK}{_BREAK}]*(?:\w[\w{_MARK}]*(?:(?!['’]s(?!\w))[.'’\-](?=\w)[\w{_MARK}]+)*|['’]s(?!\w)|[^\w\s{_MARK}{_BREAK}])[{_MARK}{_BREAK}]*"
    rf"|[{_MARK}{_BREAK}]+"
)
"""Over a text whose marks are all ``_MARK``. A zero-width space ends a word."""


class Span(NamedTuple):
    """An entity: the words from ``start`` up to, not with, ``end``. Spans sort by place."""

    start: int
    end: int
    type: str

    def shares_a_word(self, start: int, end: int) -> bool:
        """Whether it overlaps the words from ``start`` up to, not with, ``end``."""
        return start < self.end and self.start < end


def write_spans(spans: Iterable[Span]) -> str:
    """The target of a marking: canonical JSON, "[]" for no entity.

    Raises:
        DataError: two spans share a word, or one is empty.
    """
    ordered = sorted(spans)
    for span in ordered:
        if not 0 <= span.start < span.end:
            raise DataError(
                f"The entity {tuple(span)} has no words. Its end must be past its start."
            )
    for first, second in pairwise(ordered):
        if second.start < first.end:
            raise DataError(
                f"The entities {tuple(first)} and {tuple(second)} overlap; nested entities are not supported. Keep one of them."
            )
    return json.dumps([list(span) for span in ordered], ensure_ascii=False)


def read_spans(target: str) -> tuple[Span, ...]:
    """The spans of a target."""
    return tuple(Span(int(start), int(end), str(type)) for start, end, type in json.loads(target))


def split_words(text: str) -> list[tuple[int, int]]:
    """Where the words of a raw text lie, as [start, end) in characters: runs of letters and digits (with inner ``.'-``), the genitive
    's, and single signs.

    Every character but white space is in a word. What shows nothing of its own (accents, vowel signs, joiners, control characters) goes
    with its neighbour: tokenizers drop it, so a word of it alone would tear an entity apart.
    """
    if not (text.isascii() and text.isprintable()):
        text = "".join(_MARK if _leans(sign) else sign for sign in text)
    return [match.span() for match in _WORD.finditer(text)]


def _leans(sign: str) -> bool:
    category = unicodedata.category(sign)
    if category in ("Cf", "Cc"):
        return sign != _BREAK and not sign.isspace()
    return (
        category[0] == "M" or "\U0001f3fb" <= sign <= "\U0001f3ff"
    )  # the last: an emoji's colour of skin


def joined(text: str, words: Sequence[tuple[int, int]]) -> str:
    """The words of a raw text in the form that is used inside: joined by single spaces."""
    return " ".join(text[start:end] for start, end in words)


def cut_at(words: Sequence[tuple[int, int]], indices: Iterable[int]) -> list[tuple[int, int]]:
    """The words, split where one of the characters ``indices`` lies inside one, so that marked text is always whole words."""
    cuts = sorted(set(indices))
    result = []
    for start, end in words:
        inner = [index for index in cuts if start < index < end]
        result += list(zip([start, *inner], [*inner, end], strict=True))
    return result


def from_characters(
    words: Sequence[tuple[int, int]], start: int, end: int, type: str
) -> Span | None:
    """The words that lie inside the characters [start, end), or None where there are none."""
    inside = [index for index, (first, last) in enumerate(words) if first >= start and last <= end]
    return Span(inside[0], inside[-1] + 1, type) if inside else None


def to_characters(words: Sequence[tuple[int, int]], span: Span) -> tuple[int, int]:
    """The characters [start, end) of a span."""
    return words[span.start][0], words[span.end - 1][1]


def from_tags(tags: Sequence[str]) -> list[Span]:
    """The entities of a tag sequence in IOB1, IOB2 or BIOES (BILOU).

    An entity begins at B, S or U, and at I, E or L after O or another type; that reads all of the schemes.

    Raises:
        DataError: a tag is of none of them.
    """
    spans: list[Span] = []
    begun: tuple[int, str] | None = None
    for index, tag in enumerate([*tags, "O"]):
        mark, _, type = tag.partition("-")
        if mark not in ("B", "I", "O", "E", "S", "L", "U") or (mark == "O") != (not type):
            raise DataError(
                f"'{tag}' is not a tag of IOB1, IOB2 or BIOES: those are O, and B-, I-, E-, S- with a type."
            )
        if begun is not None and (mark in "OBSU" or type != begun[1]):
            spans.append(Span(begun[0], index, begun[1]))
            begun = None
        if mark != "O" and begun is None:
            begun = (index, type)
        if begun is not None and mark in "ESLU":
            spans.append(Span(begun[0], index + 1, begun[1]))
            begun = None
    return spans


def strict_tags(tags: Sequence[str]) -> list[str]:
    """The tags with "O" for every I- that does not go on with an entity of its type: what strict IOB2 does not count."""
    kept: list[str] = []
    for tag in tags:
        goes_on = bool(kept) and kept[-1][1:] == tag[1:]
        kept.append(tag if not tag.startswith("I-") or goes_on else "O")
    return kept


def to_tags(spans: Iterable[Span], words: int) -> list[str]:
    """IOB2 tags of ``words`` words; what lies beyond them is cut off."""
    tags = ["O"] * words
    for span in spans:
        for index in range(span.start, min(span.end, words)):
            tags[index] = f"{'B' if index == span.start else 'I'}-{span.type}"
    return tags


def first_pieces(word_of_piece: Sequence[int | None], words: int) -> tuple[int, ...]:
    """For each word the place of its first sub-token, -1 where it has none (dropped by the tokenizer, or cut off).

    Args:
        word_of_piece: a fast tokenizer's ``word_ids()``.
    """
    indices = [-1] * words
    for piece, word in enumerate(word_of_piece):
        if word is not None and indices[word] < 0:
            indices[word] = piece
    return tuple(indices)
