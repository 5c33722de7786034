"""Texts with marked entities as data sets have them: words with tags, or a text with spans of characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.errors import DataError
from tutelage.tasks.spans import Span, cut_at, from_characters, from_tags, joined, split_words, write_spans


def from_words(place: str, words: Sequence[Any], tags: Sequence[Any] | None) -> tuple[str, str | None]:
    """Text and target of words with their IOB1, IOB2 or BIOES tags (None where there are none).

    Raises:
        DataError: they are not as many, a word is empty or holds a space, or a tag is not one.
    """
    given = [checked_word(place, word) for word in words]
    if tags is None:
        return " ".join(given), None
    if len(given) != len(tags):
        raise DataError(f"{place}: {len(given)} words and {len(tags)} tags. Give every word one tag.")
    for tag in tags:
        if not isinstance(tag, str):
            raise DataError(f"{place}: the tag {tag!r} is a {type(tag).__name__}, not a string such as B-PER. Write the names of the tags.")
    try:
        return " ".join(given), write_spans(from_tags(tags))
    except DataError as error:
        raise DataError(f"{place}: {error}") from None


def checked_word(place: str, given: Any) -> str:
    """The word as a string.

    Raises:
        DataError: it is empty, or holds a space, a tab or the end of a line; other white space may be part of a word ("1 000").
    """
    word = str(given) if isinstance(given, str | int | float) else ""
    if not word.strip() or " " in word or "\t" in word or word.splitlines() != [word]:
        raise DataError(f"{place}: {given!r} is not a word: it is empty, or holds a space. Split it, or take it out.")
    return word


def from_spans(place: str, text: str, spans: Sequence[Any] | None) -> tuple[str, str | None]:
    """Text and target of a raw text with spans of characters: [start, end, type], or objects with those keys ("label" for the type).

    The text is split into words by rule, and also where a span begins or ends inside one.

    Raises:
        DataError: a span is not one, lies outside the text, holds no word, or overlaps another.
    """
    if spans is None:
        return joined(text, split_words(text)), None
    read = [_span(place, given, len(text)) for given in spans]
    words = cut_at(split_words(text), [edge for start, end, _ in read for edge in (start, end)])
    marked: list[Span] = []
    for start, end, type in read:
        span = from_characters(words, start, end, type)
        if span is None:
            raise DataError(f"{place}: the span [{start}, {end}) holds no word: {text[start:end]!r}. Mend it, or take it out.")
        marked.append(span)
    try:
        return joined(text, words), write_spans(marked)
    except DataError as error:
        raise DataError(f"{place}: {error} ({text[:60]!r})") from None


def _span(place: str, given: Any, length: int) -> tuple[int, int, str]:
    if isinstance(given, Mapping):
        values = [given.get("start"), given.get("end"), given.get("label", given.get("type"))]
    else:
        values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
    if len(values) != 3 or not all(isinstance(value, int) and not isinstance(value, bool) for value in values[:2]) or not values[2]:
        raise DataError(f'{place}: {given!r} is not a span. Give [start, end, "TYPE"] or {{"start": …, "end": …, "label": "TYPE"}}.')
    start, end, type = int(values[0]), int(values[1]), str(values[2])
    if not 0 <= start < end <= length:
        raise DataError(f"{place}: the span [{start}, {end}) does not lie in its text of {length} characters.")
    return start, end, type
