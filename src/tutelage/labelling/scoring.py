"""Labelling by scoring: a prefill per text gives the probability of each label's first token.

Labels that begin with the same token are told apart by one more prefill after what they share.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tutelage.errors import TeacherError
from tutelage.labelling.base import Draft, Labelled, Nearest, Opinion
from tutelage.labelling.branches import NEGLIGIBLE, Branch, branch_of, shared_evenly, split
from tutelage.labelling.calibration import Calibrator, FittedState
from tutelage.labelling.calibration_prior import Array
from tutelage.labelling.demonstration_scores import Trials, trials
from tutelage.labelling.showing import Embed, ScoredChoice, Shortlist, ShotChoice
from tutelage.labelling.verbalizer import Verbalizer, continued, verbalize
from tutelage.records import Example, Label, LabelDistribution, derive_seed
from tutelage.teacher.base import Chat, OnReply, Prompt, Request, ScoreRequest, Teacher
from tutelage.teacher.prompts import PromptSet

MAX_CHOICES = 128
"""Most choices per request (vLLM's limit); more labels are scored in several requests."""

_CONTENT_FREE = ("N/A", "[MASK]", "…")
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
        shown = self._shown(queries) if shown is None else shown
        return [
            request
            for index, (query, own) in enumerate(zip(queries, shown, strict=True))
            for branch in self._root(own).all()
            for request in self._requests(_Asked(index, branch), self._prompt(query, own))
        ]

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
            TeacherError: No request was answered.
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
        shown = self._shown(queries) if shown is None else shown
        prompts = [self._prompt(*pair) for pair in zip(queries, shown, strict=True)]
        result = np.full((len(queries), len(self._labels)), -np.inf)
        errors: dict[int, str] = {}
        # All queries go down their trees together, one level of each at a time.
        level = [_Asked(index, self._root(one)) for index, one in enumerate(shown)]
        waiting: list[list[_Asked]] = [[] for _ in queries]
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
        result[list(errors)] = np.nan
        return result, errors

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


class TextLabeller:
    """Labels whole texts, with one scoring request per text, or a few where labels begin alike.

    Where there are many labels, the prompt of a text lists some of them only, and the others get
    the probability 0.

    Args:
        teacher: The teacher to ask.
        labels: The label space.
        prompts: The prompt set; its template "score" is used.
        shots: Labelled examples, the demonstrations.
        calibrator: Calibrates the label probabilities.
        allow_codes: Whether letters may stand for labels whose words begin with the same token, in
            texts to continue. Otherwise, and in chats, such labels are told apart by their later
            tokens, with up to one more request for each beginning that labels share.
        nearest: Selects demonstrations for each text instead of ``shots``.
        demonstrations: The shots in the prompt of each text, if there are more than
            ``max_demonstrations``. "nearest": the most similar ones by the embeddings of the
            student's encoder before its training, the most similar one last. "random": drawn for
            each text. "fixed": the same ones for every text, from as many classes as possible.
            "predictive": likewise, but of each class those that alone raise the teacher's
            probability of the other shots' labels most, asked once per run
            (:mod:`tutelage.labelling.demonstration_scores`).
        max_demonstrations: Most shots in a prompt; 0 shows none. No more shots than that are all
            shown, in one order.
        shortlist: Labels that a prompt lists and the teacher chooses from, if there are more than
            twice as many: those most similar to the text by their words, descriptions and shots,
            and up to half of them by the student. At least 2; null always lists all labels.
        embed: Returns the embeddings of texts.
        seed: Seed of the run, for ``demonstrations=random``.
        rule: A rule for the labels, which stands in every prompt; "" for none.

    Raises:
        ConfigError: A setting is out of range, or the labels cannot be told apart; see
            :func:`tutelage.labelling.verbalizer.verbalize`.
    """

    is_token_level = False

    def __init__(
        self,
        teacher: Teacher,
        labels: Sequence[Label],
        prompts: PromptSet,
        shots: Sequence[Example],
        calibrator: Calibrator,
        allow_codes: bool = True,
        nearest: Nearest | None = None,
        demonstrations: ScoredChoice = "fixed",
        max_demonstrations: int = 8,
        shortlist: int | None = None,
        embed: Embed | None = None,
        seed: int = 0,
        rule: str = "",
    ) -> None:
        labelled = [shot for shot in shots if shot.label is not None]
        self._labels = tuple(labels)
        self._nearest = nearest
        self._shots = ShotChoice(labelled, max_demonstrations, demonstrations, embed, seed)
        self._shortlist = (
            Shortlist(labels, labelled, embed, shortlist)
            if shortlist is not None and embed is not None and len(labels) > 2 * shortlist
            else None
        )
        self.asks_student = self._shortlist is not None
        self._scorer = LabelScorer(
            teacher,
            labels,
            prompts,
            (),
            calibrator,
            allow_codes,
            self._shown,
            # A few shots of many labels do not show what there is to choose from; a list does.
            demonstrated=self._shortlist is None
            and (nearest is not None or bool(labelled and max_demonstrations)),
            rule=rule,
        )
        self._scores_shots = nearest is None and self._shots.needs_scores
        self.calibrator: FittedState = (
            ScoredShots(calibrator, self._shots) if self._scores_shots else calibrator
        )

    @property
    def asks_in_messages(self) -> bool:
        """Whether its prompts are chats."""
        return self._scorer.asks_in_messages

    @property
    def notes(self) -> tuple[str, ...]:
        """How its shots are chosen by scores, and how well its shortlist does on them."""
        return (*self._scoring_note, *self._shortlist_note)

    @property
    def _scoring_note(self) -> tuple[str, ...]:
        if not self._scores_shots:
            return ()
        count = len(trials(self._shots.shots).pairs)
        return (
            f"The demonstrations are chosen by {count:,} requests before the first label "
            "(labelling.demonstrations=predictive).",
        )

    @property
    def _shortlist_note(self) -> tuple[str, ...]:
        if self._shortlist is None:
            return ()
        inside, shots = self._shortlist.recall()
        size = self._shortlist.size
        measured = (
            f" For {inside} of {shots} shots their own label is among them (each shot compared "
            "with the labels and the other shots)."
            if shots
            else ""
        )
        return (
            f"Each prompt lists the {size} labels of {len(self._labels)} that are most similar to "
            f"its text (labelling.shortlist).{measured}",
        )

    def _shown(self, queries: Sequence[Query]) -> list[Shown]:
        texts = [query.text for query in queries]
        if self._shortlist is None:
            listed: list[tuple[int, ...] | None] = [None] * len(texts)
            allowed = None
        else:
            listed = [*self._shortlist(texts, [query.likely for query in queries])]
            allowed = [{self._labels[at].name for at in own or ()} for own in listed]
        if self._nearest is None:
            shots = self._shots(texts, allowed)
        else:
            shots = [tuple(self._nearest(text)) for text in texts]
            if allowed is not None:
                shots = [
                    tuple(shot for shot in own if shot.label in names)
                    for own, names in zip(shots, allowed, strict=True)
                ]
        return [Shown(_labelled(own), names) for own, names in zip(shots, listed, strict=True)]

    def preparation(self) -> dict[str, list[Request]]:
        """Returns the requests that score the shots, before the first label; empty for none."""
        if not self._scores_shots:
            return {}
        gold, shown = self._trials(trials(self._shots.shots))
        return {"demonstrations": list(self._scorer.requests([one for one, _ in gold], shown))}

    def _trials(self, asked: Trials) -> tuple[list[tuple[Query, str]], list[Shown]]:
        """Returns the query of each trial with its right label, and what its prompt shows."""
        shots = _labelled(self._shots.shots)
        lists: list[set[int]] = []
        if self._shortlist is not None:
            texts = [query.text for query, _ in shots]
            lists = [set(own) for own in self._shortlist(texts, [()] * len(texts))]
        names = self._scorer.names
        shown = []
        for one, own in asked.pairs:
            demonstrations = [] if one is None else [shots[one]]
            labels = [shots[own][1], *(label for _, label in demonstrations)]
            # The list has the right label, so that it can be chosen, and that of what is shown.
            listed = sorted(lists[own].union(map(names.index, labels))) if lists else None
            shown.append(Shown(demonstrations, None if listed is None else tuple(listed)))
        return [shots[own] for _, own in asked.pairs], shown

    def fit(self, dev: Sequence[Example] = (), on_reply: OnReply | None = None) -> int:
        """Chooses demonstrations by scores, where they are to be, and fits the calibrator.

        Returns:
            The number of gold labels of ``dev`` used.
        """
        if self._scores_shots:
            asked = trials(self._shots.shots)
            self._shots.rank(
                asked.scores(self._scorer.right_logprobs(*self._trials(asked), on_reply))
            )
        return self._scorer.fit(_labelled(dev), on_reply)

    def requests(self, drafts: Sequence[Draft]) -> list[Request]:
        """Returns all requests that may label the drafts; see :meth:`LabelScorer.requests`."""
        return list(self._scorer.requests(_queries(drafts)))

    def label(self, drafts: Sequence[Draft], on_reply: OnReply | None = None) -> Labelled:
        """Labels a batch of drafts, which the calibrator sees as one batch.

        Raises:
            TeacherError: No request was answered.
        """
        scored = self._scorer.score(_queries(drafts), on_reply, [draft.asked for draft in drafts])
        opinions = tuple(None if one is None else Opinion(one) for one in scored.distributions)
        return Labelled(opinions, scored.errors, asked=len(drafts), failed=len(scored.errors))


class ScoredShots:
    """The state of a calibrator, and of the scores by which shots are chosen.

    A resumed run shows the shots of before without asking again.

    Args:
        calibrator: The calibrator.
        shots: Chooses the shots.
    """

    def __init__(self, calibrator: FittedState, shots: ShotChoice) -> None:
        self._calibrator, self._shots = calibrator, shots
        self.name, self.needs = calibrator.name, calibrator.needs

    def state_dict(self) -> dict[str, Any]:
        """Returns both states."""
        return {"calibrator": self._calibrator.state_dict(), "scores": self._shots.scores}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores both."""
        self._calibrator.load_state_dict(state["calibrator"])
        self._shots.rank(state["scores"])


def _queries(drafts: Sequence[Draft]) -> list[Query]:
    return [Query(draft.text, likely=draft.likely) for draft in drafts]


def _labelled(examples: Sequence[Example]) -> list[tuple[Query, str]]:
    return [
        (Query(example.text), example.label) for example in examples if example.label is not None
    ]


def _some_answered(texts: Sequence[object], errors: dict[int, str]) -> None:
    if texts and len(errors) == len(texts):
        raise TeacherError(
            f"None of {len(texts)} scoring requests was answered; the first says: {errors[0]}"
        )
