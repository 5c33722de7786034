"""Finds tokens in a server's list of likely tokens, however the server spells them.

A token of one vocabulary has many spellings: " music", "Ġmusic" (byte-level BPE), "▁music"
(SentencePiece), "music" (without its mark), "<0x0A>" (byte fallback), "bytes:\\xc3". Tokens are
compared by their bytes, and by whether they begin with a space.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.teacher.engines.server_replies import LEAST, TopToken

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_ESCAPED = re.compile(r"\\x([0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read a token.

    Attributes:
        content: Its bytes, without a space at the beginning.
        spaced: Whether it begins with a space.
    """

    content: bytes
    spaced: bool


@dataclass(frozen=True, slots=True)
class Found:
    """The choices of a request in a server's list of likely tokens.

    Attributes:
        logprobs: One value per choice; a choice that is not in the list has the lowest one there.
        missing: Number of choices that are not in the list.
    """

    logprobs: tuple[float, ...]
    missing: int


def readings(name: str, raw: bytes = b"") -> frozenset[Reading]:
    """Returns every way to read a token's name.

    Args:
        name: The token as a server or a tokenizer spells it.
        raw: Its bytes, if known.
    """
    if raw:
        return frozenset({_reading(raw)})
    # Part of a character: <0xE9>, or OpenAI's "bytes:\xe9".
    if name and not _BYTE.sub("", name):
        return frozenset({_reading(bytes(int(byte, 16) for byte in _BYTE.findall(name)))})
    if name.startswith("bytes:") and (escaped := _ESCAPED.findall(name)):
        return frozenset({_reading(bytes(int(byte, 16) for byte in escaped))})
    # A character that was replaced says nothing.
    if "\ufffd" in name:
        return frozenset()
    plain = name.replace("\u2581", " ").encode(errors="replace")
    found = {_reading(plain)}
    # The letters of byte-level BPE; plain ASCII is its own spelling.
    if not name.isascii() and all(char in _BYTE_OF for char in name):
        found.add(_reading(bytes(_BYTE_OF[char] for char in name)))
    return frozenset(found)


def _reading(data: bytes) -> Reading:
    return Reading(data[1:], True) if data[:1] == b" " else Reading(data, False)


def _letters() -> dict[str, int]:
    """The byte behind each letter of byte-level BPE: printable bytes are themselves."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + number): byte for number, byte in enumerate(others)
    }


_BYTE_OF = _letters()


def spellings(tokenizer: Any, ids: Sequence[int]) -> dict[int, frozenset[Reading]]:
    """Returns the readings of tokens of a Hugging Face tokenizer."""
    found = {}
    for number in ids:
        piece = tokenizer.convert_ids_to_tokens(number)
        text = tokenizer.decode([number])
        both = readings(piece) if isinstance(piece, str) else frozenset()
        # A decoder may drop the space, and the pieces of byte-level BPE are also plain letters, so
        # the piece decides where the two agree on what follows the space.
        told = readings(text) if isinstance(text, str) else frozenset()
        agreed = {one for one in both if one.content in {other.content for other in told}}
        found[number] = frozenset(agreed) or both or told
    return found


def find(
    tokens: Sequence[TopToken], choices: Sequence[int], known: dict[int, frozenset[Reading]]
) -> Found:
    """Looks up choices in a server's list of likely tokens.

    Args:
        tokens: The server's list.
        choices: Token ids.
        known: Readings of each choice; only needed if the list has no ids for names.
    """
    by_id = {token.id: token.logprob for token in tokens if token.id is not None}
    if by_id:
        hits = [by_id.get(choice) for choice in choices]
    else:
        hits = _by_name(tokens, choices, known)
        if all(hit is None for hit in hits):
            stated = {token.stated_id: token.logprob for token in reversed(tokens)}
            hits = [stated.get(choice) for choice in choices]
    # Tokens that are impossible say nothing about a token that is not listed.
    floor = min((token.logprob for token in tokens if token.logprob > LEAST), default=LEAST)
    return Found(
        tuple(floor if hit is None else hit for hit in hits), sum(hit is None for hit in hits)
    )


def _by_name(
    tokens: Sequence[TopToken], choices: Sequence[int], known: dict[int, frozenset[Reading]]
) -> list[float | None]:
    # The likeliest token comes first where several have the same reading.
    listed: dict[Reading, float] = {}
    for token in sorted(tokens, key=lambda token: -token.logprob):
        for reading in readings(token.name, token.raw):
            listed.setdefault(reading, token.logprob)
    # A list in which some word begins with a space shows spaces; others leave all of them out. The
    # same holds for the choices: WordPiece has no mark for a space.
    wanted = [known.get(choice, frozenset()) for choice in choices]
    both_show_spaces = any(one.spaced and one.content.strip() for one in listed) and any(
        one.spaced for choice in wanted for one in choice
    )
    hits = []
    for one_choice in wanted:
        same = [listed[one] for one in one_choice if one in listed]
        if not same and not both_show_spaces:
            turned = [Reading(one.content, not one.spaced) for one in one_choice]
            same = [listed[one] for one in turned if one in listed]
        hits.append(max(same, default=None))
    return hits
