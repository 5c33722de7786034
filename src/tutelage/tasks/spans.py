"""Entities as spans of words, and conversions between words, characters, tags and sub-tokens.

Inside tutelage, a text for NER is its words joined by single spaces, and a target is a canonical
JSON list of ``[first word, one past the last, type]``. Two annotations are equal if and only if
their targets are the same string.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from tutelage.characters import IDEOGRAMS, REPLACEMENT
from tutelage.errors import DataError

_MARK, _BREAK = "\u0300", "\u200b"
_LETTER = rf"(?:(?![{IDEOGRAMS}])\w)"
_WORD = re.compile(
    rf"[{_MARK}{_BREAK}]*"
    rf"(?:[{IDEOGRAMS}]{_MARK}*"
    rf"|{_LETTER}(?:{_LETTER}|{_MARK})*"
    rf"(?:(?!['’]s(?!\w))[.'’\-](?={_LETTER})(?:{_LETTER}|{_MARK})+)*"
    rf"|['’]s(?!\w)"
    rf"|[^\w\s{_MARK}{_BREAK}])"
    rf"[{_MARK}{_BREAK}]*"
    rf"|[{_MARK}{_BREAK}]+"
)
"""Pattern of a word, for texts with every mark replaced by ``_MARK``.

A zero-width space ends a word.
"""


class Span(NamedTuple):
    """An entity; spans sort by position.

    Attributes:
        start: Index of the first word.
        end: Index one past the last word.
        type: Entity type.
    """

    start: int
    end: int
    type: str

    def shares_a_word(self, start: int, end: int) -> bool:
        """Whether the span overlaps the words [start, end)."""
        return start < self.end and self.start < end


def write_spans(spans: Iterable[Span]) -> str:
    """Canonical JSON target of an annotation; "[]" without entities.

    Raises:
        DataError: Two spans share a word, or a span is empty.
    """
    ordered = sorted(spans)
    for span in ordered:
        if not 0 <= span.start < span.end:
            raise DataError(
                f"The entity {tuple(span)} has no words. Its end must be greater than its start."
            )
    # Sorted by start, so only neighbours can overlap.
    for first, second in pairwise(ordered):
        if second.start < first.end:
            raise DataError(
                f"The entities {tuple(first)} and {tuple(second)} overlap; nested entities are not "
                "supported. Keep one of them."
            )
    return json.dumps([list(span) for span in ordered], ensure_ascii=False)


def read_spans(target: str) -> tuple[Span, ...]:
    """Spans of a target."""
    return tuple(Span(int(start), int(end), str(type)) for start, end, type in json.loads(target))


def split_words(text: str) -> list[tuple[int, int]]:
    """Splits a raw text into words, as character ranges [start, end).

    Words are runs of letters and digits (with inner ``.'-``), single Chinese or Japanese
    characters, the genitive 's, and single punctuation characters. Every character except white
    space belongs to a word. Characters invisible on their own (accents, vowel signs, joiners,
    control characters, U+FFFD) stay with their neighbour: tokenizers drop them, so a word made of
    one alone would split an entity.
    """
    # Plain ASCII has no marks and skips the slow scan.
    if not (text.isascii() and text.isprintable()):
        text = "".join(_MARK if _is_mark(sign) else sign for sign in text)
    return [match.span() for match in _WORD.finditer(text)]


def _is_mark(sign: str) -> bool:
    """Whether a character is invisible on its own and belongs to its neighbour."""
    category = unicodedata.category(sign)
    if sign == REPLACEMENT:  # as invisible to a tokenizer as what it stands for
        return True
    if category in ("Cf", "Cc"):
        return sign != _BREAK and not sign.isspace()
    # The range holds the skin tones of emojis.
    return category[0] == "M" or "\U0001f3fb" <= sign <= "\U0001f3ff"


def joined(text: str, words: Sequence[tuple[int, int]]) -> str:
    """Words of a raw text joined by single spaces, the internal form of a text.

    Args:
        text: The raw text.
        words: Character ranges of its words.
    """
    return " ".join(text[start:end] for start, end in words)


def cut_at(words: Sequence[tuple[int, int]], indices: Iterable[int]) -> list[tuple[int, int]]:
    """Splits words at the given characters, so that annotated text always consists of whole words.

    Args:
        words: Character ranges of the words.
        indices: Character positions; those outside or at the edge of a word have no effect.
    """
    cuts = sorted(set(indices))
    result = []
    for start, end in words:
        inner = [index for index in cuts if start < index < end]
        # Consecutive cut points bound the pieces of one word.
        result += list(zip([start, *inner], [*inner, end], strict=True))
    return result


def from_characters(
    words: Sequence[tuple[int, int]], start: int, end: int, type: str
) -> Span | None:
    """Span of the words inside the characters [start, end); None without any word."""
    inside = [index for index, (first, last) in enumerate(words) if first >= start and last <= end]
    return Span(inside[0], inside[-1] + 1, type) if inside else None


def to_characters(words: Sequence[tuple[int, int]], span: Span) -> tuple[int, int]:
    """Character range [start, end) of a span."""
    return words[span.start][0], words[span.end - 1][1]


def from_tags(tags: Sequence[str]) -> list[Span]:
    """Entities of a tag sequence in IOB1, IOB2 or BIOES (BILOU).

    An entity begins at B, S or U, and at I, E or L after O or after another type; this reads all of
    the schemes.

    Raises:
        DataError: A tag belongs to none of the schemes.
    """
    spans: list[Span] = []
    begun: tuple[int, str] | None = None
    # The extra O closes an entity at the end of the text.
    for index, tag in enumerate([*tags, "O"]):
        mark, _, type = tag.partition("-")
        if mark not in ("B", "I", "O", "E", "S", "L", "U") or (mark == "O") != (not type):
            raise DataError(
                f"'{tag}' is not a tag of IOB1, IOB2 or BIOES. Use O, or B-, I-, E- or S- followed "
                "by a type."
            )
        # Close the open entity at O, at a new beginning, or at another type.
        if begun is not None and (mark in "OBSU" or type != begun[1]):
            spans.append(Span(begun[0], index, begun[1]))
            begun = None
        # Open an entity at any tag but O.
        if mark != "O" and begun is None:
            begun = (index, type)
        # End tags close the entity at once.
        if begun is not None and mark in "ESLU":
            spans.append(Span(begun[0], index + 1, begun[1]))
            begun = None
    return spans


def strict_tags(tags: Sequence[str]) -> list[str]:
    """Replaces by "O" every I- tag without a preceding tag of its type.

    Strict IOB2 does not count these tags.
    """
    kept: list[str] = []
    for tag in tags:
        goes_on = bool(kept) and kept[-1][1:] == tag[1:]
        kept.append(tag if not tag.startswith("I-") or goes_on else "O")
    return kept


def to_tags(spans: Iterable[Span], words: int) -> list[str]:
    """IOB2 tags of spans.

    Args:
        spans: The entities.
        words: Number of words; anything beyond is cut off.
    """
    tags = ["O"] * words
    for span in spans:
        for index in range(span.start, min(span.end, words)):
            tags[index] = f"{'B' if index == span.start else 'I'}-{span.type}"
    return tags


def first_pieces(word_of_piece: Sequence[int | None], words: int) -> tuple[int, ...]:
    """First sub-token of each word; -1 for a word dropped by the tokenizer or cut off.

    Args:
        word_of_piece: ``word_ids()`` of a fast tokenizer.
        words: Number of words.
    """
    indices = [-1] * words
    for piece, word in enumerate(word_of_piece):
        # Special tokens belong to no word; later pieces of a word are ignored.
        if word is not None and indices[word] < 0:
            indices[word] = piece
    return tuple(indices)
