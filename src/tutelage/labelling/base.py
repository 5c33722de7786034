"""What a labeller of texts gives back, for both tasks: an opinion, and from it the target that a row would have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tutelage.labelling.calibration import Calibrator
from tutelage.records import Example, LabelDistribution
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.protocol import Task
from tutelage.tasks.spans import Span, write_spans
from tutelage.teacher.base import OnReply, Request, Teacher


@dataclass(frozen=True, slots=True)
class Draft:
    """A text to be labelled.

    Attributes:
        mentions: for NER the spans that it was written around, of the type that was asked for, or "O": words that are to be no name. Empty
            for any other text.
        kept: for NER the other entities that it had to hold. They stay as they are; their scores only say how sure the teacher is.
        proposed: for NER where the student sees a name or nearly does, as [start, end) in words; empty where it was not asked.
        named: for NER other names that it was written around, as [start, end) in words: asked about like candidates, whatever they are.
    """

    text: str
    mentions: tuple[Span, ...] = ()
    kept: tuple[Span, ...] = ()
    proposed: tuple[tuple[int, int], ...] = ()
    named: tuple[tuple[int, int], ...] = ()

    @property
    def fixed(self) -> tuple[Span, ...]:
        """Both kinds."""
        return (*self.mentions, *self.kept)

    def leaves(self, start: int, end: int) -> bool:
        """Whether an entity may be seen there: it overlaps none that is fixed. Words that are no name may be part of one."""
        overlapped = [span for span in self.fixed if span.shares_a_word(start, end)]
        return all(span.type == OUTSIDE and span[:2] != (start, end) for span in overlapped)


@dataclass(frozen=True, slots=True)
class Opinion:
    """The teacher's opinion of one text.

    Attributes:
        distribution: over the labels; for NER over the types and "O", of the mentions that the text was written around (their mean), or
            where it was not, of the least certain candidate.
        entities: for NER every other entity, kept or seen by the teacher, with its probability.
        mentions: those mentions.
        marked: True for NER.
    """

    distribution: LabelDistribution
    entities: tuple[tuple[Span, float], ...] = ()
    mentions: tuple[Span, ...] = ()
    marked: bool = False

    def target(self, label: str) -> str:
        """A row's target when ``label`` is believed of the text, or of its mentions ("O": they are no entities)."""
        return write_spans(span for span, _ in self._all(label)) if self.marked else label

    def entity_confidence(self, label: str) -> tuple[float, ...]:
        """The probability of each entity of :meth:`target`."""
        return tuple(probability for _, probability in sorted(self._all(label)))

    def _all(self, label: str) -> list[tuple[Span, float]]:
        if not self.marked:
            return []
        # Words that were to be no name may be part of one; then that one stands.
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


@dataclass(frozen=True, slots=True)
class Labelled:
    """Opinions in the drafts' order (None where there is none, with the reason in ``errors`` by place), and how many requests that took."""

    opinions: tuple[Opinion | None, ...]
    errors: dict[int, str]
    asked: int
    failed: int


class Labeller(Protocol):
    """Labels texts with the teacher, each by a query of its own (or several, for NER)."""

    calibrator: Calibrator

    @property
    def asks_student(self) -> bool:
        """True where drafts should say what the student has ``proposed``."""
        ...

    def fit(self, dev: Sequence[Example] = (), on_reply: OnReply | None = None) -> int:
        """Give the calibrator what it needs before the first text; return how many gold labels that used."""
        ...

    def label(self, drafts: Sequence[Draft], on_reply: OnReply | None = None) -> Labelled:
        """Opinions of ``drafts``; the calibrator sees the whole batch at once."""
        ...

    def requests(self, drafts: Sequence[Draft]) -> list[Request]:
        """What ``label`` would send."""
        ...


Nearest = Callable[[str], Sequence[Example]]
"""The labelled examples that the teacher is shown beside one text, the most similar last."""


class NewLabeller(Protocol):
    """Builds what labels a method's texts."""

    def __call__(
        self,
        task: Task,
        teacher: Teacher,
        demonstrations: Sequence[Example],
        nearest: Nearest | None = None,
        /,
    ) -> Labeller:
        """A labeller with a calibrator of its own.

        Args:
            demonstrations: shown beside every text.
            nearest: gives each text demonstrations of its own instead.
        """
        ...
