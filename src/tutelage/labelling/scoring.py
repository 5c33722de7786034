"""Labelling by scoring: one prefill per text gives the probability of each label's first token."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tutelage.errors import ConfigError, TeacherError
from tutelage.labelling.base import Draft, Labelled, Nearest, Opinion
from tutelage.labelling.calibration import Array, Calibrator
from tutelage.records import Example, Label, LabelDistribution, derive_seed
from tutelage.teacher.base import (
    Chat,
    OnReply,
    Prompt,
    Reply,
    Request,
    ScoreRequest,
    Teacher,
)
from tutelage.teacher.prompts import PromptSet

MAX_CHOICES = 128
"""Most choices per request (vLLM's limit); more labels are scored in several requests."""

_CONTEXT = ":"
"""What prompts end with, before the space and the label."""
_CONTENT_FREE = ("N/A", "[MASK]", "…")


@dataclass(frozen=True, slots=True)
class Verbalizer:
    """The word or code that stands for each label in prompts.

    Attributes:
        words: One word or code per label.
        tokens: First token of each word as it follows a prompt, one per label, all different.
        coded: True if codes replace the labels' words.
    """

    words: tuple[str, ...]
    tokens: tuple[int, ...]
    coded: bool


def verbalize(
    teacher: Teacher, labels: Sequence[Label], allow_codes: bool = True, chat: Chat | None = None
) -> Verbalizer:
    """Gives each label a token of its own.

    The labels' words are used if their first tokens differ. Otherwise capital letters stand for the
    labels, or pairs of small letters with a single token each.

    Args:
        teacher: Its tokenizer decides.
        labels: The labels.
        allow_codes: Whether codes may replace words.
        chat: A prompt in messages, whose reply begins with a label; None for prompts that end right
            before " " and a label.

    Raises:
        ConfigError: Words collide without permission for codes, or there are too few codes.
    """
    # The first candidate set with distinct first tokens wins: words, letters, pairs of letters. The
    # pairs are many, so they are made last. Where no set wins, a space may be a token of its own
    # (SentencePiece does that at the start of a text), so the words follow another character.
    words = tuple(label.word for label in labels)
    for before in ("", _CONTEXT) if chat is None else (chat,):
        for candidates in _candidates(teacher, labels, allow_codes, before):
            firsts = [ids[0] if ids else -1 for ids in continuations(teacher, candidates, before)]
            if len(set(firsts)) == len(firsts) and -1 not in firsts:
                return Verbalizer(candidates, tuple(firsts), coded=candidates != words)
    clash = _first_clash(teacher, labels, "" if chat is None else chat)
    advice = (
        f"; no {len(labels)} codes begin with tokens of their own either."
        if allow_codes
        else ", or allow codes (labelling.allow_codes=true)."
    )
    raise ConfigError(
        f"The labels '{clash[0]}' and '{clash[1]}' begin with the same token for this teacher, so "
        f"one prefill cannot tell them apart. Use other words in data.labels (word: …){advice}"
    )


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
    if isinstance(before, Chat):
        space = " " if before.is_prefilled else ""
        rows = teacher.tokenize([before.prefilled(space + word) for word in words])
    else:
        rows = teacher.tokenize([f"{before} {word}" for word in words])
    if not before:
        return rows
    (prefix,) = teacher.tokenize([before])
    return [row[len(prefix) :] if row[: len(prefix)] == prefix else [] for row in rows]


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


def _first_clash(teacher: Teacher, labels: Sequence[Label], before: Prompt) -> tuple[str, str]:
    seen: dict[int, str] = {}
    words = [label.word for label in labels]
    for label, ids in zip(labels, continuations(teacher, words, before), strict=True):
        first = ids[0] if ids else -1
        if first in seen:
            return seen[first], label.name
        seen[first] = label.name
    return labels[0].name, labels[-1].name


class Query(NamedTuple):
    """A text to score, or a mention in a text.

    Attributes:
        text: The text.
        mention: The mention; "" for the whole text.
    """

    text: str
    mention: str = ""


@dataclass(frozen=True, slots=True)
class Scored:
    """The result of scoring a batch of queries.

    Attributes:
        distributions: One per query, in order; None if a request failed.
        errors: Error of each failed query, by its index.
    """

    distributions: tuple[LabelDistribution | None, ...]
    errors: dict[int, str]


def ordered_demonstrations(shots: Sequence[Example], seed: int) -> list[Example]:
    """Returns the shots in random order.

    Demonstrations sorted by class would teach their order instead of the task.

    Args:
        shots: The shots.
        seed: Seed of the run.
    """
    order = list(shots)
    random.Random(derive_seed("demonstrations", seed)).shuffle(order)
    return order


class LabelScorer:
    """Scores texts, or mentions in them, against a label space.

    Args:
        teacher: The teacher to ask.
        labels: The label space.
        prompts: The prompt set; its template "score" is used.
        demonstrations: Queries with the names of their labels, shown in this order before the
            query.
        calibrator: Calibrates the probabilities of all queries, whatever their demonstrations.
        allow_codes: Whether codes may replace labels with colliding words.
        nearest: Selects demonstrations for each query instead of ``demonstrations``.

    Raises:
        ConfigError: The labels cannot be told apart; see :func:`verbalize`.
    """

    def __init__(
        self,
        teacher: Teacher,
        labels: Sequence[Label],
        prompts: PromptSet,
        demonstrations: Sequence[tuple[Query, str]],
        calibrator: Calibrator,
        allow_codes: bool = True,
        nearest: Callable[[Query], Sequence[tuple[Query, str]]] | None = None,
    ) -> None:
        self._teacher = teacher
        self._labels = tuple(labels)
        self._names = tuple(label.name for label in labels)
        self._prompts = prompts
        # Before there are words: any text shows how a reply begins.
        probe = prompts.render("score", **_probe(labels)) if prompts.is_chat else None
        self._verbalizer = verbalize(
            teacher, labels, allow_codes, probe if isinstance(probe, Chat) else None
        )
        self._word_of = dict(zip(self._names, self._verbalizer.words, strict=True))
        self._demonstrations = self._worded(demonstrations)
        self._nearest = nearest
        self.calibrator = calibrator

    @property
    def verbalizer(self) -> Verbalizer:
        """The words and tokens of the labels."""
        return self._verbalizer

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the labels, in the order of every distribution."""
        return self._names

    def prompt(self, query: Query) -> Prompt:
        """Returns the scoring prompt of one query."""
        return self._prompts.render(
            "score",
            **query._asdict(),
            demonstrations=self._demonstrations
            if self._nearest is None
            else self._worded(self._nearest(query)),
            coded=self._verbalizer.coded,
            legend=_legend(self._labels, self._verbalizer.words),
        )

    def _worded(self, demonstrations: Sequence[tuple[Query, str]]) -> list[dict[str, str]]:
        return [
            {**query._asdict(), "word": self._word_of[label]} for query, label in demonstrations
        ]

    def _groups(self) -> list[tuple[int, ...]]:
        tokens = self._verbalizer.tokens
        return [tokens[start : start + MAX_CHOICES] for start in range(0, len(tokens), MAX_CHOICES)]

    def requests(self, queries: Sequence[Query]) -> list[ScoreRequest]:
        """Returns the scoring requests of the queries: one per query and group of 128 labels."""
        groups = self._groups()
        # Servers for chats may have no token ids.
        shown = dict(zip(self._verbalizer.tokens, self._verbalizer.words, strict=True))
        words = [
            tuple(shown[token] for token in group) if self._prompts.is_chat else ()
            for group in groups
        ]
        return [
            ScoreRequest(id=f"{index}.{number}", prompt=prompt, choices=group, words=words[number])
            for index, prompt in enumerate(map(self.prompt, queries))
            for number, group in enumerate(groups)
        ]

    def fit(self, gold: Sequence[tuple[Query, str]] = (), on_reply: OnReply | None = None) -> int:
        """Fits the calibrator before the first text, if it needs fitting.

        Args:
            gold: Dev queries with the names of their labels.
            on_reply: Called with each reply.

        Returns:
            The number of gold labels used.

        Raises:
            TeacherError: No request was answered.
        """
        # Failed requests are left out of the fit.
        if self.calibrator.needs == "content_free":
            queries = [Query(text, text) for text in _CONTENT_FREE]
            logprobs, errors = self._logprobs(queries, on_reply)
            _some_answered(queries, errors)
            self.calibrator.fit(logprobs[~np.isnan(logprobs).any(axis=1)])
        elif self.calibrator.needs == "dev":
            logprobs, errors = self._logprobs([query for query, _ in gold], on_reply)
            _some_answered(gold, errors)
            whole = ~np.isnan(logprobs).any(axis=1)
            targets = [self._names.index(gold[index][1]) for index in np.flatnonzero(whole)]
            self.calibrator.fit(logprobs[whole], targets)
            return len(targets)
        return 0

    def score(self, queries: Sequence[Query], on_reply: OnReply | None = None) -> Scored:
        """Scores the queries, which the calibrator sees as one batch.

        Args:
            queries: The queries.
            on_reply: Called with each reply.

        Raises:
            TeacherError: No request was answered.
        """
        if not queries:
            return Scored((), {})
        logprobs, errors = self._logprobs(queries, on_reply)
        _some_answered(queries, errors)
        good = [index for index in range(len(queries)) if index not in errors]
        # Raw probabilities show the mass outside the labels; calibrated ones decide.
        raw = np.exp(logprobs[good])
        # Rounding keeps differences in the last bit, which depend on the engine's batches, out of
        # weights and hashes.
        calibrated = np.round(self.calibrator.transform(logprobs[good]), 6)
        distributions: list[LabelDistribution | None] = [None] * len(queries)
        for row, index in enumerate(good):
            mass = float(raw[row].sum())
            distributions[index] = LabelDistribution(
                labels=self._names,
                probabilities=tuple(calibrated[row].tolist()),
                off_label_mass=round(max(0.0, 1.0 - mass), 6),
                raw=tuple(np.round(raw[row] / max(mass, 1e-30), 6).tolist()),
            )
        return Scored(tuple(distributions), errors)

    def _logprobs(
        self, queries: Sequence[Query], on_reply: OnReply | None
    ) -> tuple[Array, dict[int, str]]:
        # Replies come in the order of the requests, one per query and group.
        requests = self.requests(queries)
        groups, tokens = self._groups(), self._verbalizer.tokens
        replies = self._teacher.ask(requests, on_reply)
        result = np.full((len(queries), len(tokens)), np.nan)
        errors: dict[int, str] = {}
        for index in range(len(queries)):
            parts: Sequence[Reply] = replies[index * len(groups) : (index + 1) * len(groups)]
            if failed := [reply.error for reply in parts if reply.error]:
                errors[index] = failed[0]
            else:
                result[index] = np.concatenate([reply.logprobs for reply in parts])
        return result, errors


def _legend(labels: Sequence[Label], words: Sequence[str]) -> list[dict[str, str]]:
    return [
        {"word": word, "description": label.description}
        for label, word in zip(labels, words, strict=True)
    ]


def _probe(labels: Sequence[Label]) -> dict[str, object]:
    words = [label.word for label in labels]
    query = Query("text", "text")
    return {
        **query._asdict(),
        "demonstrations": [],
        "coded": False,
        "legend": _legend(labels, words),
    }


class TextLabeller:
    """Labels whole texts, with one scoring request per text.

    Args:
        teacher: The teacher to ask.
        labels: The label space.
        prompts: The prompt set; its template "score" is used.
        shots: Labelled examples, shown in this order as demonstrations.
        calibrator: Calibrates the label probabilities.
        allow_codes: Whether letters may stand for the labels if two of their words begin with the
            same token. Otherwise such words are an error.
        nearest: Selects demonstrations for each text instead of ``shots``.

    Raises:
        ConfigError: The labels cannot be told apart; see :func:`verbalize`.
    """

    is_token_level = False
    asks_student = False

    def __init__(
        self,
        teacher: Teacher,
        labels: Sequence[Label],
        prompts: PromptSet,
        shots: Sequence[Example],
        calibrator: Calibrator,
        allow_codes: bool = True,
        nearest: Nearest | None = None,
    ) -> None:
        own = None if nearest is None else lambda query: _labelled(nearest(query.text))
        self._scorer = LabelScorer(
            teacher, labels, prompts, _labelled(shots), calibrator, allow_codes, own
        )
        self.calibrator = calibrator

    def fit(self, dev: Sequence[Example] = (), on_reply: OnReply | None = None) -> int:
        """Fits the calibrator, and returns the number of gold labels of ``dev`` used."""
        return self._scorer.fit(_labelled(dev), on_reply)

    def requests(self, drafts: Sequence[Draft]) -> list[Request]:
        """Returns the scoring requests: one per text and group of 128 labels."""
        return list(self._scorer.requests([Query(draft.text) for draft in drafts]))

    def label(self, drafts: Sequence[Draft], on_reply: OnReply | None = None) -> Labelled:
        """Labels a batch of drafts, which the calibrator sees as one batch.

        Raises:
            TeacherError: No request was answered.
        """
        scored = self._scorer.score([Query(draft.text) for draft in drafts], on_reply)
        opinions = tuple(None if one is None else Opinion(one) for one in scored.distributions)
        return Labelled(opinions, scored.errors, asked=len(drafts), failed=len(scored.errors))


def _labelled(examples: Sequence[Example]) -> list[tuple[Query, str]]:
    return [
        (Query(example.text), example.label) for example in examples if example.label is not None
    ]


def _some_answered(texts: Sequence[object], errors: dict[int, str]) -> None:
    if texts and len(errors) == len(texts):
        raise TeacherError(
            f"None of {len(texts)} scoring requests was answered; the first says: {errors[0]}"
        )
