"""Mentions: the names of entities in an NER text, and their positions."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.labelling.ner_candidates import capitalised
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.spans import Span, joined, read_spans, split_words


def mentions_of(text: str, target: str) -> list[tuple[str, str]]:
    """Returns (mention, type) of each entity of a text, in order.

    Args:
        text: Words joined by single spaces.
        target: The target of the text, see :mod:`tutelage.tasks.spans`.
    """
    words = text.split(" ")
    return [(" ".join(words[span.start : span.end]), span.type) for span in read_spans(target)]


def find_mention(text: str, mention: str, type: str) -> tuple[Span, ...]:
    """Finds all occurrences of a mention.

    Args:
        text: Words joined by single spaces.
        mention: The mention; split into words the same way before the search.
        type: Type of the returned spans.

    Returns:
        The non-overlapping occurrences from left to right; empty if there are none.
    """
    words, name = text.split(" "), joined(mention, split_words(mention)).split(" ")
    found: list[Span] = []
    for start in range(len(words) - len(name) + 1):
        if words[start : start + len(name)] == name and (not found or start >= found[-1].end):
            found.append(Span(start, start + len(name), type))
    return tuple(found)


def find_mentions(text: str, wanted: Sequence[tuple[str, str]]) -> tuple[list[Span], list[str]]:
    """Finds all occurrences of several mentions.

    Longer mentions are searched first, so a name is not found inside another one.

    Args:
        text: Words joined by single spaces.
        wanted: (mention, type) pairs.

    Returns:
        The sorted spans, and the mentions without any occurrence.
    """
    found: list[Span] = []
    missing = []
    for mention, type in sorted(dict.fromkeys(wanted), key=lambda pair: -len(pair[0])):
        # Ignore occurrences inside a longer name found earlier.
        indices = [
            span
            for span in find_mention(text, mention, type)
            if all(span.end <= one.start or span.start >= one.end for one in found)
        ]
        found += indices
        if not indices:
            missing.append(mention)
    return sorted(found), missing


def whole_names(words: Sequence[str], spans: Sequence[Span]) -> list[Span]:
    """Extends each span over the capitalised words right behind it, up to the next span.

    A text continuing "Petco" with "Park" is about Petco Park; a small teacher does so in one text
    out of seven. Spans of type "O" stay unchanged.

    Args:
        words: Words of the text.
        spans: Spans in order.
    """
    whole = []
    for number, span in enumerate(spans):
        end, limit = span.end, spans[number + 1].start if number + 1 < len(spans) else len(words)
        while span.type != OUTSIDE and end < limit and capitalised(words[end]):
            end += 1
        whole.append(span._replace(end=end))
    return whole


def by_type(spans: Sequence[Span], type: str) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Splits spans into those of a type and all others."""
    return split_spans(spans, [span.type == type for span in spans])


def split_spans(
    spans: Sequence[Span], first: Sequence[bool]
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Splits spans by a flag per span.

    Args:
        spans: The spans.
        first: True for the spans of the first part.
    """
    both = list(zip(spans, first, strict=True))
    return tuple(span for span, is_first in both if is_first), tuple(
        span for span, is_first in both if not is_first
    )
