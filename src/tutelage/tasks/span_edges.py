"""Character spans that cut words, and the way of counting that explains them.

Offsets are easily written in another unit (UTF-16, bytes) or convention (inclusive ends, counted
from 1). A single span does not show it, but over a whole split the right reading puts every edge
between words, and a wrong one cuts most of them.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

from tutelage.errors import DataError
from tutelage.tasks.rows import in_file
from tutelage.tasks.spans import split_words

_LEAST = 3
"""Number of cut words from which a split may be stopped; fewer are slips, whatever their share."""
_MOST = 0.5
"""Share of spans that cut a word above which a split is stopped even without a known cause."""
_CONTRADICTED = 0.1
"""Share of spans with another text than their own above which a split is stopped."""
_SPARED = 0.1
"""Share of the faulty spans that may stay faulty under a reading that explains the others."""
_TRIED = 1000
"""Number of faulty texts, and of sound ones, on which the readings are tried."""
_SHOWN = 40
"""Characters of a span that a message shows, at most."""

_WITHOUT_SPACES = re.compile(
    # Thai to Myanmar, Khmer, Tai and Bali, Sunda, Java.
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u1aaf\u1b00-\u1bbf\ua980-\ua9ff"
    # Chinese, Japanese and Korean.
    "\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc"
    "\U0001b000-\U0001b2ff\U00020000-\U0003ffff]"
)
"""Characters of scripts that do not put spaces between words, or (Hangul) not before particles."""

Edges = tuple[int, int]
"""Start and end of a span, in the source's way of counting."""


class Marked(NamedTuple):
    """A text with character spans, and the text that each span gives as its own."""

    location: str
    text: str
    spans: tuple[Edges, ...]
    quotes: tuple[str | None, ...] = ()


class _Convention(NamedTuple):
    """What start and end mean.

    Attributes:
        said: For messages, after "It looks as if".
        mend: What to do with the numbers.
        apply: Turns them into a start from 0 and an exclusive end.
    """

    said: str
    mend: str
    apply: Callable[[int, int], Edges]


class _Unit(NamedTuple):
    """What offsets count.

    Attributes:
        said: For messages, after "It looks as if".
        mend: What to do with the numbers.
        width: Units of a character.
    """

    said: str
    mend: str
    width: Callable[[str], int]


_CONVENTIONS = (
    _Convention("", "", lambda start, end: (start, end)),
    _Convention(
        "the ends are inclusive", "add 1 to every end", lambda start, end: (start, end + 1)
    ),
    _Convention(
        "the offsets count from 1",
        "subtract 1 from every start and end",
        lambda start, end: (start - 1, end - 1),
    ),
    _Convention(
        "the offsets count from 1 and the ends are inclusive",
        "subtract 1 from every start",
        lambda start, end: (start - 1, end),
    ),
    _Convention(
        "the second number is a length",
        "add the start to it",
        lambda start, length: (start, start + length),
    ),
)
_UNITS = (
    _Unit("", "", lambda _: 1),
    _Unit(
        "the offsets count UTF-16 code units, of which an emoji has two",
        "replace each offset n by len(text.encode('utf-16-le')[: 2 * n].decode('utf-16-le'))",
        lambda char: 2 if char > "\uffff" else 1,
    ),
    _Unit(
        "the offsets count bytes of UTF-8",
        "replace each offset n by len(text.encode()[:n].decode())",
        lambda char: len(char.encode()),
    ),
    _Unit(
        "the offsets count every line end as two characters",
        "replace each offset n by len(text.replace('\\n', '\\r\\n')[:n].replace('\\r\\n', '\\n'))",
        lambda char: 2 if char == "\n" else 1,
    ),
)


def check_edges(where: str, marked: Sequence[Marked]) -> list[str]:
    """Look for spans whose edges lie inside words or at white space.

    Args:
        where: The file, or the name of the split, for messages.
        marked: All its texts with character spans. Every span lies within its text.

    Returns:
        Warnings with an example if there are a few.

    Raises:
        DataError: If another way of counting explains the spans that cut words, or if they are
            most of the split's.
    """
    total = sum(len(one.spans) for one in marked)
    found: dict[str, list[tuple[Marked, Edges]]] = {"cut": [], "padded": []}
    for one in marked:
        for edges in one.spans:
            found.get(_fault(one.text, *edges), []).append((one, edges))
    warnings = []
    if cut := found["cut"]:
        said = (
            f"{where}: {len(cut):,} of {total:,} spans begin or end inside a word, "
            f"such as {_quoted(*cut[0])}."
        )
        if advice := advice_on_offsets(marked):
            raise DataError(f"{said}{advice}")
        if len(cut) >= _LEAST and len(cut) > _MOST * total:
            raise DataError(
                f"{said} Write `start` and `end` in characters from 0, with `end` exclusive. If "
                "the entities really are parts of words, give words with tags instead of spans."
            )
        warnings.append(f"{said} The words are split there; correct the spans if they are wrong.")
    if padded := found["padded"]:
        warnings.append(
            f"{where}: {len(padded):,} of {total:,} spans begin or end with white space, such as "
            f"{_quoted(*padded[0])}; the entities leave it out."
        )
    return warnings


def check_quotes(where: str, marked: Sequence[Marked]) -> list[str]:
    """Look for spans that give another text than the one between their offsets.

    Args:
        where: The file, or the name of the split, for messages.
        marked: All its texts with character spans. Every span lies within its text.

    Returns:
        A warning with an example if there are a few.

    Raises:
        DataError: If they are a large share of the spans with a text.
    """
    quoted = 0
    wrong: list[tuple[Marked, Edges, str]] = []
    for one in marked:
        for edges, quote in zip(one.spans, one.quotes, strict=False):
            if quote is None:
                continue
            quoted += 1
            if _letters(quote) != _letters(one.text[slice(*edges)]):
                wrong.append((one, edges, quote))
    if not wrong:
        return []
    said = (
        f"{where}: {len(wrong):,} of {quoted:,} spans give another text than the one at their "
        f"offsets, such as {wrong[0][2][:_SHOWN]!r} for {_quoted(*wrong[0][:2])}."
    )
    if len(wrong) >= _LEAST and len(wrong) > _CONTRADICTED * quoted:
        raise DataError(f"{said} Correct `start` and `end`, or the texts.")
    return [f"{said} The offsets count; correct them if they are wrong."]


def _letters(text: str) -> str:
    """A text without white space and case, which tools change in passing."""
    return "".join(text.split()).casefold()


def advice_on_offsets(marked: Sequence[Marked]) -> str:
    """Name another way of counting that explains faulty spans, and how to mend them.

    Args:
        marked: All texts of a split with character spans, which may lie outside their texts.

    Returns:
        A sentence after a space; "" if there are few faults, or no way of counting explains them.
    """
    # Faulty texts, and sound ones, which a reading must leave sound.
    faulty: list[Marked] = []
    sound: list[Marked] = []
    faults = 0
    for one in marked:
        wrong = sum(_fault(one.text, *edges) not in ("", "padded") for edges in one.spans)
        faults += wrong
        (faulty if wrong else sound).append(one)
    tried = faulty[:_TRIED] + sound[:_TRIED]
    if faults < _LEAST:
        return ""
    left = {
        (convention, unit): _faults(tried, convention, unit)
        for unit in _UNITS
        for convention in _CONVENTIONS
    }
    # The simplest of the readings that leave the fewest faults; texts without emoji, say, cannot
    # tell UTF-16 from characters.
    fewest = min(left.values())
    if fewest <= _SPARED * left[_CONVENTIONS[0], _UNITS[0]]:
        best = [reading for reading, count in left.items() if count == fewest]
        simplest = min(_difficulty(*reading) for reading in best)
        best = [reading for reading in best if _difficulty(*reading) == simplest]
        said = " or ".join(_joined(" and ", *(part.said for part in one)) for one in best)
        mend = " or ".join(_joined(", then ", *(part.mend for part in one)) for one in best)
        return f" It looks as if {said}: {mend}."
    if all(
        0 <= start <= end <= len(split_words(text))
        for _, text, spans, _ in tried
        for start, end in spans
    ):
        return (
            " It looks as if the offsets count words: give the words with tags instead of spans, "
            "or write the offsets of their characters."
        )
    return ""


def _faults(marked: Sequence[Marked], convention: _Convention, unit: _Unit) -> int:
    """Number of faulty spans under a reading."""
    faults = 0
    for _, text, spans, _ in marked:
        # Offset of every character, and of the text's end, in the unit.
        offsets = [0, *accumulate(map(unit.width, text))]
        for edges in spans:
            start, end = convention.apply(*edges)
            if not 0 <= start <= end <= offsets[-1]:
                faults += 1
                continue
            first, last = bisect_left(offsets, start), bisect_left(offsets, end)
            # Inside a character there is no edge.
            whole = (offsets[first], offsets[last]) == (start, end)
            faults += not whole or bool(_fault(text, first, last))
    return faults


def _difficulty(convention: _Convention, unit: _Unit) -> int:
    return bool(convention.said) + bool(unit.said)


def _joined(link: str, *parts: str) -> str:
    return link.join(filter(None, parts))


def _fault(text: str, start: int, end: int) -> Literal["", "outside", "empty", "cut", "padded"]:
    """What is wrong with a span in characters; "" if nothing is."""
    if not 0 <= start < end <= len(text):
        return "outside"
    inside = text[start:end]
    if inside.isspace():
        return "empty"
    if _cuts(text, start) or _cuts(text, end):
        return "cut"
    return "padded" if inside[0].isspace() or inside[-1].isspace() else ""


def _cuts(text: str, index: int) -> bool:
    """Whether an edge lies between two letters or two digits of a word."""
    if not 0 < index < len(text):
        return False
    # An accent or vowel sign belongs to the character before it.
    base = index - 1
    while base > 0 and _is_mark(text[base]):
        base -= 1
    before, after = text[base], text[index]
    if _WITHOUT_SPACES.match(before) or _WITHOUT_SPACES.match(after):
        return False
    if _is_mark(after):
        return before.isalpha()
    # Not between a letter and a digit: "10mg" holds a number and its unit.
    return (before.isalpha() and after.isalpha()) or (before.isdigit() and after.isdigit())


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"


def _quoted(one: Marked, edges: Edges) -> str:
    """A span with the rest of the words that it cuts, and its place."""
    start, end = edges
    text = one.text
    inside = text[start:end]
    if len(inside) > _SHOWN:
        inside = f"{inside[: _SHOWN // 2]}…{inside[-_SHOWN // 2 :]}"
    if _cuts(text, start):
        inside = f"{text[max(0, start - _SHOWN) : start].split()[-1]}|{inside}"
    if _cuts(text, end):
        inside = f"{inside}|{text[end : end + _SHOWN].split()[0]}"
    return f"{inside!r} ({in_file(one.location)}, [{start}, {end}))"
