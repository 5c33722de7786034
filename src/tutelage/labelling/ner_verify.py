"""NER labels by *verify*: one token scores each span candidate over the types and "none".

This suits small teachers, which cannot write down a marking reliably. All candidates of a sentence
share the prompt up to the mention, so the engine's prefix cache applies, whatever their order
(benchmarks/verify_prefix.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from tutelage.errors import ConfigError
from tutelage.labelling.base import Draft, Labelled, Nearest, Opinion, mean_distribution
from tutelage.labelling.calibration import Calibrator
from tutelage.labelling.ner_candidates import (
    AUTOMATIC,
    CandidateSource,
    SpanCandidates,
    automatic_sources,
    automatic_width,
)
from tutelage.labelling.scoring import LabelScorer, Query, Shown
from tutelage.labelling.showing import Choice, Embed, ShotChoice
from tutelage.records import Example, Label, LabelDistribution
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.spans import Span, read_spans
from tutelage.teacher.base import OnReply, Request, Teacher
from tutelage.teacher.prompts import PromptSet

_LOG = logging.getLogger(__name__)

_MANY, _MOST = 20, 0.75
"""Warn if more than this share of at least this many texts has no span candidate."""

_WINDOW = 600
"""Longest text that is shown whole, in characters: several sentences."""

NONE = Label(OUTSIDE, "none", "no name of these kinds")
"""The label of a span candidate that is not an entity."""


@dataclass(frozen=True, slots=True)
class SpanScores:
    """The scores of a batch of texts.

    Attributes:
        found: For each text, one distribution over the types and "O" per span; None if a request of
            the text failed.
        errors: First error of each such text, by its index.
        asked: Number of scored spans.
        failed: Number of failed spans among them.
    """

    found: tuple[tuple[LabelDistribution, ...] | None, ...]
    errors: dict[int, str]
    asked: int
    failed: int


class SpanVerifier:
    """Labels the entities of texts by scoring span candidates.

    Of overlapping entities the most certain one stays. The mentions that a generated text was
    written around are scored too, and stay whatever their score; the accept selector decides about
    the row.

    Args:
        teacher: The teacher to ask.
        labels: The entity types.
        prompts: The prompt set; its template "score" is used.
        shots: Labelled examples. Their first entities of each type, and their first candidates that
            are not entities, become the demonstrations.
        calibrator: Calibrates the distributions over the types and "none".
        candidates: Finds the span candidates of a text.
        allow_codes: Whether letters may stand for types whose words begin with the same token; see
            :func:`tutelage.labelling.verbalizer.verbalize`.
        shown_per_type: Demonstrations per type, and of "none", as far as the shots have them; at
            least 1. More demonstrations cost more in every request.
        nearest: Selects labelled examples for each text instead of ``shots``, the most similar one
            last. Demonstrations are picked from the most similar example first, and its
            demonstrations are shown last.
        shown_words: Words on either side of the mention in a demonstration; 0 shows whole
            sentences. Demonstrations are most of the cost of *verify*, and a few words around a
            mention tell as much about its type (benchmarks/verify_window.py).
        choice: Orders the shots for each text, as ``nearest`` does; None takes them in the given
            order.
        notes: What to tell once about the choices made for it.

    Raises:
        ConfigError: ``shown_words`` is negative, ``shown_per_type`` is below 1, or the types cannot
            be told apart (see :func:`tutelage.labelling.verbalizer.verbalize`).
    """

    is_token_level = True

    def __init__(
        self,
        teacher: Teacher,
        labels: Sequence[Label],
        prompts: PromptSet,
        shots: Sequence[Example],
        calibrator: Calibrator,
        candidates: SpanCandidates,
        allow_codes: bool = True,
        shown_per_type: int = 1,
        nearest: Nearest | None = None,
        shown_words: int = 0,
        choice: ShotChoice | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        if shown_words < 0:
            raise ConfigError(
                f"labelling.shown_words={shown_words} must be 1 or more words, or 0 for whole "
                "sentences."
            )
        if shown_per_type < 1:
            raise ConfigError(
                f"labelling.shown_per_type={shown_per_type} must be 1 or more demonstrations."
            )
        self._candidates = candidates
        self.asks_student = candidates.asks_student
        self.notes = notes
        self._shown_words = shown_words
        self._shown_per_type = shown_per_type
        ordered: Callable[[Sequence[str]], Iterable[Sequence[Example]]] | None = None
        if nearest is not None:
            ordered = partial(map, nearest)
        elif choice is not None:
            ordered = choice.ordered
        self._ordered = ordered
        # The scorer chooses among the types and "none".
        self._space = (*labels, NONE)
        demonstrations = self._demonstrations(shots)
        self._scorer = LabelScorer(
            teacher,
            self._space,
            prompts,
            demonstrations,
            calibrator,
            allow_codes,
            None if ordered is None else self._shown,
            demonstrated=nearest is not None or bool(demonstrations),
        )
        self.asks_in_messages = self._scorer.asks_in_messages
        self.calibrator = calibrator

    def fit(self, dev: Sequence[Example] = (), on_reply: OnReply | None = None) -> int:
        """Fits the calibrator, if it needs fitting.

        Args:
            dev: Labelled dev examples. Their span candidates and entities are scored, for a
                calibrator with dev labels.
            on_reply: Called with each reply.

        Returns:
            The number of gold labels used: the number of dev texts, or 0.
        """
        gold = [
            (query, label)
            for example in dev
            if example.label is not None
            for query, label in self._of_gold(example)
        ]
        return len(dev) if self._scorer.fit(gold, on_reply) else 0

    def requests(self, drafts: Sequence[Draft]) -> list[Request]:
        """Returns the scoring requests of all span candidates, sentence by sentence."""
        return list(
            self._scorer.requests(
                [self._query(draft.text, span) for draft in drafts for span in self.indices(draft)]
            )
        )

    def label(self, drafts: Sequence[Draft], on_reply: OnReply | None = None) -> Labelled:
        """Labels a batch of drafts, which the calibrator sees as one batch.

        A text with an unanswered candidate has no opinion, because half a marking would teach that
        the rest is "O".

        Raises:
            TeacherError: No request was answered.
        """
        # Warn if the candidates miss most texts, which small letters would cause.
        spans = [self.indices(draft) for draft in drafts]
        without = sum(not own for own in spans)
        if len(drafts) >= _MANY and without > _MOST * len(drafts):
            _LOG.warning(
                "%d of %d texts have no span candidate, so they are labelled without entities and "
                "the teacher is not asked about them. If names are written in small letters, or in "
                "a script without capitals, use labelling.candidates=[chunks] (or [ngrams]).",
                without,
                len(drafts),
            )
        scores = self.score(drafts, spans, on_reply)
        opinions = [
            None if found is None else self._opinion(draft, own, found)
            for draft, own, found in zip(drafts, spans, scores.found, strict=True)
        ]
        return Labelled(tuple(opinions), scores.errors, scores.asked, scores.failed)

    def score(
        self,
        drafts: Sequence[Draft],
        spans: Sequence[Sequence[tuple[int, int]]],
        on_reply: OnReply | None = None,
    ) -> SpanScores:
        """Scores given spans, all texts as one batch of the calibrator.

        Args:
            drafts: The texts.
            spans: For each draft, the spans to score, [start, end) in words.
            on_reply: Called with each reply.

        Raises:
            TeacherError: No request was answered.
        """
        queries = [
            self._query(draft.text, span)
            for draft, own in zip(drafts, spans, strict=True)
            for span in own
        ]
        # The prior of a mention's type is the type that its text was asked for.
        types = [{span[:2]: span.type for span in draft.mentions} for draft in drafts]
        asked = [
            known.get(span, "") for known, own in zip(types, spans, strict=True) for span in own
        ]
        scored = self._scorer.score(queries, on_reply, asked)
        # Hand the flat scores back to their texts; one failed span fails its whole text.
        result: list[tuple[LabelDistribution, ...] | None] = []
        errors: dict[int, str] = {}
        start = 0
        for index, own in enumerate(spans):
            numbers = range(start, start + len(own))
            start += len(own)
            if lost := [number for number in numbers if number in scored.errors]:
                errors[index] = scored.errors[lost[0]]
                result.append(None)
            else:
                result.append(
                    tuple(
                        one
                        for number in numbers
                        if (one := scored.distributions[number]) is not None
                    )
                )
        return SpanScores(tuple(result), errors, asked=len(queries), failed=len(scored.errors))

    def overall(
        self, asked: Sequence[LabelDistribution], others: Sequence[tuple[float, LabelDistribution]]
    ) -> LabelDistribution:
        """Combines the distributions of a text's spans; see :class:`Opinion`.

        Args:
            asked: Distributions of the draft's mentions.
            others: Confidence and distribution of each other span.

        Returns:
            The mean over the mentions. Without mentions, the least certain distribution of the
            other spans; without these too, certainty of "O".
        """
        if asked:
            return mean_distribution(asked)
        if others:
            return min(others, key=lambda pair: pair[0])[1]
        labels = self._scorer.names
        return LabelDistribution(labels, tuple(float(name == OUTSIDE) for name in labels), 0.0)

    def _opinion(
        self, draft: Draft, spans: Sequence[tuple[int, int]], found: Sequence[LabelDistribution]
    ) -> Opinion:
        mentions = {span[:2] for span in draft.mentions}
        scored = dict(zip(spans, found, strict=True))
        # Kept entities stay as they are. Further ones need a type as their top label, and room.
        kept = [(span, scored[span[:2]].probability(span.type)) for span in draft.kept]
        seen = [
            (Span(start, end, distribution.top), distribution.confidence)
            for (start, end), distribution in scored.items()
            if distribution.top != OUTSIDE and draft.leaves(start, end)
        ]
        entities = [*kept, *settled(seen)]
        # The mentions decide about the row; without any, the least certain span does.
        asked = [distribution for span, distribution in scored.items() if span in mentions]
        distribution = self.overall(asked, [(one.confidence, one) for one in found])
        return Opinion(distribution, tuple(sorted(entities)), draft.mentions, marked=True)

    def indices(self, draft: Draft) -> list[tuple[int, int]]:
        """Returns the spans to score: candidates, mentions, kept entities and further names.

        Returns:
            Distinct spans [start, end) in words, in the order of the text.
        """
        # Names from generation are scored even if no source finds them.
        around = (*draft.named, *((span.start, span.end) for span in draft.fixed))
        return sorted({*self._candidates(draft.text.split(" "), draft.proposed), *around})

    def _query(self, text: str, span: tuple[int, int], around: int = 0) -> Query:
        """Builds the query about a span.

        Of a long text, the query holds a window of words around the mention: the whole text would
        cost as much for each of its candidates, and might be cut where the mention is.

        Args:
            text: The whole text.
            span: The mention, [start, end) in words.
            around: Words to keep on either side of the mention; 0 keeps the whole text, or a
                window of a long one.
        """
        words = text.split(" ")
        if around:
            text = " ".join(words[max(0, span[0] - around) : span[1] + around])
        elif len(text) > _WINDOW:
            # Up to half of the window before the mention, and the rest after it.
            first, last = span
            while first and len(" ".join(words[first - 1 : last])) <= _WINDOW // 2:
                first -= 1
            while last < len(words) and len(" ".join(words[first : last + 1])) <= _WINDOW:
                last += 1
            text = " ".join(words[first:last])
        return Query(text, " ".join(words[span[0] : span[1]]))

    def _of_gold(self, example: Example, around: int = 0) -> list[tuple[Query, str]]:
        """Returns every candidate and entity of a labelled example, with its type or "O"."""
        draft = Draft(example.text, read_spans(example.label or "[]"))
        types = {span[:2]: span.type for span in draft.mentions}
        return [
            (self._query(draft.text, span, around), types.get(span, OUTSIDE))
            for span in self.indices(draft)
        ]

    def _shown(self, queries: Sequence[Query]) -> list[Shown]:
        """Returns the demonstrations of each query, picked from its nearest examples."""
        texts = list(dict.fromkeys(query.text for query in queries))
        assert self._ordered is not None
        own = {
            text: Shown(self._demonstrations(shots[::-1])[::-1])
            for text, shots in zip(texts, self._ordered(texts), strict=True)
        }
        return [own[query.text] for query in queries]

    def _demonstrations(self, shots: Sequence[Example]) -> list[tuple[Query, str]]:
        # First come, first served, until every type and "none" has its demonstrations.
        left = {label.name: self._shown_per_type for label in self._space}
        chosen: list[tuple[Query, str]] = []
        for shot in shots:
            for query, label in self._of_gold(shot, self._shown_words):
                if left[label]:
                    left[label] -= 1
                    chosen.append((query, label))
        return chosen


def settled(entities: Iterable[tuple[Span, float]]) -> list[tuple[Span, float]]:
    """Keeps the most certain of overlapping entities, and returns them most certain first."""
    stay: list[tuple[Span, float]] = []
    for span, confidence in sorted(entities, key=lambda pair: (-pair[1], pair[0])):
        if not any(one.shares_a_word(*span[:2]) for one, _ in stay):
            stay.append((span, confidence))
    return stay


def span_verifier(
    teacher: Teacher,
    labels: Sequence[Label],
    prompts: PromptSet,
    shots: Sequence[Example],
    calibrator: Calibrator,
    nearest: Nearest | None = None,
    *,
    candidates: Sequence[CandidateSource] | None = None,
    candidate_width: int = 4,
    candidate_parts: int = 0,
    shown_words: int = 5,
    shown_per_type: int = 1,
    allow_codes: bool = True,
    demonstrations: Choice = "fixed",
    embed: Embed | None = None,
    seed: int = 0,
) -> SpanVerifier:
    """Builds a :class:`SpanVerifier`, the labeller of ``labelling=verify``.

    Args:
        teacher: The teacher to ask.
        labels: The entity types.
        prompts: The prompt set; its template "score" is used.
        shots: Labelled examples, the source of the demonstrations.
        calibrator: Calibrates the distributions over the types and "none".
        nearest: Selects labelled examples for each text instead of ``shots``.
        candidates: Sources of span candidates, one or more (docs/results/entities.md lists recall
            and cost of each); null for "capitals", with "chunks" and "student" beside it if fewer
            than 60 % of the names of the shots begin with a capital. "capitals": runs of
            capitalised words. "chunks": runs of words without stop words and punctuation, and their
            parts. "ngrams": every run of words that neither begins nor ends with a stop word or
            punctuation. "student": predictions and near-predictions of the student, from round 1
            on; it needs another source besides it, and `tutelage plan` does not count it.
        candidate_width: Longest candidate of "chunks", "ngrams" and "student", in words; at least
            1.
        candidate_parts: Longest part of a capitalised run that is a candidate too, in words; 0 for
            whole runs only.
        shown_words: Words on either side of the mention in a demonstration; 0 shows whole
            sentences.
        shown_per_type: Demonstrations per type, and of "none"; at least 1. More of them need more
            shots, and cost more in every request.
        allow_codes: Whether letters may stand for types whose words begin with the same token, in
            texts to continue. Otherwise, and in chats, such types are told apart by their later
            tokens.
        demonstrations: The shots that demonstrations are picked from first. "fixed": the same ones
            for every text, which leaves most of the prompt to the engine's prefix cache. "nearest":
            those most similar to the text by the embeddings of the student's encoder before its
            training. "random": drawn for each text.
        embed: Returns the embeddings of texts.
        seed: Seed of the run, for ``demonstrations=random``.

    Raises:
        ConfigError: A setting is out of range, or the types cannot be told apart.
    """
    names = [
        shot.text.split(" ")[span.start : span.end]
        for shot in shots
        for span in read_spans(shot.label or "[]")
    ]
    notes: tuple[str, ...] = ()
    if candidates is None:
        candidates = automatic_sources(names)
        if candidates == AUTOMATIC:
            notes = (
                "Fewer than 60 % of the names of the shots begin with a capital, so the teacher is "
                f"asked about short runs of words too (labelling.candidates=["
                f"{','.join(candidates)}]), which costs several times as many requests. "
                "labelling=extract needs one request per text.",
            )
        candidate_width = automatic_width(names, candidate_width)
    spans = SpanCandidates(candidate_parts, candidates, candidate_width)
    return SpanVerifier(
        teacher,
        labels,
        prompts,
        shots,
        calibrator,
        spans,
        allow_codes,
        shown_per_type,
        nearest,
        shown_words,
        None
        if demonstrations == "fixed"
        else ShotChoice(shots, max(1, len(shots)), demonstrations, embed, seed),
        notes,
    )
