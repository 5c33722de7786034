"""Finds labels by their words, for servers that have no tokens to find them by."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Sequence

from tutelage.teacher.engines.server_replies import LEAST, TopToken
from tutelage.teacher.engines.server_tokens import Found, readings
from tutelage.teacher.marks import unmarked


def stand_in(text: str) -> int:
    """Returns a number that stands for the tokens of a text."""
    return int.from_bytes(hashlib.sha256(text.encode(errors="replace")).digest()[:4]) >> 1


def find_words(tokens: Sequence[TopToken], words: Sequence[str]) -> Found:
    """Looks up words in a server's list of likely tokens.

    A token counts for the word that it begins, whatever its case and without a space before it. If
    it begins several words and is none of them, they share its probability evenly.

    Args:
        tokens: The server's list.
        words: The words of the choices.
    """
    wanted = [word.strip().casefold() for word in words]
    mass = [0.0] * len(words)
    hit = [False] * len(words)
    for token in tokens:
        shown = _shown(token)
        begun = [at for at, word in enumerate(wanted) if shown and word.startswith(shown)]
        begun = [at for at in begun if wanted[at] == shown] or begun
        for at in begun:
            mass[at] += math.exp(token.logprob) / len(begun)
            hit[at] = True
    floor = min((token.logprob for token in tokens if token.logprob > LEAST), default=LEAST)
    found = (max(math.log(one), LEAST) if one else floor for one in mass)
    return Found(tuple(min(one, 0.0) for one in found), hit.count(False))


def _shown(token: TopToken) -> str:
    """Returns a token as a person reads it, in small letters and without a space before it."""
    texts = []
    for reading in readings(token.name, token.raw):
        with contextlib.suppress(UnicodeDecodeError):
            texts.append(reading.content.decode())
    # Letters of byte-level BPE are shorter once they are read as bytes.
    return min(texts, key=len, default="").strip().casefold()


def named(reply: str, words: Sequence[str]) -> int | None:
    """Returns the index of the word that a reply names; None if it names none, or several.

    Args:
        reply: The reply: a word, a sentence with one of them, or a JSON object with one.
        words: The words.
    """
    found = unmarked(reply)
    if found.fault:
        return None
    text = _value(found.text).strip().strip("\"'`*.,:;!?()[]").strip().casefold()
    wanted = [word.strip().casefold() for word in words]
    if text in wanted:
        return wanted.index(text)
    # The longest one first: "credit card" also holds "credit".
    rest, seen = text, []
    for at in sorted(range(len(wanted)), key=lambda at: -len(wanted[at])):
        rest, count = re.subn(rf"(?<!\w){re.escape(wanted[at])}(?!\w)", " ", rest)
        seen += [at] if count else []
    return seen[0] if len(seen) == 1 else None


def _value(text: str) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    values = list(value.values()) if isinstance(value, dict) else [value]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else text


def shares(answers: Sequence[int | None], choices: int) -> tuple[float, ...]:
    """Returns natural-log probabilities of choices from sampled answers.

    The probability of a choice is (n + 1) / (N + K): n of N answers name it, and there are K
    choices (Laplace's rule of succession).

    Args:
        answers: The choice that each answer names; None for none.
        choices: Number of choices.
    """
    counts = Counter(answers)
    total = len(answers) + choices
    return tuple(math.log((counts[at] + 1) / total) for at in range(choices))
