"""Named entity recognition: flat spans of words, one type each, learnt and read as IOB2 tags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, get_args

from tutelage.errors import ConfigError, DataError, did_you_mean
from tutelage.records import ClassScore, Label, LabelDistribution, Outcome, Row
from tutelage.tasks.protocol import Metric, Mistake, Reading
from tutelage.tasks.span_errors import SpanError, span_errors
from tutelage.tasks.spans import Span, from_tags, read_spans, strict_tags, to_tags, write_spans
from tutelage.tasks.tag_decoding import allowed_moves, best_tags, two_best_tags

OUTSIDE = "O"
"""The class of a text without entities, and of a mention that is none."""

WordWeights = Literal["row", "confidence"]


class NerTask:
    """Entities of the types ``labels`` in texts whose words are joined by single spaces.

    A text is right when its set of (span, type) is (ours; the papers do not say).

    Args:
        labels: the entity types.
        constrained: let the student's tags form valid IOB2 only (no I- after O or another type) when they are read. Then the strict
            and the default mode of seqeval say the same.
        word_weights: what a word weighs in the loss: "row" the row's weight, "confidence" that times the teacher's confidence in the
            entity that it is of (1 for the other words, and where the teacher gave none: gold). Ours; the papers weigh texts. A loss that
            learns the teacher's distribution has that confidence in it already. Selectors look at rows and words unweighted.

    Raises:
        ConfigError: ``word_weights`` is unknown.
    """

    name = "ner"
    is_token_level = True
    headline_metrics = (Metric("f1_strict", "entity F1"), Metric("accuracy", "texts right"))
    monitor = "f1_strict"

    def __init__(
        self, labels: Sequence[Label], constrained: bool = True, word_weights: WordWeights = "row"
    ) -> None:
        if word_weights not in get_args(WordWeights):
            raise ConfigError(
                did_you_mean("task.word_weights", word_weights, get_args(WordWeights))
            )
        self._labels = tuple(labels)
        self._by_confidence = word_weights == "confidence"
        self._tags = ("O", *(f"{mark}-{label.name}" for label in self._labels for mark in "BI"))
        self._index = {tag: index for index, tag in enumerate(self._tags)}
        self.constrained = constrained
        self._moves = allowed_moves(self._tags) if constrained else None

    @property
    def labels(self) -> tuple[Label, ...]:
        """The entity types."""
        return self._labels

    @property
    def outputs(self) -> tuple[str, ...]:
        """IOB2 tags: O, then B- and I- of each type."""
        return self._tags

    def target_vectors(self, row: Row) -> list[list[float]]:
        """One-hot of each word's tag.

        Raises:
            DataError: a type is not of this task.
        """
        vectors = []
        for tag in to_tags(read_spans(row.target), len(row.text.split(" "))):
            if tag not in self._index:
                raise DataError(
                    did_you_mean("entity type", tag[2:], [label.name for label in self._labels])
                )
            vector = [0.0] * len(self._tags)
            vector[self._index[tag]] = 1.0
            vectors.append(vector)
        return vectors

    def teacher_vectors(self, row: Row) -> list[list[float]]:
        """One-hot outside entities; in an entity its tag has the entity's confidence, and O the rest."""
        vectors = self.target_vectors(row)
        for index, confidence in _confidences(row):
            vectors[index] = [confidence * value for value in vectors[index]]
            vectors[index][0] += 1.0 - confidence
        return vectors

    def unit_weights(self, row: Row) -> list[float]:
        """What each word weighs; see ``word_weights``."""
        weights = [row.weight] * len(row.text.split(" "))
        for index, confidence in _confidences(row) if self._by_confidence else ():
            weights[index] *= confidence
        return weights

    @property
    def num_groups(self) -> int:
        """One a type, and one for texts without entities."""
        return len(self._labels) + 1

    @property
    def output_groups(self) -> tuple[int, ...]:
        """The type's place for each of its tags; for O that of texts without entities."""
        return (len(self._labels), *(index for index in range(len(self._labels)) for _ in "BI"))

    def group_of(self, row: Row, counts: Mapping[str, int]) -> int:
        """The place of the row's rarest type (ours; LLKD is about classification); the number of types for a text without entities."""
        names = [label.name for label in self._labels]
        return min(
            (names.index(name) for name in self.classes(row.target) if name != OUTSIDE),
            key=lambda index: (counts.get(names[index], 0), index),
            default=len(names),
        )

    def read(self, probabilities: Sequence[Sequence[float] | None]) -> Reading:
        """The marking of the best tags, read strictly, and the probability of the least certain one."""
        indices = best_tags(probabilities, self._tags, self._moves)
        certain = [
            row[index] for row, index in zip(probabilities, indices, strict=True) if row is not None
        ]
        tags = tuple(self._tags[index] for index in indices)
        return Reading(
            write_spans(from_tags(strict_tags(tags))), (round(min(certain, default=1.0), 6),), tags
        )

    def proposed(
        self, probabilities: Sequence[Sequence[float] | None]
    ) -> tuple[tuple[int, int], ...]:
        """Where the best reading or the second-best one has an entity, each place once."""
        readings = two_best_tags(probabilities, self._tags, self._moves)
        return tuple(
            sorted(
                {
                    span[:2]
                    for path in readings
                    for span in from_tags(strict_tags([self._tags[index] for index in path]))
                }
            )
        )

    def classes(self, target: str) -> tuple[str, ...]:
        """The types in order of their first entity; ("O",) without one."""
        return tuple(dict.fromkeys(span.type for span in read_spans(target))) or (OUTSIDE,)

    def errors(self, outcome: Outcome) -> list[SpanError]:
        """The student's errors on one text, by kind."""
        return span_errors(read_spans(outcome.target), read_spans(outcome.predicted))

    def mistakes(self, outcome: Outcome) -> tuple[Mistake, ...]:
        """Every error: the types on both sides, and the words."""
        words, gold = outcome.text.split(" "), read_spans(outcome.target)

        def told(error: SpanError) -> str:
            span = error.gold or error.predicted
            # What was marked beside an entity and in a part of it is no example of words that are none.
            if span is None or (
                error.gold is None
                and any(span.start < one.end and one.start < span.end for one in gold)
            ):
                return ""
            return " ".join(words[span.start : span.end])

        return tuple(
            Mistake(
                error.gold.type if error.gold else "",
                error.predicted.type if error.predicted else "",
                told(error),
            )
            for error in self.errors(outcome)
        )

    def margin(self, distribution: LabelDistribution, outcome: Outcome) -> float:
        """The teacher's probability of the type it was asked for less that of the runner-up."""
        first, second = sorted(distribution.probabilities, reverse=True)[:2]
        return first - second

    def shown(self, outcome: Outcome) -> dict[str, object]:
        """The text, its entities, and each error with its kind, mention and types in words."""
        words = outcome.text.split(" ")
        by_name = {label.name: label for label in self._labels}

        def told(span: Span | None) -> dict[str, object] | None:
            return (
                {"mention": " ".join(words[span.start : span.end]), "label": by_name[span.type]}
                if span
                else None
            )

        return {
            "text": outcome.text,
            "entities": [told(span) for span in read_spans(outcome.target)],
            "errors": [
                {"kind": error.kind, "gold": told(error.gold), "predicted": told(error.predicted)}
                for error in self.errors(outcome)
            ],
        }

    def scores(self, outcomes: Sequence[Outcome]) -> dict[str, ClassScore]:
        """Strict precision, recall and F1 of each type: an entity counts where its words and its type are right."""
        right: Counter[str] = Counter()
        gold: Counter[str] = Counter()
        predicted: Counter[str] = Counter()
        for outcome in outcomes:
            wanted, found = set(read_spans(outcome.target)), set(read_spans(outcome.predicted))
            right.update(span.type for span in wanted & found)
            gold.update(span.type for span in wanted)
            predicted.update(span.type for span in found)
        return {
            label.name: _score(right[label.name], predicted[label.name], gold[label.name])
            for label in self._labels
        }

    def metrics(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """seqeval's micro F1 in strict IOB2 mode (what we quote) and in its default mode, errors by kind, and each type's scores.

        The default mode, which old papers quote, reads an I- that nothing begins as an entity of its own.
        """
        from seqeval.metrics import f1_score
        from seqeval.scheme import IOB2

        lengths = [len(outcome.text.split(" ")) for outcome in outcomes]
        gold = [
            to_tags(read_spans(outcome.target), length)
            for outcome, length in zip(outcomes, lengths, strict=True)
        ]
        predicted = [
            list(outcome.tags) or to_tags(read_spans(outcome.predicted), length)
            for outcome, length in zip(outcomes, lengths, strict=True)
        ]
        marked = any(tag != "O" for tags in (*gold, *predicted) for tag in tags)
        kinds = Counter(error.kind for outcome in outcomes for error in self.errors(outcome))
        return {
            "f1_strict": float(
                f1_score(gold, predicted, mode="strict", scheme=IOB2, zero_division=0)
            )
            if marked
            else 0.0,
            "f1_default": float(f1_score(gold, predicted, zero_division=0)) if marked else 0.0,
            "accuracy": sum(outcome.correct for outcome in outcomes) / max(1, len(outcomes)),
            "errors": dict(sorted(kinds.items())),
            "per_class": {name: asdict(score) for name, score in self.scores(outcomes).items()},
        }


def _confidences(row: Row) -> list[tuple[int, float]]:
    """The words that are in entities, by place, with the teacher's confidence in theirs; nothing where it gave none."""
    spans = read_spans(row.target)
    if len(row.entity_confidence) != len(spans):
        return []
    return [
        (index, confidence)
        for span, confidence in zip(spans, row.entity_confidence, strict=True)
        for index in range(span.start, span.end)
    ]


def _score(right: int, predicted: int, gold: int) -> ClassScore:
    precision, recall = right / max(1, predicted), right / max(1, gold)
    return ClassScore(
        precision, recall, 2 * precision * recall / max(precision + recall, 1e-12), gold
    )
