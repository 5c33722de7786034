"""Texts with entities, given as words with tags or as a text with character spans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from tutelage.errors import DataError
from tutelage.tasks.rows import HIDDEN, clean_name, kind_of, named
from tutelage.tasks.spans import (
    Span,
    cut_at,
    from_characters,
    from_tags,
    joined,
    split_words,
    write_spans,
)


def from_words(
    location: str, words: Sequence[Any], tags: Sequence[Any] | None, names: Sequence[str] = ()
) -> tuple[str, str | None]:
    """Convert words with IOB1, IOB2 or BIOES tags to a text and its target.

    Args:
        location: File and line, or split and row, for messages.
        words: The words of the text.
        tags: One tag per word; None if the text is unlabelled.
        names: Names of numbered tags, in numeric order, if the data set has them. A hidden tag
            makes the whole text unlabelled.

    Returns:
        The words joined by spaces, and the target as JSON spans (None for an unlabelled text).

    Raises:
        DataError: If the numbers of words and tags differ, a word is empty or contains a space, or
            a tag is invalid.
    """
    given = [checked_word(location, word) for word in words]
    if tags is None or (names and HIDDEN in tags):
        return " ".join(given), None
    if len(given) != len(tags):
        raise DataError(
            f"{location}: {len(given)} words but {len(tags)} tags. Give every word one tag."
        )
    # Numbers become names; anything but a string is then an error.
    tags = [named(location, tag, names) for tag in tags]
    for tag in tags:
        if not isinstance(tag, str):
            raise DataError(
                f"{location}: the tag {tag!r} is {kind_of(tag)}, not a string such as B-PER. "
                "Write the tags by name."
            )
    try:
        return " ".join(given), write_spans(from_tags([clean_tag(tag) for tag in tags]))
    except DataError as error:
        raise DataError(f"{location}: {error}") from None


def clean_tag(tag: str) -> str:
    """Return a tag without white space around its mark and its type ("B- ORG ")."""
    mark, hyphen, type = clean_name(tag).partition("-")
    return f"{mark.strip()}{hyphen}{type.strip()}"


def checked_word(location: str, given: Any) -> str:
    """Return the word as a string.

    White space other than space, tab and line break may be part of a word ("1 000").

    Raises:
        DataError: If it is empty, or contains a space, a tab or a line break.
    """
    word = str(given) if isinstance(given, str | int | float) else ""
    if not word.strip() or " " in word or "\t" in word or word.splitlines() != [word]:
        raise DataError(
            f"{location}: {given!r} is not a word: it is empty or contains a space. "
            "Split it, or remove it."
        )
    return word


def from_spans(
    location: str, text: str, spans: Sequence[Any] | None, names: Sequence[str] = ()
) -> tuple[str, str | None]:
    """Convert a raw text with character spans to a text and its target.

    The text is split into words by rule, and also wherever a span begins or ends inside a word.
    Repeated spans count once.

    Args:
        location: File and line, or split and row, for messages.
        text: The raw text.
        spans: [start, end, type], or objects with these keys or their variants, in characters,
            ``end`` exclusive. None if the text is unlabelled.
        names: Names of numbered types, in numeric order, if the data set has them. A hidden type
            makes the whole text unlabelled.

    Returns:
        The words joined by spaces, and the target as JSON spans (None for an unlabelled text).

    Raises:
        DataError: If a span is malformed, lies outside the text, contains no word, has two types,
            or overlaps another span.
    """
    read = [_marked(location, given, text, names) for given in spans or ()]
    if spans is None or None in read:
        return joined(text, split_words(text)), None
    marked = [one for one in read if one is not None]
    words = cut_at(split_words(text), [edge for one in marked for edge in (one.start, one.end)])
    # From characters to words; two character spans may cover the same words.
    found: dict[Span, _Marked] = {}
    for one in marked:
        span = from_characters(words, one.start, one.end, one.type)
        if span is None:
            raise DataError(
                f"{location}: the span [{one.start}, {one.end}) contains no word: {one.quote!r}. "
                "Correct it, or remove it."
            )
        found.setdefault(span, one)
    # Sorted spans overlap only if neighbours do.
    for first, second in pairwise(sorted(found)):
        if second.start < first.end:
            raise DataError(f"{location}: {_clash(first, found[first], second, found[second])}")
    return joined(text, words), write_spans(found)


_KEYS = (("start", "start_offset"), ("end", "end_offset"), ("label", "type", "labels"))
"""Keys of the start, the end and the type of a span."""


class _Marked(NamedTuple):
    """A character span with the first 60 characters of its text."""

    start: int
    end: int
    type: str
    quote: str


def _marked(location: str, given: Any, text: str, names: Sequence[str]) -> _Marked | None:
    """Validate one span; None if its type is hidden."""
    values = _values(given)
    if len(values) == 4 and _is_extra(values, text):
        values.pop()
    if len(values) != 3 or not all(type(value) is int for value in values[:2]):
        raise DataError(f"{location}: {_no_span(given)}")
    start, end, numbered = values[0], values[1], type(values[2]) is int
    name = named(location, values[2], names)
    # In the absence of names, `datasets` makes up names that equal the numbers.
    if numbered and name in (values[2], str(values[2])):
        raise DataError(
            f"{location}: the type {name} of the span [{start}, {end}) is an integer, "
            'but the data set has no names for its types. Write the types by name, such as "PER".'
        )
    hidden = numbered and name is None
    if not hidden and not (isinstance(name, str) and name.strip()):
        raise DataError(f"{location}: {_no_span(given)}")
    if not 0 <= start < end <= len(text):
        raise DataError(
            f"{location}: the span [{start}, {end}) is not a valid range of its text of "
            f"{len(text)} characters. Correct it, or remove it."
        )
    return None if hidden else _Marked(start, end, clean_name(name), text[start:end][:60])


def edges_of(given: Any) -> tuple[int, int] | None:
    """Return start and end of a span in any of its forms; None if they are no whole numbers."""
    start, end = [*_values(given), None, None][:2]
    return (start, end) if type(start) is int and type(end) is int else None


def quote_of(given: Any) -> str | None:
    """Return the text that a span gives as its own; None if it gives none."""
    quote = _first(given, ("text", "quote")) if isinstance(given, Mapping) else None
    return quote if isinstance(quote, str) else None


def _values(given: Any) -> list[Any]:
    """Start, end and type of a well-formed span."""
    if isinstance(given, Mapping):
        values = [_first(given, keys) for keys in _KEYS]
    else:
        values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
    # Tables with gaps have floats; Label Studio lists the single type.
    values[:2] = [int(one) if _is_whole(one) else one for one in values[:2]]
    values[2:3] = [
        one[0] if isinstance(one, list | tuple) and len(one) == 1 else one for one in values[2:3]
    ]
    return values


def _first(given: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """Value of the first key that has one: tables have null in place of an absent key."""
    return next((value for key in keys if (value := given.get(key)) is not None), None)


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _is_extra(values: Sequence[Any], text: str) -> bool:
    """Whether the last of four values is a score or the text of the span, and no second type."""
    start, end, _, last = values
    if not isinstance(last, str):
        return last is None or isinstance(last, int | float)
    return type(start) is int and type(end) is int and last == text[start:end]


def _no_span(given: Any) -> str:
    return (
        f"{given!r} is not a span. "
        'Give [start, end, "TYPE"] or {"start": …, "end": …, "label": "TYPE"}.'
    )


def _clash(first: Span, one: _Marked, second: Span, other: _Marked) -> str:
    """Describe the conflict between two spans that share a word, in the given characters."""
    if first[:2] == second[:2]:
        return (
            f"the span [{one.start}, {one.end}) {one.quote!r} has two types, "
            f"{one.type} and {other.type}. Keep one."
        )
    both = " and ".join(
        f"[{span.start}, {span.end}) {span.quote!r} ({span.type})" for span in (one, other)
    )
    return f"the spans {both} overlap; nested entities are not supported. Keep one of them."
