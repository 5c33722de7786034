"""Texts with marked entities as data sets have them: words with tags, or a text with spans of characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from tutelage.data.feature_names import HIDDEN, named
from tutelage.errors import DataError
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
    index: str, words: Sequence[Any], tags: Sequence[Any] | None, names: Sequence[str] = ()
) -> tuple[str, str | None]:
    """Text and target of words with their IOB1, IOB2 or BIOES tags (None where there are none, or where they are hidden).

    Args:
        names: of tags that are numbers, where the data set has them.

    Raises:
        DataError: they are not as many, a word is empty or holds a space, or a tag is not one.
    """
    given = [checked_word(index, word) for word in words]
    if tags is None or (names and HIDDEN in tags):
        return " ".join(given), None
    if len(given) != len(tags):
        raise DataError(
            f"{index}: {len(given)} words and {len(tags)} tags. Give every word one tag."
        )
    tags = [named(index, tag, names) for tag in tags]
    for tag in tags:
        if not isinstance(tag, str):
            raise DataError(
                f"{index}: the tag {tag!r} is {kind_of(tag)}, not a string such as B-PER. Write the names of the tags."
            )
    try:
        return " ".join(given), write_spans(from_tags(tags))
    except DataError as error:
        raise DataError(f"{index}: {error}") from None


def checked_word(index: str, given: Any) -> str:
    """The word as a string.

    Raises:
        DataError: it is empty, or holds a space, a tab or the end of a line; other white space may be part of a word ("1 000").
    """
    word = str(given) if isinstance(given, str | int | float) else ""
    if not word.strip() or " " in word or "\t" in word or word.splitlines() != [word]:
        raise DataError(
            f"{index}: {given!r} is not a word: it is empty, or holds a space. Split it, or take it out."
        )
    return word


def from_spans(
    index: str, text: str, spans: Sequence[Any] | None, names: Sequence[str] = ()
) -> tuple[str, str | None]:
    """Text and target of a raw text with spans of characters: [start, end, type], or objects with those keys ("label" for the type).

    The text is split into words by rule, and also where a span begins or ends inside one. A span that is there twice counts once.

    Args:
        names: of types that are numbers, where the data set has them; a hidden one hides the target.

    Raises:
        DataError: a span is not one, lies outside the text, holds no word, has two types, or overlaps another.
    """
    read = [_marked(index, given, text, names) for given in spans or ()]
    if spans is None or None in read:
        return joined(text, split_words(text)), None
    marked = [one for one in read if one is not None]
    words = cut_at(split_words(text), [edge for one in marked for edge in (one.start, one.end)])
    found: dict[Span, _Marked] = {}
    for one in marked:
        span = from_characters(words, one.start, one.end, one.type)
        if span is None:
            raise DataError(
                f"{index}: the span [{one.start}, {one.end}) holds no word: {one.quote!r}. Mend it, or take it out."
            )
        found.setdefault(span, one)
    for first, second in pairwise(sorted(found)):
        if second.start < first.end:
            raise DataError(f"{index}: {_clash(first, found[first], second, found[second])}")
    return joined(text, words), write_spans(found)


def kind_of(value: Any) -> str:
    """What a value is, for messages: "a str", "an integer"."""
    return "an integer" if type(value) is int else f"a {type(value).__name__}"


class _Marked(NamedTuple):
    """A span of characters, with at most 60 of them."""

    start: int
    end: int
    type: str
    quote: str


def _marked(index: str, given: Any, text: str, names: Sequence[str]) -> _Marked | None:
    """The span as given; None where its type is hidden."""
    if isinstance(given, Mapping):
        # Tables have every key in every row, with null for what is not meant.
        types = [value for key in ("label", "type") if (value := given.get(key)) is not None]
        values: list[Any] = [given.get("start"), given.get("end"), types[0] if types else None]
    else:
        values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
    if len(values) != 3 or not all(type(value) is int for value in values[:2]):
        raise DataError(f"{index}: {_no_span(given)}")
    start, end, numbered = values[0], values[1], type(values[2]) is int
    name = named(index, values[2], names)
    # A name that is its own number is what `datasets` makes up where there is none.
    if numbered and name in (values[2], str(values[2])):
        raise DataError(
            f"{index}: the type {name} of the span [{start}, {end}) is an integer, and nothing says which type it means. Write the types "
            'by name, such as "PER".'
        )
    hidden = numbered and name is None
    if not hidden and not (isinstance(name, str) and name.strip()):
        raise DataError(f"{index}: {_no_span(given)}")
    if not 0 <= start < end <= len(text):
        raise DataError(
            f"{index}: the span [{start}, {end}) does not lie in its text of {len(text)} characters."
        )
    return None if hidden else _Marked(start, end, name, text[start:end][:60])


def _no_span(given: Any) -> str:
    return f'{given!r} is not a span. Give [start, end, "TYPE"] or {{"start": …, "end": …, "label": "TYPE"}}.'


def _clash(first: Span, one: _Marked, second: Span, other: _Marked) -> str:
    """What is wrong with two spans that share a word, in the characters that were given."""
    if first[:2] == second[:2]:
        return f"the span [{one.start}, {one.end}) {one.quote!r} has two types, {one.type} and {other.type}. Keep one."
    said = " and ".join(
        f"[{span.start}, {span.end}) {span.quote!r} ({span.type})" for span in (one, other)
    )
    return f"the spans {said} overlap; nested entities are not supported. Keep one of them."
