"""Pseudo-labels: the student itself labels a few texts of the pool in each round.

After Yang and Yu 2020 (arXiv 2006.00429), reconstructed from its summary: a small part of the
unlabelled texts is labelled per round, and a self-supervised task on all texts runs beside the
classification (:class:`~tutelage.student.losses.masked_words.MaskedWordsLoss`). With
loss=cross_entropy it is plain self-training.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from tutelage.errors import ConfigError
from tutelage.methods.base import MethodContext, drawn_pool, gold_rows
from tutelage.methods.pool.settings import PseudoLabelSettings
from tutelage.records import (
    LABELLED_BY,
    STUDENT,
    Example,
    Feedback,
    Growth,
    LabelDistribution,
    Row,
    record_id,
)
from tutelage.selectors.protocol import Prediction
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.spans import read_spans


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A text that the student could label, with the row that this would be."""

    confidence: float
    row: Row


class PseudoLabels:
    """Starts from the gold rows and class names, and adds the student's surest labels.

    In each round the student reads every text of the pool without a row. The classes take turns,
    and each takes the text of which the student is surest among those predicted as its own, until
    it has its share. For NER a text counts under the rarest of its predicted types, and its
    confidence is the probability of its least certain word. The texts without entities are one more
    class, of which there are never more than texts with entities: a student that has learnt from a
    few sentences overlooks most entities, and would soon see none.

    A row keeps its label; the distribution is the student's own, so the train selectors rank these
    rows by the student's confidence. For NER each entity has the confidence of its text, and a text
    without entities the distribution over types and "O" at its least certain word.

    Args:
        settings: The settings of the method.
    """

    settings_type = PseudoLabelSettings
    asks_teacher = False
    calibration_labels = 0
    truncated = 0

    def __init__(self, settings: PseudoLabelSettings) -> None:
        self.settings = settings
        self.name = settings.name

    @property
    def rounds(self) -> int:
        """Maximum number of rounds."""
        return self.settings.rounds

    def setup(self, context: MethodContext) -> None:
        """Draws the pool of the run.

        Args:
            context: The parts of the run.

        Raises:
            ConfigError: There is no pool, or the student has nothing to begin with.
        """
        if not context.unlabelled:
            raise ConfigError(
                f"method={self.name} lets the student label a pool, and the data set has no pool "
                "texts. Take data with a pool, or method=shots."
            )
        if not context.shots and not context.class_names:
            raise ConfigError(
                f"method={self.name} begins with a student of gold labels or class names, and "
                "there are none. Give shots=1 or more and training.gold=shots, or, for classes, "
                "student.class_names=true."
            )
        self._context = context
        self._pool = drawn_pool(context.unlabelled, self.settings.pool_size, context.seed)
        task = context.task
        self._groups = [label.name for label in task.labels]
        if task.num_groups > len(self._groups):
            self._groups.append(OUTSIDE)

    def first_rows(self) -> Growth:
        """Returns the gold rows."""
        return Growth(round=0, rows=tuple(gold_rows(self._context.shots)))

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        """Lets the student label texts, and returns the rows of which it is surest.

        Args:
            feedback: Not used: the student is asked itself.
            round: The new round, from 1.
        """
        began = time.perf_counter()
        done = {row.parents[0] for row in self._context.pool.rows if row.source == "pool"}
        left = [example for example in self._pool if example.id not in done]
        candidates = self._candidates(left, round)
        return Growth(
            round=round,
            rows=tuple(self._surest(candidates, round)),
            seconds={"pseudo-labels": time.perf_counter() - began},
        )

    def aimed_at(self, feedback: Feedback) -> Feedback:
        """Returns the feedback unchanged; the report shows its mistakes."""
        return feedback

    def state_dict(self) -> dict[str, Any]:
        """Returns an empty state: everything follows from the pool."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores nothing."""

    def _candidates(self, left: list[Example], round: int) -> list[_Candidate]:
        """Texts of which the student is sure enough, in the order of the pool."""
        if not left:
            return []
        self._context.on_phase("pseudo-labels", 0)
        view = self._context.view_pool([example.text for example in left], [])
        found = []
        for example, prediction in zip(left, view.predictions(), strict=True):
            if prediction is None or prediction.confidence < self.settings.min_confidence:
                continue
            if (row := self._row(example, prediction, round)) is not None:
                found.append(_Candidate(prediction.confidence, row))
        return found

    def _row(self, example: Example, prediction: Prediction, round: int) -> Row | None:
        """Builds the row of a text; None if it shows no entity but may well hold one."""
        by_word = self._context.task.is_token_level
        entities = len(read_spans(prediction.target)) if by_word else 0
        shares = prediction.shares
        if by_word and not entities and max(shares) > shares[-1]:
            return None  # Its least certain word leans towards a type, split between B- and I-.
        return Row(
            id=record_id("pool row", round, example.id),
            text=example.text,
            target=prediction.target,
            source="pool",
            round=round,
            accepted=True,
            distribution=None
            if entities
            else LabelDistribution(tuple(self._groups), shares, off_label_mass=0.0),
            parents=(example.id,),
            detail={LABELLED_BY: STUDENT},
            entity_confidence=(prediction.confidence,) * entities,
        )

    def _surest(self, candidates: list[_Candidate], round: int) -> list[Row]:
        """The surest rows of each group, taken in turns; the first of the pool in a tie."""
        task = self._context.task
        counts = Counter(name for one in candidates for name in task.classes(one.row.target))
        queues: list[deque[Row]] = [deque() for _ in self._groups]
        for one in sorted(candidates, key=lambda one: -one.confidence):
            queues[task.group_of(one.row, counts)].append(one.row)
        empty = queues.pop() if task.is_token_level else deque[Row]()
        # With fewer texts than classes, the next round goes on with the next class.
        start = (round - 1) * self.settings.n_texts % len(queues)
        queues = queues[start:] + queues[:start]
        chosen: list[Row] = []
        # A class has no more than its share even where the others have too few: otherwise a student
        # that leans towards one class soon names nothing else.
        for _ in range(math.ceil(self.settings.n_texts / len(queues))):
            turn = [queue.popleft() for queue in queues if queue]
            # One text without entities per turn is at most one for each text with some.
            chosen += [*turn, *([empty.popleft()] if empty and turn else [])]
        return chosen[: self.settings.n_texts]
