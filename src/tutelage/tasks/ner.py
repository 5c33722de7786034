"""Named entity recognition: flat, typed spans of words, learnt and decoded as IOB2 tags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, get_args

from tutelage.errors import ConfigError, DataError, did_you_mean
from tutelage.records import ClassScore, Example, Label, LabelDistribution, Outcome, Row
from tutelage.tasks.entity_rows import EntityRowReader
from tutelage.tasks.opinions import Opinion, TeacherOpinion, check_shares
from tutelage.tasks.protocol import Head, Metric, Mistake, Reading, Wording
from tutelage.tasks.span_errors import KINDS, SpanError, span_errors
from tutelage.tasks.spans import Span, from_tags, read_spans, strict_tags, to_tags, write_spans
from tutelage.tasks.tag_decoding import allowed_moves, best_tags, two_best_tags

OUTSIDE = "O"
"""Class of a text without entities, and of a span candidate that is no entity."""

WordWeights = Literal["row", "confidence"]


class NerTask:
    """Named entity recognition in texts of words joined by single spaces.

    A text counts as correct if its set of (span, type) pairs is correct (our definition; the papers
    give none).

    Args:
        labels: The entity types. They come from the data set, not from the configuration.
        constrained: Restrict decoded tags to valid IOB2: no I- after O or after another type. The
            strict and the default mode of seqeval then agree.
        word_weights: Weight of a word in the loss: "row" for the row's weight, or "confidence" for
            this weight times the teacher's confidence in the entity the word belongs to (1 for all
            other words, and without a teacher opinion, as in gold rows). Ours; the papers weight
            texts. A loss on the teacher's distribution already contains this confidence. Selectors
            see rows and words unweighted.

    Raises:
        ConfigError: ``word_weights`` is unknown.
    """

    name = "ner"
    is_token_level = True
    head: Head = "token"
    panel = "entities"
    wording = Wording(
        class_name="entity type",
        class_names="entity types",
        short="type",
        units="entities",
        answers="marked entities",
        answers_left="marked entities",
        answer_score="precision",
    )
    row_reader = EntityRowReader()
    headline_metrics = (Metric("f1_strict", "entity F1"), Metric("accuracy", "texts right"))
    # seqeval's default mode, for comparison with papers that use it.
    further_metrics = (Metric("f1_default", "default-mode F1"),)
    error_kinds: tuple[str, ...] = KINDS
    monitor = "f1_strict"
    empty_target = "[]"
    records_raw_opinions = False

    def __init__(
        self, labels: Sequence[Label], constrained: bool = True, word_weights: WordWeights = "row"
    ) -> None:
        if word_weights not in get_args(WordWeights):
            raise ConfigError(
                did_you_mean("task.word_weights", word_weights, get_args(WordWeights))
            )
        self._labels = tuple(labels)
        self._by_confidence = word_weights == "confidence"
        # O comes first, then B- and I- of each type, in the order of the types.
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

    @property
    def student_settings(self) -> dict[str, Any]:
        """Whether decoded tags must form valid IOB2."""
        return {"constrained_tags": self.constrained}

    def model_input(self, text: str) -> list[str]:
        """The words of the text."""
        return text.split(" ")

    def target_vectors(self, row: Row) -> list[list[float]]:
        """One-hot vector of each word's tag.

        Raises:
            DataError: The target has an entity type unknown to this task.
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
        """The teacher's distribution per word.

        One-hot outside entities. Inside an entity, its tag has the confidence of the entity and O
        the rest.
        """
        vectors = self.target_vectors(row)
        # Scale the one-hot tag, and give O the remainder.
        for index, confidence in _confidences(row):
            vectors[index] = [confidence * value for value in vectors[index]]
            vectors[index][0] += 1.0 - confidence
        return vectors

    def unit_weights(self, row: Row) -> list[float]:
        """Weight of each word in the loss; see ``word_weights``."""
        weights = [row.weight] * len(row.text.split(" "))
        # Words outside entities, and rows without confidences, keep the row's weight.
        for index, confidence in _confidences(row) if self._by_confidence else ():
            weights[index] *= confidence
        return weights

    @property
    def num_groups(self) -> int:
        """One group per type, and one for texts without entities."""
        return len(self._labels) + 1

    @property
    def output_groups(self) -> tuple[int, ...]:
        """Group of each tag: its type's index; for O the group of texts without entities."""
        return (len(self._labels), *(index for index in range(len(self._labels)) for _ in "BI"))

    def group_of(self, row: Row, counts: Mapping[str, int]) -> int:
        """Index of the row's rarest type, or the number of types for a text without entities.

        Grouping by the rarest type is ours; LLKD covers classification only.

        Args:
            row: The row.
            counts: Number of rows with each type.
        """
        names = [label.name for label in self._labels]
        # The rarest type wins, the lower index in a tie.
        return min(
            (names.index(name) for name in self.classes(row.target) if name != OUTSIDE),
            key=lambda index: (counts.get(names[index], 0), index),
            default=len(names),
        )

    def read(self, probabilities: Sequence[Sequence[float] | None]) -> Reading:
        """Decodes the best tags, read strictly, with the probability of the least certain one.

        Args:
            probabilities: One distribution over the tags per word; None for an unseen word.
        """
        indices = best_tags(probabilities, self._tags, self._moves)
        # Unseen words have no probability to report.
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
        """Word ranges with an entity in the best or the second-best tag sequence, each range once.

        Args:
            probabilities: One distribution over the tags per word; None for an unseen word.
        """
        # The second-best sequence adds the entities the student nearly sees.
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
        """The types in the order of their first entity; ("O",) without entities."""
        return tuple(dict.fromkeys(span.type for span in read_spans(target))) or (OUTSIDE,)

    def check_target(self, target: str) -> None:
        """Checks for a JSON list of spans."""
        read_spans(target)

    def confusions(self, outcome: Outcome) -> tuple[tuple[str, str], ...]:
        """The types of every error and of every correct entity.

        A wrong boundary counts as the correct type.
        """
        correct = set(read_spans(outcome.target)) & set(read_spans(outcome.predicted))
        return (
            *((one.right, one.predicted) for one in self.mistakes(outcome)),
            *((span.type, span.type) for span in correct),
        )

    def errors(self, outcome: Outcome) -> list[SpanError]:
        """The student's errors on one text, by kind."""
        return span_errors(read_spans(outcome.target), read_spans(outcome.predicted))

    def mistakes(self, outcome: Outcome) -> tuple[Mistake, ...]:
        """Every error, with the type on either side and the words."""
        # Gold entities, to recognise invented spans overlapping one of them.
        words, gold = outcome.text.split(" "), read_spans(outcome.target)

        def words_of(error: SpanError) -> str:
            span = error.gold or error.predicted
            # A span overlapping a gold entity is no example of words outside entities.
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
                words_of(error),
            )
            for error in self.errors(outcome)
        )

    def margin(self, distribution: LabelDistribution, outcome: Outcome) -> float:
        """The teacher's probability of its first type minus its probability of the second.

        The distribution is the one over the types of the span candidate and "O"; the outcome is
        unused.
        """
        first, second = sorted(distribution.probabilities, reverse=True)[:2]
        return first - second

    def shown(self, outcome: Outcome) -> dict[str, object]:
        """The text, its entities, and each error with kind, mention and types."""
        words = outcome.text.split(" ")
        # The prompt shows labels with their words and descriptions, not plain names.
        by_name = {label.name: label for label in self._labels}

        def described(span: Span | None) -> dict[str, object] | None:
            return (
                {"mention": " ".join(words[span.start : span.end]), "label": by_name[span.type]}
                if span
                else None
            )

        return {
            "text": outcome.text,
            "entities": [described(span) for span in read_spans(outcome.target)],
            "errors": [
                {
                    "kind": error.kind,
                    "gold": described(error.gold),
                    "predicted": described(error.predicted),
                }
                for error in self.errors(outcome)
            ],
        }

    def scores(self, outcomes: Sequence[Outcome]) -> dict[str, ClassScore]:
        """Strict precision, recall and F1 of each type.

        An entity counts as correct if both its words and its type are.
        """
        right: Counter[str] = Counter()
        gold: Counter[str] = Counter()
        predicted: Counter[str] = Counter()
        for outcome in outcomes:
            correct, found = set(read_spans(outcome.target)), set(read_spans(outcome.predicted))
            # Equal spans have equal words and an equal type.
            right.update(span.type for span in correct & found)
            gold.update(span.type for span in correct)
            predicted.update(span.type for span in found)
        return {
            label.name: _score(right[label.name], predicted[label.name], gold[label.name])
            for label in self._labels
        }

    def metrics(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """seqeval's micro F1 in two modes, accuracy, errors by kind, and scores per type.

        The strict IOB2 mode is our headline metric. The default mode, common in older papers, reads
        an I- tag without a beginning as an entity of its own.
        """
        from seqeval.metrics import f1_score
        from seqeval.scheme import IOB2

        lengths = [len(outcome.text.split(" ")) for outcome in outcomes]
        # Predictions are scored as raw tags, since only these may break the IOB2 scheme.
        gold = [
            to_tags(read_spans(outcome.target), length)
            for outcome, length in zip(outcomes, lengths, strict=True)
        ]
        predicted = [
            list(outcome.tags) or to_tags(read_spans(outcome.predicted), length)
            for outcome, length in zip(outcomes, lengths, strict=True)
        ]
        # seqeval cannot score tag sequences without any entity.
        marked = any(tag != "O" for tags in (*gold, *predicted) for tag in tags)
        # Error kinds come from the decoded spans, like those of the feedback.
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

    def opinion_record(
        self, example: Example, opinion: Opinion | None, error: str
    ) -> dict[str, Any]:
        """The marked entities with their confidences, and the text, whose words the spans count."""
        line: dict[str, Any] = {"id": example.id, "target": example.label or ""}
        line["text"] = example.text
        if opinion is None:
            return {**line, "error": error}
        predicted = opinion.target(opinion.distribution.top)
        return {**line, "predicted": predicted, "confidences": opinion.entity_confidence("")}

    def read_opinion(self, record: Mapping[str, Any]) -> TeacherOpinion:
        """The marked entities, with one confidence each and nothing from before calibration."""
        id, text, target = str(record["id"]), str(record.get("text", "")), str(record["target"])
        read_spans(target)
        # A failed request: the teacher has no answer to validate.
        if record.get("error"):
            return TeacherOpinion(id, text, target, self.empty_target, (), (), str(record["error"]))
        confidences = tuple(map(float, record["confidences"]))
        predicted = str(record["predicted"])
        check_shares("confidences", confidences, len(read_spans(predicted)), "entity")
        return TeacherOpinion(id, text, target, predicted, confidences, ())

    def answers(self, opinion: TeacherOpinion, *, raw: bool = False) -> list[tuple[float, bool]]:
        """One answer per marked entity, correct if the gold target contains it."""
        gold = read_spans(opinion.target)
        return [
            (confidence, span in gold)
            for span, confidence in zip(
                read_spans(opinion.predicted), opinion.probabilities, strict=True
            )
        ]


def _confidences(row: Row) -> list[tuple[int, float]]:
    """Words inside entities, each with the teacher's confidence in its entity.

    Empty if the teacher gave no confidence per entity.
    """
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
