"""Texts that are too long for a prompt: they keep their beginning and their end."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence

from tutelage.errors import TeacherError
from tutelage.teacher.base import Prompt

Tokenize = Callable[[Sequence[Prompt]], list[list[int]]]
"""Returns the token ids of each prompt, as a teacher does."""

GAP = " … "
"""Stands for what was left out."""
_HEAD = 2 / 3
"""Share of the beginning; the rest is the end."""
_NEAR_A_WORD = 24
"""Characters within which a cut moves to the next white space."""
_STEPS = 12
_REMEMBERED = 10_000
"""Texts whose cut form is kept: those that prompts show again and again are among them."""


class Shortener:
    """Counts the tokens of texts, and cuts long ones in their middle.

    Args:
        tokenize: The teacher's tokenizer; None estimates, as is done where the teacher has no
            tokenizer.
    """

    def __init__(self, tokenize: Tokenize | None = None) -> None:
        self._tokenize = tokenize
        self._short: dict[tuple[str, int], str] = {}

    def exceeds(self, prompt: Prompt, limit: int) -> bool:
        """Whether a prompt has more tokens than a limit.

        It is tokenised only if it could: no token is shorter than a byte.
        """
        text = str(prompt)
        if len(text) <= limit and len(text.encode("utf-8", "surrogatepass")) <= limit:
            return False
        return self.count(prompt) > limit

    def count(self, prompt: Prompt) -> int:
        """Returns the number of tokens of a prompt."""
        if self._tokenize is not None:
            try:
                return len(self._tokenize([prompt])[0])
            except TeacherError:
                self._tokenize = None
        return estimated_tokens(str(prompt))

    def cut(self, text: str, limit: int) -> str:
        """Returns a text of at most ``limit`` tokens.

        Args:
            text: The text.
            limit: Most tokens.

        Returns:
            The text as it is, or its first two thirds and its last third with " … " between. No
            character is broken, and words are kept whole where they have spaces around them.
        """
        key = (text, limit)
        if key not in self._short:
            if len(self._short) >= _REMEMBERED:
                self._short.clear()
            self._short[key] = self._cut(text, limit)
        return self._short[key]

    def _cut(self, text: str, limit: int) -> str:
        if not self.exceeds(text, limit):
            return text
        share = limit / self.count(text)
        for _ in range(_STEPS):
            shorter = _with_gap(text, int(len(text) * share))
            count = self.count(shorter)
            if count <= limit:
                return shorter
            share *= 0.98 * limit / count
        return ""


def estimated_tokens(text: str) -> int:
    """Estimates tokens without a tokenizer: four letters of ASCII each, or one other character."""
    ascii_letters = sum(sign.isascii() for sign in text)
    return math.ceil(ascii_letters / 4) + len(text) - ascii_letters


def _with_gap(text: str, keep: int) -> str:
    """Keeps so many characters of a text, or somewhat fewer."""
    head = round(_HEAD * keep)
    start = _forwards(text, len(text) - (keep - head))
    end = _backwards(text, head)
    return f"{text[:end].rstrip()}{GAP}{text[start:].lstrip()}".strip()


def _backwards(text: str, end: int) -> int:
    """Moves an end back to white space, or before a character that others are part of."""
    if 0 < end < len(text):
        for near in range(end, max(0, end - _NEAR_A_WORD), -1):
            if text[near].isspace():
                return near
    while 0 < end < len(text) and _joins(text, end):
        end -= 1
    return end


def _forwards(text: str, start: int) -> int:
    if 0 < start < len(text):
        for near in range(start, min(len(text), start + _NEAR_A_WORD)):
            if text[near - 1].isspace():
                return near
    while 0 < start < len(text) and _joins(text, start):
        start += 1
    return start


def _joins(text: str, index: int) -> bool:
    """Whether a character belongs to the one before it: accents, vowel signs, joined emojis."""
    sign = text[index]
    return (
        unicodedata.category(sign)[0] == "M"
        or sign == "\u200d"
        or text[index - 1] == "\u200d"
        or "\U0001f3fb" <= sign <= "\U0001f3ff"
    )
