"""The interface of labellers for both tasks: drafts in, opinions out.

An opinion yields the target of a row for each label that may be accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from tutelage.labelling.calibration import FittedState
from tutelage.records import Example, LabelDistribution
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.protocol import Task
from tutelage.tasks.spans import Span, write_spans
from tutelage.teacher.base import OnReply, Request, Teacher


@dataclass(frozen=True, slots=True)
class Draft:
    """A text to label.

    Positions are [start, end) in words.

    Attributes:
        text: The text; for NER its words, joined by single spaces.
        mentions: For NER: the spans that a generated text was written around, with the requested
            type, or with "O" for words that must not be a name. Empty for other texts.
        kept: For NER: further entities required in the text. They always stay; their scores only
            measure the teacher's confidence.
        proposed: For NER: positions where the student predicts an entity, or nearly does. Empty if
            the student was not asked.
        named: For NER: positions of further names that the text was written around. They are scored
            like span candidates, whatever they turn out to be.
        asked: For classes: the class that a generated text was asked for; "" for other texts. For
            NER ``mentions`` have the types that were asked for.
        likely: For classes: the classes that the student finds most probable, best first. Empty if
            the student was not asked.
    """

    text: str
    mentions: tuple[Span, ...] = ()
    kept: tuple[Span, ...] = ()
    proposed: tuple[tuple[int, int], ...] = ()
    named: tuple[tuple[int, int], ...] = ()
    asked: str = ""
    likely: tuple[str, ...] = ()

    @property
    def fixed(self) -> tuple[Span, ...]:
        """The mentions and the kept entities together."""
        return (*self.mentions, *self.kept)

    def leaves(self, start: int, end: int) -> bool:
        """Returns whether the words [start, end) can be an entity besides the fixed ones.

        They must not overlap a fixed entity. A mention "O" may be part of a longer entity, but is
        not an entity itself.
        """
        # Only an "O" mention may be overlapped, and not by the very same span.
        overlapped = [span for span in self.fixed if span.shares_a_word(start, end)]
        return all(span.type == OUTSIDE and span[:2] != (start, end) for span in overlapped)


@dataclass(frozen=True, slots=True)
class Opinion:
    """The teacher's opinion of one text.

    Attributes:
        distribution: Distribution over the labels. For NER, over the types and "O": the mean over
            the draft's mentions, or that of the least certain span if there are none.
        entities: For NER: every other entity, kept or found by the teacher, with its probability.
        mentions: For NER: the draft's mentions.
        marked: True for NER, where a target is a marking; False for classification.
    """

    distribution: LabelDistribution
    entities: tuple[tuple[Span, float], ...] = ()
    mentions: tuple[Span, ...] = ()
    marked: bool = False

    def target(self, label: str) -> str:
        """Returns a row's target under a label.

        Args:
            label: The accepted label of the text, or for NER of its mentions; "O" leaves them out.

        Returns:
            The label itself; for NER the marking as text, see :mod:`tutelage.tasks.spans`.
        """
        return write_spans(span for span, _ in self._all(label)) if self.marked else label

    def entity_confidence(self, label: str) -> tuple[float, ...]:
        """Returns the probability of each entity of :meth:`target`, in its order."""
        return tuple(probability for _, probability in sorted(self._all(label)))

    def _all(self, label: str) -> list[tuple[Span, float]]:
        if not self.marked:
            return []
        # A mention "O" may be part of an entity, and then gives way to it.
        part = {
            span
            for span in self.mentions
            if span.type == OUTSIDE
            and any(one.shares_a_word(*span[:2]) for one, _ in self.entities)
        }
        mentions = [] if label == OUTSIDE else [span for span in self.mentions if span not in part]
        return [
            *self.entities,
            *(
                (span._replace(type=label), self.distribution.probability(label))
                for span in mentions
            ),
        ]


def mean_distribution(
    distributions: Sequence[LabelDistribution], disagreement: float | None = None
) -> LabelDistribution:
    """Returns the mean of one or more distributions over the same labels.

    Args:
        distributions: The distributions.
        disagreement: How far they are apart, if they are the members of an ensemble.
    """

    def mean(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
        return tuple(round(sum(values) / len(values), 6) for values in zip(*rows, strict=True))

    return LabelDistribution(
        distributions[0].labels,
        mean([one.probabilities for one in distributions]),
        round(sum(one.off_label_mass for one in distributions) / len(distributions), 6),
        mean([one.raw for one in distributions]),
        disagreement,
    )


@dataclass(frozen=True, slots=True)
class Labelled:
    """The result of labelling a batch of drafts.

    Attributes:
        opinions: One per draft, in order; None for a draft without an opinion.
        errors: Reason for each missing opinion, by the index of its draft.
        asked: Number of requests.
        failed: Number of failed requests among them.
    """

    opinions: tuple[Opinion | None, ...]
    errors: dict[int, str]
    asked: int
    failed: int


class Labeller(Protocol):
    """Labels texts with the teacher, with one or more requests per text."""

    @property
    def calibrator(self) -> FittedState:
        """Calibrates the teacher's probabilities; its state belongs in checkpoints."""
        ...

    @property
    def is_token_level(self) -> bool:
        """Whether it labels entities (True) or whole texts (False)."""
        ...

    @property
    def asks_student(self) -> bool:
        """Whether drafts need the student's predictions, ``proposed`` or ``likely``."""
        ...

    def fit(self, dev: Sequence[Example] = (), on_reply: OnReply | None = None) -> int:
        """Fits the calibrator before the first text, if it needs fitting.

        Args:
            dev: Labelled dev examples.
            on_reply: Called with each reply.

        Returns:
            The number of gold labels used.
        """
        ...

    def label(self, drafts: Sequence[Draft], on_reply: OnReply | None = None) -> Labelled:
        """Labels a batch of drafts, which the calibrator sees as one batch."""
        ...

    def requests(self, drafts: Sequence[Draft]) -> list[Request]:
        """Returns the requests that :meth:`label` can foresee, to estimate its cost."""
        ...


@runtime_checkable
class Prepared(Protocol):
    """A labeller that asks the teacher in ``fit``, for more than its calibration."""

    def preparation(self) -> dict[str, list[Request]]:
        """Returns the requests of ``fit`` by kind, to estimate its cost.

        A request that depends on replies to others is given as one of about its length.
        """
        ...


Nearest = Callable[[str], Sequence[Example]]
"""Returns labelled examples as demonstrations for one text, with the most similar one last."""


class NewLabeller(Protocol):
    """Builds the labeller of a method."""

    def __call__(
        self,
        task: Task,
        teacher: Teacher,
        demonstrations: Sequence[Example],
        nearest: Nearest | None = None,
        /,
    ) -> Labeller:
        """Builds a labeller with a calibrator of its own.

        Args:
            task: The task, with its labels.
            teacher: The teacher to ask.
            demonstrations: Labelled examples to show with every text.
            nearest: Selects demonstrations for each text instead.
        """
        ...
