"""Labelling by scoring: a prefill per text gives the probability of each label's first token.

Labels that begin with the same token are told apart by one more prefill after what they share.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tutelage.errors import NoAnswer
from tutelage.labelling.branches import NEGLIGIBLE, Branch, branch_of, shared_evenly, split
from tutelage.labelling.calibration import Calibrator
from tutelage.labelling.calibration_prior import Array
from tutelage.labelling.verbalizer import Verbalizer, continued, verbalize
from tutelage.records import Example, Label, LabelDistribution, derive_seed
from tutelage.teacher.base import Chat, OnReply, Prompt, ScoreRequest, Teacher
from tutelage.teacher.prompts import PromptSet

MAX_CHOICES = 128
"""Most choices per request (vLLM's limit); more labels are scored in several requests."""

_CONTENT_FREE = ("N/A", "[MASK]", "…")
_MOST_ROOTS = 1_000
"""Trees of labels that are kept; each shortlist has one of its own."""
_AT_ONCE = 5_000
"""Queries whose prompts and replies are in memory together."""
_LEAST = -30.0
"""Natural-log probability below which labels are not told apart, and that of one not asked about,
where log-probabilities are compared."""


class Query(NamedTuple):
    """A text to score, or a mention in a text.

    Attributes:
        text: The text.
        mention: The mention; "" for the whole text.
        likely: The labels that the student finds most probable, best first; empty if it was not
            asked.
    """

    text: str
    mention: str = ""
    likely: tuple[str, ...] = ()

    @property
    def variables(self) -> dict[str, str]:
        """The variables of a template."""
        return {"text": self.text, "mention": self.mention}


class Shown(NamedTuple):
    """The part of a prompt besides its query.

    Attributes:
        demonstrations: Queries with the names of their labels, in order.
        labels: The labels to choose from, by their indices; None for all.
    """

    demonstrations: Sequence[tuple[Query, str]]
    labels: tuple[int, ...] | None = None


class _Rendered(NamedTuple):
    """The prompts of some queries.

    Attributes:
        queries: The queries.
        shown: The other parts of their prompts.
        prompts: One prompt per query.
    """

    queries: list[Query]
    shown: list[Shown]
    prompts: list[Prompt]


class _Asked(NamedTuple):
    """A question to the teacher.

    Attributes:
        query: Index of the query.
        branch: The place where the labels in question part.
        total: Natural-log probability of that place.
    """

    query: int
    branch: Branch
    total: float = 0.0


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
        show: Selects demonstrations, and maybe labels, for each of some queries instead of
            ``demonstrations``.
        demonstrated: Whether demonstrations show the labels, which decides about the way of asking;
            see :meth:`tutelage.teacher.prompts.PromptSet.asks_in_messages`.
        rule: A rule for the labels, which stands in every prompt; "" for none.

    Attributes:
        asks_in_messages: Whether prompts are chats.

    Raises:
        ConfigError: The labels cannot be told apart; see
            :func:`tutelage.labelling.verbalizer.verbalize`.
    """

    def __init__(
        self,
        teacher: Teacher,
        labels: Sequence[Label],
        prompts: PromptSet,
        demonstrations: Sequence[tuple[Query, str]],
        calibrator: Calibrator,
        allow_codes: bool = True,
        show: Callable[[Sequence[Query]], Sequence[Shown]] | None = None,
        demonstrated: bool = True,
        rule: str = "",
    ) -> None:
        self._rule = rule
        self._teacher = teacher
        self._labels = tuple(labels)
        self._names = tuple(label.name for label in labels)
        self._prompts = prompts
        self.asks_in_messages = prompts.asks_in_messages("score", demonstrated)
        # Before there are words: any text shows how a reply begins.
        probe = (
            prompts.render("score", in_messages=True, **_probe(labels))
            if self.asks_in_messages
            else None
        )
        self._verbalizer = verbalize(
            teacher, labels, allow_codes, probe if isinstance(probe, Chat) else None
        )
        self._word_of = dict(zip(self._names, self._verbalizer.words, strict=True))
        self._demonstrations = tuple(demonstrations)
        self._show = show
        self._every = tuple(range(len(self._labels)))
        self._roots: dict[tuple[int, ...], Branch] = {}
        self._foreseen: _Rendered | None = None
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
        (shown,) = self._shown([query])
        return self._prompt(query, shown)

    def _shown(self, queries: Sequence[Query]) -> Sequence[Shown]:
        if self._show is None:
            return [Shown(self._demonstrations)] * len(queries)
        return self._show(queries)

    def _prompt(self, query: Query, shown: Shown) -> Prompt:
        listed = self._every if shown.labels is None else shown.labels
        return self._prompts.render(
            "score",
            in_messages=self.asks_in_messages,
            **query.variables,
            demonstrations=[
                {**other.variables, "word": self._word_of[label]}
                for other, label in shown.demonstrations
            ],
            rule=self._rule,
            coded=self._verbalizer.coded,
            legend=_legend(
                [self._labels[index] for index in listed],
                [self._verbalizer.words[index] for index in listed],
            ),
        )

    def _root(self, shown: Shown) -> Branch:
        """Returns the tree of the labels to choose from."""
        listed = self._every if shown.labels is None else shown.labels
        if listed not in self._roots:
            if len(self._roots) >= _MOST_ROOTS:
                self._roots.clear()
            self._roots[listed] = branch_of(self._verbalizer, listed)
        return self._roots[listed]

    def requests(
        self, queries: Sequence[Query], shown: Sequence[Shown] | None = None
    ) -> list[ScoreRequest]:
        """Returns all requests that may score the queries.

        These are one per query and group of 128 labels, and one for each beginning that some of
        its labels share. Scoring leaves out beginnings that hardly matter.

        Args:
            queries: The queries.
            shown: The other parts of their prompts; None as the scorer is told to.
        """
        queries = list(queries)
        shown = list(self._shown(queries) if shown is None else shown)
        prompts = self._rendered(queries, shown)
        self._foreseen = _Rendered(queries, shown, prompts)
        return [
            request
            for index, (prompt, own) in enumerate(zip(prompts, shown, strict=True))
            for branch in self._root(own).all()
            for request in self._requests(_Asked(index, branch), prompt)
        ]

    def _rendered(self, queries: list[Query], shown: list[Shown]) -> list[Prompt]:
        return [self._prompt(*pair) for pair in zip(queries, shown, strict=True)]

    def _requests(self, asked: _Asked, prompt: Prompt) -> list[ScoreRequest]:
        """Returns the requests of a question: one per group of 128 choices."""
        branch = asked.branch
        number = ".".join(map(str, (asked.query, *branch.tokens)))
        # Servers for chats may have no token ids.
        words = branch.words if self.asks_in_messages else ()
        return [
            ScoreRequest(
                id=f"{number}.{start // MAX_CHOICES}",
                prompt=continued(prompt, branch.beginning),
                choices=branch.choices[start : start + MAX_CHOICES],
                words=words[start : start + MAX_CHOICES],
            )
            for start in range(0, len(branch.choices), MAX_CHOICES)
        ]

    def fit(self, gold: Sequence[tuple[Query, str]] = (), on_reply: OnReply | None = None) -> int:
        """Fits the calibrator before the first text, if it needs fitting.

        Args:
            gold: Dev queries with the names of their labels.
            on_reply: Called with each reply.

        Returns:
            The number of gold labels used.

        Raises:
            NoAnswer: No request was answered.
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

    def right_logprobs(
        self,
        gold: Sequence[tuple[Query, str]],
        shown: Sequence[Shown],
        on_reply: OnReply | None = None,
    ) -> Array:
        """Returns the natural-log probability of each query's own label among the labels.

        It is not calibrated.

        Args:
            gold: One or more queries with the names of their labels.
            shown: The other parts of their prompts.
            on_reply: Called with each reply.

        Returns:
            Array of shape [queries]; nan for a query whose request failed.

        Raises:
            NoAnswer: No request was answered.
        """
        logprobs, errors = self._logprobs([query for query, _ in gold], on_reply, shown)
        _some_answered(gold, errors)
        targets = [self._names.index(label) for _, label in gold]
        known = np.maximum(logprobs, _LEAST)
        own = known[np.arange(len(gold)), targets]
        right: Array = own - np.log(np.exp(known).sum(axis=1))
        return right

    def score(
        self,
        queries: Sequence[Query],
        on_reply: OnReply | None = None,
        asked: Sequence[str] = (),
    ) -> Scored:
        """Scores the queries, which the calibrator sees as one batch.

        Args:
            queries: The queries.
            on_reply: Called with each reply.
            asked: Label that each query's text was asked for, "" for none; empty without generated
                texts.

        Raises:
            NoAnswer: No request was answered.
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
        calibrated = np.round(
            self.calibrator.transform(logprobs[good], self._counts(asked, good)), 6
        )
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

    def _counts(self, asked: Sequence[str], good: Sequence[int]) -> Array | None:
        """Counts the queries that were asked for by label; None if there are none."""
        counted = Counter(asked[index] for index in good) if asked else Counter()
        counts = np.array([counted[name] for name in self._names], dtype=np.float64)
        return counts if counts.any() else None

    def _logprobs(
        self,
        queries: Sequence[Query],
        on_reply: OnReply | None,
        shown: Sequence[Shown] | None = None,
    ) -> tuple[Array, dict[int, str]]:
        """Returns the natural-log probabilities of the labels, [queries, labels].

        A label that was not asked about has -inf; a failed query has nan and an error.
        """
        queries = list(queries)
        shown = list(self._shown(queries) if shown is None else shown)
        result = np.full((len(queries), len(self._labels)), -np.inf)
        errors: dict[int, str] = {}
        # Use the prompts that `requests` rendered, if it did so just before.
        seen, self._foreseen = self._foreseen, None
        ready = seen.prompts if seen and (seen.queries, seen.shown) == (queries, shown) else None
        for start in range(0, len(queries), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            prompts = ready[part] if ready else self._rendered(queries[part], shown[part])
            failed = self._ask_some(prompts, shown[part], result[part], on_reply)
            errors.update({start + index: error for index, error in failed.items()})
        result[list(errors)] = np.nan
        return result, errors

    def _ask_some(
        self,
        prompts: Sequence[Prompt],
        shown: Sequence[Shown],
        result: Array,
        on_reply: OnReply | None,
    ) -> dict[int, str]:
        """Asks about some queries; returns the error of each failed one.

        Args:
            prompts: Their prompts.
            shown: The other parts of the prompts.
            result: Receives the natural-log probabilities, [queries, labels].
            on_reply: Called with each reply.
        """
        errors: dict[int, str] = {}
        # All queries go down their trees together, one level of each at a time.
        level = [_Asked(index, self._root(one)) for index, one in enumerate(shown)]
        waiting: list[list[_Asked]] = [[] for _ in prompts]
        while level:
            for asked, answer in zip(level, self._answers(level, prompts, on_reply), strict=True):
                if isinstance(answer, str):
                    errors.setdefault(asked.query, answer)
                    continue
                found = split(asked.branch, answer, asked.total)
                result[asked.query, list(found.labels)] = list(found.labels.values())
                waiting[asked.query] += [_Asked(asked.query, *one) for one in found.branches]
            level = []
            for index, branches in enumerate(waiting):
                if index not in errors:
                    opened = _worth_asking(branches, result[index])
                    level += opened
                    waiting[index] = [one for one in branches if one not in opened]
        for asked in (one for branches in waiting for one in branches):
            shares = shared_evenly(asked.branch, asked.total)
            result[asked.query, list(shares)] = list(shares.values())
        return errors

    def _answers(
        self, level: Sequence[_Asked], prompts: Sequence[Prompt], on_reply: OnReply | None
    ) -> list[list[float] | str]:
        """Asks questions; returns the log-probabilities of each one's choices, or an error."""
        # Replies come in the order of the requests.
        requests = [self._requests(one, prompts[one.query]) for one in level]
        replies = iter(self._teacher.ask([one for own in requests for one in own], on_reply))
        answers: list[list[float] | str] = []
        for own in requests:
            parts = [next(replies) for _ in own]
            failed = [reply.error for reply in parts if reply.error]
            answers.append(
                failed[0] if failed else [one for part in parts for one in part.logprobs]
            )
        return answers


def _worth_asking(branches: Sequence[_Asked], found: Array) -> list[_Asked]:
    """Returns the branches that could hold a probable label.

    Args:
        branches: Branches of one query that were not asked about.
        found: The log-probabilities of its labels so far.
    """
    best = max([*(one.total for one in branches), float(found.max())], default=-math.inf)
    return [one for one in branches if one.total >= best + math.log(NEGLIGIBLE)]


def _legend(labels: Sequence[Label], words: Sequence[str]) -> list[dict[str, str]]:
    return [
        {"word": word, "description": label.description}
        for label, word in zip(labels, words, strict=True)
    ]


def _probe(labels: Sequence[Label]) -> dict[str, object]:
    # One label is enough to see where the reply begins.
    words = [label.word for label in labels[:1]]
    query = Query("text", "text")
    return {
        **query.variables,
        "demonstrations": [],
        "rule": "",
        "coded": False,
        "legend": _legend(labels[:1], words),
    }


def _some_answered(texts: Sequence[object], errors: dict[int, str]) -> None:
    if texts and len(errors) == len(texts):
        raise NoAnswer(
            f"None of {len(texts)} scoring requests was answered; the first says: {errors[0]}"
        )
