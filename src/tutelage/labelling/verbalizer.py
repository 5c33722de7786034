"""What stands for each label in a prompt, and the tokens by which a teacher's reply names it."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tutelage.errors import ConfigError
from tutelage.records import Label
from tutelage.teacher.base import Chat, Message, Prompt, Teacher

Tokens = tuple[int, ...]

_CONTEXT = ":"
"""What prompts end with, before the space and the label."""


@dataclass(frozen=True, slots=True)
class Verbalizer:
    """The word or code that stands for each label in prompts.

    Attributes:
        words: One word or code per label.
        tokens: First token of each word as it follows a prompt, one per label.
        coded: True if codes replace the labels' words.
        spelt: All tokens of each word where some words begin with the same token, and are told
            apart by later tokens; empty where the first tokens are all different.
        beginnings: The text of each beginning after which words differ, by its tokens. It follows
            a prompt as it is, a space before it included.
        end: The token after a whole word, which ends the reply; None if unknown.
    """

    words: tuple[str, ...]
    tokens: Tokens
    coded: bool
    spelt: tuple[Tokens, ...] = ()
    beginnings: Mapping[Tokens, str] = field(default_factory=dict)
    end: int | None = None

    def sequence(self, label: int) -> Tokens:
        """Returns the tokens that tell a label, by its index."""
        return self.spelt[label] if self.spelt else (self.tokens[label],)


def verbalize(
    teacher: Teacher, labels: Sequence[Label], allow_codes: bool = True, chat: Chat | None = None
) -> Verbalizer:
    """Finds tokens that tell the labels apart.

    The labels' words are used if their first tokens differ. Words that begin with the same token
    are told apart by their later tokens in a chat, or if codes are not allowed. Otherwise capital
    letters stand for the labels, or pairs of small letters with a single token each.

    Args:
        teacher: Its tokenizer decides.
        labels: The labels.
        allow_codes: Whether codes may replace words.
        chat: A prompt in messages, whose reply begins with a label; None for prompts that end right
            before " " and a label.

    Raises:
        ConfigError: Two words have the same tokens and codes are not allowed, or there are too few
            codes.
    """
    # Where nothing fits, a space may be a token of its own (SentencePiece does that at the start of
    # a text), so the words follow another character.
    words = tuple(label.word for label in labels)
    places: tuple[Prompt, ...] = ("", _CONTEXT) if chat is None else (chat,)
    for before in places:
        # The most readable first. Pairs of letters are many, so they are made last.
        for candidates in _candidates(teacher, labels, allow_codes, before):
            rows = continuations(teacher, candidates, before)
            firsts = [ids[0] if ids else -1 for ids in rows]
            if len(set(firsts)) == len(firsts) and -1 not in firsts:
                return Verbalizer(candidates, tuple(firsts), coded=candidates != words)
            in_full = _spelt(teacher, words, rows, before) if chat and candidates == words else None
            if in_full is not None:
                return in_full
    if chat is None and not allow_codes:
        for before in places:
            rows = continuations(teacher, words, before)
            if (in_full := _spelt(teacher, words, rows, before)) is not None:
                return in_full
    one, other = _alike(teacher, labels, places[0])
    advice = (
        f"; no {len(labels)} codes begin with tokens of their own either."
        if allow_codes
        else ", or allow codes (labelling.allow_codes=true)."
    )
    raise ConfigError(
        f"The labels '{one}' and '{other}' cannot be told apart by this teacher's tokens. Use "
        f"other words in data.labels (word: …){advice}"
    )


def continuations(teacher: Teacher, words: Sequence[str], before: Prompt) -> list[list[int]]:
    """Returns the tokens of each word as they follow a prompt.

    Args:
        teacher: Its tokenizer decides.
        words: The words.
        before: A text, which " " and the word continue; or a chat, whose reply the word begins, or
            whose prefill " " and the word continue.

    Returns:
        The tokens by word; empty where the word changes the tokens of the prompt itself.
    """
    space = _space(before)
    rows = teacher.tokenize([continued(before, space + word) for word in words])
    if not before:
        return rows
    (prefix,) = teacher.tokenize([before])
    return [row[len(prefix) :] if row[: len(prefix)] == prefix else [] for row in rows]


def continued(prompt: Prompt, text: str) -> Prompt:
    """Returns a prompt with the beginning of the reply given."""
    if not text:
        return prompt
    return prompt.prefilled(text) if isinstance(prompt, Chat) else prompt + text


def _space(before: Prompt) -> str:
    """Returns what stands between a prompt and a label."""
    return "" if isinstance(before, Chat) and not before.is_prefilled else " "


def _candidates(
    teacher: Teacher, labels: Sequence[Label], allow_codes: bool, before: Prompt
) -> Iterator[tuple[str, ...]]:
    """Yields what may stand for the labels, the most readable first."""
    yield tuple(label.word for label in labels)
    if not allow_codes:
        return
    letters = string.ascii_uppercase
    if len(labels) <= len(letters):
        yield tuple(letters[: len(labels)])
    small = string.ascii_lowercase
    pairs = _distinct_codes(teacher, [a + b for a in small for b in small], len(labels), before)
    if len(pairs) == len(labels):
        yield pairs


def _distinct_codes(
    teacher: Teacher, codes: Sequence[str], count: int, before: Prompt
) -> tuple[str, ...]:
    seen: set[int] = set()
    kept: list[str] = []
    for code, ids in zip(codes, continuations(teacher, codes, before), strict=True):
        if len(ids) == 1 and ids[0] not in seen:
            seen.add(ids[0])
            kept.append(code)
        if len(kept) == count:
            break
    return tuple(kept)


def _spelt(
    teacher: Teacher, words: tuple[str, ...], rows: Sequence[Sequence[int]], before: Prompt
) -> Verbalizer | None:
    """Returns words that are told apart by all their tokens; None where that is impossible."""
    spelt = tuple(map(tuple, rows))
    if not all(spelt) or len(set(spelt)) < len(spelt):
        return None
    beginnings: dict[Tokens, str] = {(): ""}
    for tokens, word in shared_beginnings(spelt, words).items():
        if (text := _text_of(teacher, tokens, word, before)) is None:
            return None
        beginnings[tokens] = _space(before) + text
    return Verbalizer(
        words,
        tuple(tokens[0] for tokens in spelt),
        coded=False,
        spelt=spelt,
        beginnings=beginnings,
        end=_end(teacher, words[0], before),
    )


def _text_of(teacher: Teacher, tokens: Tokens, word: str, before: Prompt) -> str | None:
    """Returns the beginning of a word that has some tokens; None if no text has them."""
    # A teacher cannot say the text of tokens. Most tokens end where a part of the word does.
    ends = [at for at in range(len(word)) if not word[at].isalnum()]
    others = [at for at in range(len(word) + 1) if at not in ends]
    for lengths in (ends, others):
        texts = [word[:length] for length in lengths]
        rows = continuations(teacher, texts, before) if texts else []
        for text, ids in zip(texts, rows, strict=True):
            if tuple(ids) == tokens:
                return text
    return None


def shared_beginnings(spelt: Sequence[Tokens], words: Sequence[str]) -> dict[Tokens, str]:
    """Finds the beginnings after which words differ.

    Args:
        spelt: The tokens of each word, all different.
        words: The words.

    Returns:
        The tokens of each beginning, without the empty one, with a word that has it. A whole word
        is one if another word goes on after it.
    """
    # In sorted order, words that differ after a beginning have neighbours that do.
    order = sorted(range(len(spelt)), key=spelt.__getitem__)
    found: dict[Tokens, str] = {}
    for one, other in pairwise(order):
        length = common_length((spelt[one], spelt[other]))
        if length:
            found[spelt[other][:length]] = words[other]
    return found


def common_length(rows: Sequence[Tokens]) -> int:
    """Returns the number of tokens that all rows begin with."""
    least, most = min(rows), max(rows)
    pairs = enumerate(zip(least, most, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(least), len(most)))


def _end(teacher: Teacher, word: str, before: Prompt) -> int | None:
    """Returns the token after a whole word: the end of a message, or of a line."""
    space = _space(before)
    whole = continued(before, space + word)
    ended: Prompt = (
        Chat((*whole.messages, Message("user", word)), whole.thinking)
        if isinstance(whole, Chat)
        else f"{whole}\n"
    )
    ids, more = teacher.tokenize([whole, ended])
    return more[len(ids)] if len(more) > len(ids) and more[: len(ids)] == ids else None


def _alike(teacher: Teacher, labels: Sequence[Label], before: Prompt) -> tuple[str, str]:
    """Returns two labels with the same tokens, or else with the same first token."""
    rows = [tuple(ids) for ids in continuations(teacher, [one.word for one in labels], before)]
    for length in (None, 1):
        seen: dict[Tokens, str] = {}
        for label, ids in zip(labels, rows, strict=True):
            if ids[:length] in seen:
                return seen[ids[:length]], label.name
            seen[ids[:length]] = label.name
    return labels[0].name, labels[-1].name
