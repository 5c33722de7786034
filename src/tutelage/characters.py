"""One policy for the characters of texts and names, from every source.

* A text keeps its characters and its form. Only what no file, tokenizer or terminal can carry is
  replaced, one character for one, so that offsets stay valid: see :func:`usable`.
* Names (labels, entity types) are compared by :func:`look_alike_key`, which ignores differences
  that a reader cannot see or would not mean.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

REPLACEMENT = "\ufffd"
"""Stands for each character that was replaced (U+FFFD)."""
_SHOWN = 80
"""Characters of a name that a line shows, at most."""

# Lone surrogates (half of a pair, for instance of a tweet cut at 140 UTF-16 units) have no UTF-8
# form. Control characters are refused by XML, terminals and many tokenizers; those that count as
# white space (tab, line ends, form feed) stay.
_UNUSABLE = re.compile(r"[\ud800-\udfff\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")

# Invisible characters that Unicode does not count as format characters.
_FILLER = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)


IDEOGRAMS = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
"""Han characters and kana, as ranges of a regular expression: each counts as a word of its own."""
_UNSPACED = re.compile(
    f"[{IDEOGRAMS}\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"  # Thai, Lao, Burmese, Khmer
)

_SPACED = re.compile(
    f"(?<=[{IDEOGRAMS}\u3000-\u303f\uff00-\uff65]) (?=[{IDEOGRAMS}\u3000-\u303f\uff00-\uff65])"
)
_ADJACENT = re.compile(f"[{IDEOGRAMS}]{{2}}")


def unspaced(text: str) -> str:
    """Takes the spaces out of Chinese or Japanese whose characters were split into words.

    Args:
        text: Any text; one with two such characters side by side stays as it is.
    """
    if text.isascii() or _ADJACENT.search(text):
        return text
    return _SPACED.sub("", text)


def counts_in_characters(texts: Iterable[str]) -> bool:
    """Whether most letters of texts belong to scripts without spaces between words."""
    letters = unspaced = 0
    for text in texts:
        letters += sum(sign.isalpha() for sign in text)
        unspaced += len(_UNSPACED.findall(text))
    return 2 * unspaced > letters


def usable(text: str) -> str:
    """Replace lone surrogates and control characters by U+FFFD; the length stays the same.

    Normalisation (NFC), invisible characters and bidirectional marks are part of the text and stay.
    """
    return _UNUSABLE.sub(REPLACEMENT, text)


def unusable_count(text: str) -> int:
    """Return the number of characters that :func:`usable` replaces."""
    return len(_UNUSABLE.findall(text))


def visible(name: str) -> str:
    """Remove invisible characters: format characters, variation selectors and fillers."""
    return "".join(
        char for char in name if unicodedata.category(char) != "Cf" and not _FILLER.match(char)
    )


def shown(name: str) -> str:
    """Return a name on one line for the terminal: escaped if need be, cut in the middle if long."""
    cut = name if len(name) <= _SHOWN else f"{name[: _SHOWN // 2]}…{name[-_SHOWN // 4 :]}"
    return cut if cut.isprintable() else ascii(cut)[1:-1].replace("\\u2026", "…")


def look_alike_key(name: str) -> str:
    """Return the form under which two names look the same to a reader.

    NFKC, casefolded, without invisible characters, and with single spaces.
    """
    folded = name
    # Casefolding can undo NFKC and vice versa, and a removed character can let two others join;
    # four rounds reach the fixed point.
    for _ in range(4):
        folded = unicodedata.normalize("NFKC", folded).casefold()
        folded = visible(folded)
    return " ".join(folded.split())
