"""NER labels by *verify*: each candidate span is scored by one token over the entity types and "none", in its sentence.

For small teachers, which cannot be trusted to write a marking down. The candidates of a sentence share its prompt up to the mention, which
the engine's prefix cache makes use of; their order does not matter (benchmarks/verify_prefix.py).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tutelage.errors import ConfigError
from tutelage.labelling.base import Draft, Labelled, Nearest, Opinion
from tutelage.labelling.calibration import Calibrator
from tutelage.labelling.ner_candidates import SpanCandidates
from tutelage.labelling.scoring import LabelScorer, Query
from tutelage.records import Example, Label, LabelDistribution
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.spans import Span, read_spans
from tutelage.teacher.base import OnReply, Request, Teacher
from tutelage.teacher.prompts import PromptSet

_LOG = logging.getLogger(__name__)

_MANY, _MOST = 20, 0.75
"""Texts, and the share of them that must be without a candidate, before that is worth a warning."""

NONE = Label(OUTSIDE, "none", "no name of these kinds")
"""The label of a candidate that is no entity."""


@dataclass(frozen=True, slots=True)
class SpanScores:
    """What was scored of each text: a distribution over the types and "O" for each of its spans, or None where a request failed.

    Attributes:
        errors: the first error of each text without distributions, by place.
        asked, failed: scored spans.
    """

    found: tuple[tuple[LabelDistribution, ...] | None, ...]
    errors: dict[int, str]
    asked: int
    failed: int


class SpanVerifier:
    """Marks texts by scoring candidate spans.

    Overlapping candidates are settled by score: the most certain entity stays. The mentions that a text was written around are candidates
    too, and stay whatever the score: whether the row is kept is the selector's question.

    Args:
        labels: the entity types.
        shots: marked examples. Each type's first entities, and candidates that are none, are the demonstrations.
        shown_per_type: demonstrations of each type, and of none, where the shots have so many.
        shown_words: what a demonstration shows of its sentence: the mention and so many words on either side; 0 for all of it. Demonstrations
            are most of what *verify* costs, and a few words around a mention tell as much of its type (benchmarks/verify_window.py).
        nearest: gives a text marked examples of its own instead. The demonstrations are picked from its most similar one first, and shown last.

    Raises:
        ConfigError: ``shown_words`` is negative, or ``shown_per_type`` below 1.
    """

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
    ) -> None:
        if shown_words < 0:
            raise ConfigError(
                f"teacher.shown_words={shown_words} must be 1 or more words, or 0 for whole sentences."
            )
        if shown_per_type < 1:
            raise ConfigError(
                f"teacher.shown_per_type={shown_per_type} must be 1 or more demonstrations."
            )
        self._candidates = candidates
        self.asks_student = candidates.asks_student
        self._shown_words = shown_words
        self._shown_per_type = shown_per_type
        self._limit = prompts.text_limit
        space = (*labels, NONE)
        shown = self._demonstrations(shots, space)
        own = (
            None
            if nearest is None
            else lambda query: self._demonstrations(nearest(query.text)[::-1], space)[::-1]
        )
        self._scorer = LabelScorer(teacher, space, prompts, shown, calibrator, allow_codes, own)
        self.calibrator = calibrator

    def fit(self, dev: Sequence[Example] = (), on_reply: OnReply | None = None) -> int:
        """Fit the calibrator; with one that needs dev labels, on the candidates of the dev texts (every dev text is counted)."""
        gold = [
            (query, label)
            for example in dev
            if example.label is not None
            for query, label in self._of_gold(example)
        ]
        return len(dev) if self._scorer.fit(gold, on_reply) else 0

    def requests(self, drafts: Sequence[Draft]) -> list[Request]:
        """The scoring requests of every candidate, sentence by sentence."""
        return list(
            self._scorer.requests(
                [self._query(draft.text, span) for draft in drafts for span in self.indices(draft)]
            )
        )

    def label(self, drafts: Sequence[Draft], on_reply: OnReply | None = None) -> Labelled:
        """Opinions of ``drafts``. A text with a candidate that was not answered has none: half a marking would teach that the rest is "O"."""
        spans = [self.indices(draft) for draft in drafts]
        without = sum(not own for own in spans)
        if len(drafts) >= _MANY and without > _MOST * len(drafts):
            _LOG.warning(
                "%d of %d texts have nothing in them that could be a name, so they are held to be without one and the teacher is not asked. Where "
                "names are written in small letters, or in a script without capitals, give teacher.candidates=[chunks] (or [ngrams]).",
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
        """Score the given spans of each text, all texts as one batch of the calibrator."""
        queries = [
            self._query(draft.text, span)
            for draft, own in zip(drafts, spans, strict=True)
            for span in own
        ]
        scored = self._scorer.score(queries, on_reply)
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
        """A text's one distribution (see :class:`Opinion`): the mean of its ``asked`` mentions, or else the least certain of the others.

        Args:
            others: each with how certain it is. Without any the text has nothing to doubt: "O".
        """
        if asked:
            return _mean(asked)
        if others:
            return min(others, key=lambda pair: pair[0])[1]
        labels = self._scorer.names
        return LabelDistribution(labels, tuple(float(name == OUTSIDE) for name in labels), 0.0)

    def _opinion(
        self, draft: Draft, spans: Sequence[tuple[int, int]], found: Sequence[LabelDistribution]
    ) -> Opinion:
        mentions = {span[:2] for span in draft.mentions}
        scored = dict(zip(spans, found, strict=True))
        kept = [(span, scored[span[:2]].probability(span.type)) for span in draft.kept]
        seen = [
            (Span(start, end, distribution.top), distribution.confidence)
            for (start, end), distribution in scored.items()
            if distribution.top != OUTSIDE and draft.leaves(start, end)
        ]
        entities = [*kept, *settled(seen)]
        asked = [distribution for span, distribution in scored.items() if span in mentions]
        distribution = self.overall(asked, [(one.confidence, one) for one in found])
        return Opinion(distribution, tuple(sorted(entities)), draft.mentions, marked=True)

    def indices(self, draft: Draft) -> list[tuple[int, int]]:
        """Where a draft may hold an entity: its candidates and what it was written around, as [start, end) in words."""
        around = (*draft.named, *((span.start, span.end) for span in draft.fixed))
        return sorted({*self._candidates(draft.text.split(" "), draft.proposed), *around})

    def _query(self, text: str, span: tuple[int, int], around: int = 0) -> Query:
        """The question about a span of a text, or of so many words around it.

        A prompt shows the beginning of a long text. So that the mention is in it, the text begins later where the mention comes later.
        """
        words = text.split(" ")
        if around:
            text = " ".join(words[max(0, span[0] - around) : span[1] + around])
        elif len(" ".join(words[: span[1]])) > self._limit:
            first, last = span
            while first and len(" ".join(words[first - 1 : last])) <= self._limit // 2:
                first -= 1
            while last < len(words) and len(" ".join(words[first : last + 1])) <= self._limit:
                last += 1
            text = " ".join(words[first:last])
        return Query(text, " ".join(words[span[0] : span[1]]))

    def _of_gold(self, example: Example, around: int = 0) -> list[tuple[Query, str]]:
        """Every candidate and entity of a marked example, with its type or "O"."""
        draft = Draft(example.text, read_spans(example.label or "[]"))
        types = {span[:2]: span.type for span in draft.mentions}
        return [
            (self._query(draft.text, span, around), types.get(span, OUTSIDE))
            for span in self.indices(draft)
        ]

    def _demonstrations(
        self, shots: Sequence[Example], labels: Sequence[Label]
    ) -> list[tuple[Query, str]]:
        left = {label.name: self._shown_per_type for label in labels}
        chosen: list[tuple[Query, str]] = []
        for shot in shots:
            for query, label in self._of_gold(shot, self._shown_words):
                if left[label]:
                    left[label] -= 1
                    chosen.append((query, label))
        return chosen


def settled(entities: Iterable[tuple[Span, float]]) -> list[tuple[Span, float]]:
    """Of entities that overlap the most certain one; the most certain first."""
    stay: list[tuple[Span, float]] = []
    for span, confidence in sorted(entities, key=lambda pair: (-pair[1], pair[0])):
        if not any(one.shares_a_word(*span[:2]) for one, _ in stay):
            stay.append((span, confidence))
    return stay


def _mean(distributions: Sequence[LabelDistribution]) -> LabelDistribution:
    def mean(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
        return tuple(round(sum(values) / len(values), 6) for values in zip(*rows, strict=True))

    return LabelDistribution(
        distributions[0].labels,
        mean([one.probabilities for one in distributions]),
        round(sum(one.off_label_mass for one in distributions) / len(distributions), 6),
        mean([one.raw for one in distributions]),
    )
