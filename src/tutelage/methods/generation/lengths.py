"""Lengths of new texts: those of the shots and the pool, or fixed ones of the settings."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tutelage.characters import counts_in_characters
from tutelage.errors import ConfigError
from tutelage.methods.base import MethodContext
from tutelage.records import derive_seed
from tutelage.teacher.base import Teacher

_SAMPLE = 200
"""Texts of the pool whose lengths are measured."""
_ROOM, _MARGIN = 1.5, 16
"""A new text may have this many times the tokens of a long example, and some more."""
_SHORT = 0.5
"""It must have this share of the tokens of a short example."""
_WITHOUT_EXAMPLE = 3, 64
"""Shortest and longest new text without any example, in tokens."""
_LONG_TEXT = 40
"""Words or characters from which a length is said as a round number."""


@dataclass(frozen=True, slots=True)
class TextLengths:
    """Limits on the lengths of new texts.

    Attributes:
        max_tokens: Room for one text, in tokens of the teacher.
        min_tokens: Fewer tokens are too few; 0 if words decide.
        most_tokens: More tokens are too many; 0 if words decide.
        min_words: Fewer words are too few; 0 if tokens decide.
        max_words: More words are too many; 0 if tokens decide.
        wanted: The usual length in words ("about 12 words"), or in characters where a script has
            no spaces; "" without examples.
    """

    max_tokens: int
    min_tokens: int = 0
    most_tokens: int = 0
    min_words: int = 0
    max_words: int = 0
    wanted: str = ""

    @property
    def counts_tokens(self) -> bool:
        """Whether tokens decide, at least about one end."""
        return bool(self.min_tokens or self.most_tokens)

    def fault_in_words(self, text: str) -> str:
        """Returns why a text has too few or too many words; "" if it has not."""
        return _fault(len(text.split()), "words", self.min_words, self.max_words)

    def fault_in_tokens(self, count: int) -> str:
        """Returns why so many tokens are too few or too many; "" if they are not."""
        return _fault(count, "tokens", self.min_tokens, self.most_tokens)


def _fault(count: int, unit: str, least: int, most: int) -> str:
    if least and count < least:
        return f"under {least} {unit}"
    if most and count > most:
        return f"over {most} {unit}"
    return ""


def text_lengths(
    teacher: Teacher | None,
    examples: Sequence[str],
    max_tokens: int | None,
    min_words: int | None,
    max_words: int | None,
) -> TextLengths:
    """Returns the limits: fixed ones where they are given, otherwise those of the examples.

    Nothing is tokenised if all of them are given.

    Args:
        teacher: Its tokens count; None tokenises nothing, as without examples.
        examples: Texts such as the new ones.
        max_tokens: Room for one text, in tokens; None for 1.5 times the 95th percentile of the
            examples and 16 more.
        min_words: Fewest words; None for half of the 5th percentile of the examples, in tokens.
        max_words: Most words; None for ``max_tokens``.

    Raises:
        ConfigError: No text can meet the limits.
    """
    check_limits(max_tokens, min_words, max_words)
    counts: list[int] = []
    if teacher is not None and examples and None in (max_tokens, min_words, max_words):
        counts = sorted(len(ids) for ids in teacher.tokenize(list(examples)))
    room = max_tokens or (
        math.ceil(_ROOM * _percentile(counts, 0.95)) + _MARGIN if counts else _WITHOUT_EXAMPLE[1]
    )
    least = math.floor(_SHORT * _percentile(counts, 0.05)) if counts else _WITHOUT_EXAMPLE[0]
    return TextLengths(
        room,
        0 if min_words else min(max(1, least), room),
        0 if max_words else room,
        min_words or 0,
        max_words or 0,
        usual_length(examples),
    )


def check_limits(max_tokens: int | None, min_words: int | None, max_words: int | None) -> None:
    """Checks fixed limits.

    Raises:
        ConfigError: No text can meet the limits.
    """
    if max_tokens is not None and max_tokens < 1:
        raise ConfigError(
            f"method.max_tokens={max_tokens} allows no text. Set 1 or more, or null for the "
            "lengths of the examples."
        )
    least = 1 if min_words is None else min_words
    most = least if max_words is None else max_words
    if not 0 < least <= most:
        raise ConfigError(
            f"method.min_words={min_words} and method.max_words={max_words} allow no text. "
            "Set 1 or more, and min_words at most max_words."
        )


def examples_of(context: MethodContext) -> list[str]:
    """Returns the texts whose lengths new ones should have: the shots and a sample of the pool.

    Args:
        context: The parts of the run.
    """
    pool = [example.text for example in context.unlabelled]
    if len(pool) > _SAMPLE:
        pool = random.Random(derive_seed("lengths", context.seed)).sample(pool, _SAMPLE)
    return [*(shot.text for shot in context.shots), *pool]


def usual_length(examples: Sequence[str]) -> str:
    """Returns the middle length of texts as words of a prompt ("about 12 words").

    Args:
        examples: The texts.
    """
    if not examples:
        return ""
    unit = "characters" if counts_in_characters(examples) else "words"
    counts = [
        sum(not sign.isspace() for sign in text) if unit == "characters" else len(text.split())
        for text in examples
    ]
    middle = max(1, round(median(counts)))
    if middle >= _LONG_TEXT:
        middle = round(middle, -1)
    return f"about {middle} {unit}" if middle > 1 else f"about 1 {unit[:-1]}"


def _percentile(ordered: Sequence[int], share: float) -> int:
    """The value at a share of an ordered sequence (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
