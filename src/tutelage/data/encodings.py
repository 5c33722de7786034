"""Decodes text files; names the likely encodings of one that is not in the encoding expected.

A byte order mark settles the encoding and never becomes part of a text. Anything else about an
encoding is a guess, and the messages show a word of each candidate.
"""

from __future__ import annotations

import codecs
import re
import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tutelage.data.files import COMPRESSED
from tutelage.errors import ConfigError, DataError

_MARKS = (
    # UTF-32 first: the mark of its little-endian form begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# In the order in which equally likely ones are named.
_COMMON = (
    *("cp1252", "cp1250", "cp1254", "mac_roman", "iso8859_2", "cp1251", "koi8_r", "cp1253"),
    *("cp1255", "cp1256", "cp1257", "mac_cyrillic", "cp866", "iso8859_5", "cp850"),
    *("shift_jis", "cp932", "euc_jp", "gb18030", "big5", "euc_kr", "cp949"),
)
_LATIN = ("cp1252", "cp1250", "iso8859_2", "cp1254", "cp1257", "mac_roman", "cp850")
"""Encodings of Latin scripts: most texts in one of them are letters in the others, too."""
_ICONV = {"mac_roman": "MACINTOSH"}
"""Names of encodings in iconv, where they are not Python's with "-" for "_"."""

_WINDOW = 100_000
"""Number of bytes that a guess looks at."""
_LOOKED_AT = 5_000
"""Number of words that are looked at."""
_TIED = 0.03
"""Difference in disorder below which two encodings are equally likely."""
_TOKEN = re.compile(rb"[^\s,;\"<>()]*[\x80-\xff][^\s,;\"<>()]*")


@dataclass(frozen=True, slots=True)
class Encoding:
    """The encoding to expect, and where a user sets it.

    Attributes:
        name: Its name in Python.
        setting: Setting or option, up to its value, for messages.
    """

    name: str = "utf-8"
    setting: str = "data.encoding="


@dataclass(frozen=True, slots=True)
class _Guess:
    """A likely encoding.

    Attributes:
        name: Its name in Python.
        word: A word of the file, decoded; "" if none tells it from the others.
    """

    name: str
    word: str


def decode(path: Path, data: bytes, encoding: Encoding) -> tuple[str, list[str]]:
    """Decode the contents of a text file.

    Args:
        path: The file, for messages.
        data: Its contents.
        encoding: Encoding to expect; a byte order mark takes precedence.

    Returns:
        The text without byte order marks, and warnings for the user.

    Raises:
        DataError: If the contents are in another encoding; the message names the likely ones.
        ConfigError: If Python does not know the encoding.
    """
    try:
        codecs.lookup(encoding.name)
        "".encode(encoding.name)  # "rot13" and "base64" are codecs, but no encodings of text
    except (LookupError, UnicodeError):
        raise ConfigError(
            f"Python knows no encoding '{encoding.name}'. "
            f"Set {encoding.setting.rstrip()} to a known one, for instance utf-8 or cp1252."
        ) from None
    marked = marked_encoding(data)
    if not marked and (wide := _wide(data, encoding.name)):
        raise DataError(
            f"{path} is not {encoding.name}: it has zero bytes as in {wide}. "
            f"Set {encoding.setting}{wide}{_conversion(path, wide)}."
        )
    try:
        text = data.decode(marked or encoding.name)
    except UnicodeDecodeError as error:
        raise DataError(_refusal(path, data, marked or encoding.name, error, encoding)) from None
    # Joined files have a mark at the start of each part.
    text = text.lstrip("\ufeff").replace("\n\ufeff", "\n")
    if "\n" not in text:
        text = text.replace("\r", "\n")  # as old Macs end lines
    return text, _suspicions(path, data, text, marked, encoding)


def marked_encoding(data: bytes) -> str:
    """Name the encoding of a byte order mark at the start of a file; "" without one."""
    return next((name for mark, name in _MARKS if data.startswith(mark)), "")


def _suspicions(path: Path, data: bytes, text: str, marked: str, encoding: Encoding) -> list[str]:
    """Warn of a setting that the file contradicts."""
    expected = codecs.lookup(encoding.name).name
    if expected.startswith("utf") or text.isascii():
        return []
    if marked:
        return [
            f"{path} was read as {marked}, as its byte order mark says, "
            f"not as {encoding.setting}{encoding.name}."
        ]
    try:
        as_utf8 = data.decode("utf-8")
    except UnicodeDecodeError:
        return []
    word, same = next(
        (given, meant)
        for given, meant in zip(text.split(), as_utf8.split(), strict=False)
        if given != meant
    )
    return [
        f"{path} is valid utf-8 (“{same[:20]}”), but {encoding.setting}{encoding.name} reads it as "
        f"“{word[:20]}”. Set {encoding.setting}utf-8 if the first word is right."
    ]


def _wide(data: bytes, expected: str) -> str:
    """Name UTF-16 without a mark, in which ASCII characters have a zero beside them."""
    expected_wide = codecs.lookup(expected).name.startswith(("utf-16", "utf-32"))
    if expected_wide or 0 not in data:
        return ""
    start = data[: 2 * _WINDOW]
    name = "utf-16le" if start[1::2].count(0) > start[0::2].count(0) else "utf-16be"
    if not _decodes(data, name) or "\0" in (text := data.decode(name)):
        return ""
    # Other scripts have few zeros, so the text itself must look like one.
    plain = sum(char.isalnum() or char.isspace() for char in text)
    return name if "\n" in text and plain > len(text) // 2 else ""


def _refusal(
    path: Path, data: bytes, tried: str, error: UnicodeDecodeError, encoding: Encoding
) -> str:
    line = data.count(b"\n", 0, error.start) + 1
    found = (
        f"{path} is not {tried}: byte {data[error.start]:#04x} at offset {error.start} "
        f"(line {line})."
    )
    # A few stray bytes in a file that is UTF-8 otherwise: no other encoding would help.
    replaced = data.decode("utf-8", "replace")
    stray = replaced.count("\ufffd")
    if sum(map(replaced.count, set(replaced) - _ASCII)) - stray > stray:
        if tried != "utf-8":
            return f"{found} It looks like utf-8: set {encoding.setting}utf-8."
        return (
            f"{found} All but {stray} of its characters beyond ASCII are utf-8. "
            "Correct the line; a part of the file was perhaps written in another encoding, or cut."
        )
    guesses = _guesses(data, error.start)
    if not guesses:
        return (
            f"{found} No encoding fits it well; is it a text file at all? If so, find out its "
            f"encoding and set {encoding.setting}<encoding>."
        )
    best = guesses[0]
    if len(guesses) == 1:
        reads = f" (“{best.word}”)" if best.word else ""
        said = (
            f"It looks like {best.name}{reads}. If that is right, set {encoding.setting}{best.name}"
        )
    else:
        words = " or ".join(
            f"{guess.word} ({guess.name})" if guess.word else guess.name for guess in guesses
        )
        said = (
            f"Which encoding it has is a guess: {words}. Set {encoding.setting.rstrip()} to the "
            f"one whose word reads right, for instance {encoding.setting}{best.name}"
        )
    return f"{found} {said}{_conversion(path, best.name)}."


_ASCII = frozenset(map(chr, range(128)))


def _conversion(path: Path, name: str) -> str:
    if path.suffix.lower() in COMPRESSED:
        return ""
    own = _ICONV.get(name, name.replace("_", "-"))
    file = shlex.quote(path.name)
    return f", or convert it: iconv -f {own} -t utf-8 {file} > converted{path.suffix}"


def _guesses(data: bytes, offset: int) -> list[_Guess]:
    """Return up to three encodings that fit equally well, those of Western texts first."""
    from charset_normalizer import from_bytes

    # Whole lines around the offending byte: a cut character would rule an encoding out.
    start = data.rfind(b"\n", 0, max(0, offset - _WINDOW // 2)) + 1
    window = data[start : start + _WINDOW]
    if start + _WINDOW < len(data) and b"\n" in window:
        window = window[: window.rindex(b"\n")]
    found = [
        (match, name)
        for match in from_bytes(window, cp_isolation=list(_COMMON), preemptive_behaviour=False)
        # Several encodings may decode the text alike; the first in our order is named.
        if (name := min(match.could_be_from_charset, key=_rank)) and _decodes(data, name)
    ]
    if not found:
        return []
    least = min(match.chaos for match, _ in found)
    tied = [(match, name) for match, name in found if match.chaos - least <= _TIED]
    # If one of them resembles a language, those that resemble none are out.
    if max(match.coherence for match, _ in tied) >= 0.2:
        tied = [(match, name) for match, name in tied if match.coherence > 0]
    likely = [name for _, name in tied]
    # One that puts signs into words which another one reads as letters is out.
    spelt = {name: _spelt(window, name) for name in likely}
    # Statistics cannot tell Latin scripts apart in a short text, so a reader must.
    if _is_latin(window, min(likely, key=_rank)):
        others = [name for name in _LATIN if name not in likely and _decodes(data, name)]
        best = max(spelt.values())
        spelt |= {name: share for name in others if (share := _spelt(window, name)) >= best - 0.1}
    spelt = {name: spelt[name] for name in _distinct(window, list(spelt))}
    names = [name for name in sorted(spelt, key=_rank) if spelt[name] > max(spelt.values()) - 0.3]
    names = names[:3]
    return [_Guess(name, word) for name, word in zip(names, _words(window, names), strict=True)]


def _is_latin(window: bytes, name: str) -> bool:
    letters = [char for char in window.decode(name, "replace") if char.isalpha() and char > "\x7f"]
    latin = sum(unicodedata.name(char, "").startswith("LATIN") for char in letters)
    return latin > len(letters) // 2


def _distinct(window: bytes, names: Sequence[str]) -> list[str]:
    """Leave out encodings that read the window like one before them, in our order."""
    readings: dict[str, str] = {}
    for name in sorted(names, key=_rank):
        readings.setdefault(window.decode(name, "replace"), name)
    return list(readings.values())


def _spelt(window: bytes, name: str) -> float:
    """Share of the words beyond ASCII that consist of letters only."""
    words = [token.decode(name, "replace") for token in _TOKEN.findall(window)[:_LOOKED_AT]]
    bare = [re.sub(r"^[“‘«„‚¿¡—–]+|[”’»“‘—–….,:;!?']+$|['’–-]", "", word) for word in words]
    # A modifier letter such as "ˆ" is no letter of a word.
    letters = (
        word.isalpha() and all(unicodedata.category(c) != "Lm" for c in word) for word in bare
    )
    return sum(letters) / max(1, len(bare))


def _rank(name: str) -> int:
    return _COMMON.index(name) if name in _COMMON else len(_COMMON)


def _decodes(data: bytes, name: str) -> bool:
    try:
        data.decode(name)
    except UnicodeDecodeError:
        return False
    return True


def _words(window: bytes, names: Sequence[str]) -> list[str]:
    """Decode the first word that most of the encodings read differently."""
    best: tuple[tuple[int, int], list[str]] = ((0, 0), [""] * len(names))
    for token in _TOKEN.findall(window)[:_LOOKED_AT]:
        words = [token.decode(name, "replace").strip(" .:!?¿¡'") for name in names]
        if all(words):
            readable = sum(word.isalpha() and 3 <= len(word) <= 16 for word in words)
            score = (len(set(words)), readable)
            if score > best[0]:
                best = (score, words)
    return [word[:20] for word in best[1]]
