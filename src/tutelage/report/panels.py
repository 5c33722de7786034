"""How the report shows targets: as plain labels, or as entities marked in their text.

Everything in the report that depends on the form of a target is here. A task names its panel
(:attr:`tutelage.tasks.protocol.Task.panel`); a task with targets of another form adds one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tutelage.records import Outcome, Row
from tutelage.report.intervals import DRAWS, entity_f1_interval, wilson_interval
from tutelage.report.markings import Piece, compared, marked, tints
from tutelage.runs.records import Scores
from tutelage.tasks.protocol import Task
from tutelage.tasks.spans import read_spans


class Panel(Protocol):
    """Shows targets of one form.

    Attributes:
        marked: Whether texts are shown with marks, in colours with a legend.
        captions: Title and caption of figures by name, where they differ from the usual ones.
        confidence_of: What the student's confidence is a probability of.
        score_hint: Remark about the headline metrics; "" for none.
        error_hint: What the kinds of errors mean; "" for a task without kinds.
        interval_method: Method behind the intervals of the first headline metric.
        resampled: Whether :meth:`interval` is computed from outcomes, not from the score.
    """

    marked: bool
    captions: Mapping[str, tuple[str, str]]
    confidence_of: str
    score_hint: str
    error_hint: str
    interval_method: str
    resampled: bool

    def pieces(self, text: str, target: str) -> tuple[Piece, ...]:
        """Return a text in pieces, with its marks."""
        ...

    def plain(self, text: str, target: str) -> str:
        """Return a target as a line of text."""
        ...

    def gold_label(self, target: str) -> str:
        """Return the label of a gold row; a dash if its target is not a label."""
        ...

    def row_fields(self, task: Task, row: Row) -> dict[str, Any]:
        """Return further fields of a row for the page's script.

        Returns:
            "more_classes", classes under which filters find the row besides the usual ones, and
            fields to show.
        """
        ...

    def mistake_fields(self, task: Task, outcome: Outcome) -> dict[str, Any]:
        """Return both sides of a mistake for the page's script, and its classes."""
        ...

    def tints(
        self,
        labels: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        mistakes: Sequence[Mapping[str, Any]],
    ) -> dict[str, int]:
        """Return the colour of every class marked in rows and mistakes; empty without marks.

        Args:
            labels: Names of the run's classes.
            rows: Rows with their :meth:`row_fields`.
            mistakes: Mistakes with their :meth:`mistake_fields`.
        """
        ...

    def interval(
        self, score: float, count: int, outcomes: Sequence[Outcome]
    ) -> tuple[float, float] | None:
        """Return the 95 % interval of the first headline metric.

        Args:
            score: The metric.
            count: Number of test texts, at least 1.
            outcomes: The outcomes behind it, if they are known.

        Returns:
            Lower and upper end, in [0, 1]; None if it cannot be computed.
        """
        ...

    def text_count(self, scores: Scores) -> int | None:
        """Return the number of texts behind class scores; None if they count something else."""
        ...


class LabelPanel:
    """Shows targets as label names (:class:`Panel`)."""

    marked = False
    captions: Mapping[str, tuple[str, str]] = {}
    confidence_of = "the predicted class"
    score_hint = ""
    error_hint = ""
    interval_method = "Wilson"
    resampled = False

    def pieces(self, text: str, target: str) -> tuple[Piece, ...]:
        """Return the whole text as one piece."""
        return marked(text, ())

    def plain(self, text: str, target: str) -> str:
        """Return the label."""
        return target

    def gold_label(self, target: str) -> str:
        """Return the label."""
        return target

    def row_fields(self, task: Task, row: Row) -> dict[str, Any]:
        """Return no further classes or fields."""
        return {"more_classes": ()}

    def mistake_fields(self, task: Task, outcome: Outcome) -> dict[str, Any]:
        """Return the correct and the predicted label."""
        sides = (outcome.target, outcome.predicted)
        return {"right": sides[0], "predicted": sides[1], "classes": list(sides)}

    def tints(
        self,
        labels: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        mistakes: Sequence[Mapping[str, Any]],
    ) -> dict[str, int]:
        """Return no colours."""
        return {}

    def interval(
        self, score: float, count: int, outcomes: Sequence[Outcome]
    ) -> tuple[float, float] | None:
        """Return the Wilson interval, which needs only the count."""
        return wilson_interval(score, count)

    def text_count(self, scores: Scores) -> int | None:
        """Return the sum of the supports: every text has one class."""
        return sum(score.support for score in scores.per_class.values())


class EntityPanel:
    """Shows targets as entities marked in their text (:class:`Panel`)."""

    marked = True
    captions: Mapping[str, tuple[str, str]] = {
        "class-f1-by-round": (
            "F1 of each entity type by round",
            "One panel per type, the others in grey; first → last round. "
            "An entity is correct if its words and its type are.",
        ),
        "confusion-matrix": (
            "Confusions of entity types on test at the end",
            "Shade: share of the true type. Blue: the type is correct, even if the boundary is "
            "not; orange: it is wrong. “none”: entities missed (column) and invented (row).",
        ),
        "rows-by-kind": (
            "Rows by kind, round and entity type",
            "Every row of the pool, under the requested type. "
            "Colour: source of an accepted row; grey: rejected, never trained on.",
        ),
        "teacher-reliability": (
            "Teacher reliability",
            "An answer is an entity marked by the teacher. Left: on the diagonal, confidence "
            "equals accuracy. ECE: expected calibration error. "
            "Right: distribution of the confidence, correct and wrong entities stacked.",
        ),
    }
    confidence_of = "its least certain word"
    score_hint = (
        "Entity F1 is computed by seqeval in strict IOB2 mode. Its default mode, reported by older "
        "papers, also counts an I- tag without a preceding B- as the beginning of an entity; runs "
        "are not compared by it. With constrained tags (task.constrained=true) both values are "
        "equal by construction, and so they are for a teacher, which marks whole entities."
    )
    error_hint = (
        "Type: correct words, wrong type. Boundary: correct type, too many or too few words. "
        "Missed: a gold entity without a prediction. Invented: a prediction without a gold entity."
    )
    interval_method = f"bootstrap over the test texts ({DRAWS:,} draws)"
    resampled = True

    def pieces(self, text: str, target: str) -> tuple[Piece, ...]:
        """Return the text cut at its entities."""
        return marked(text, read_spans(target))

    def plain(self, text: str, target: str) -> str:
        """Return each name with its type."""
        return "; ".join(
            f"{piece.text} [{piece.type}]" for piece in self.pieces(text, target) if piece.type
        )

    def gold_label(self, target: str) -> str:
        """Return a dash: the target is a list of spans."""
        return "–"

    def row_fields(self, task: Task, row: Row) -> dict[str, Any]:
        """Return the text in pieces, and the types of its entities."""
        return {
            "more_classes": task.classes(row.target),
            "pieces": self.pieces(row.text, row.target),
        }

    def mistake_fields(self, task: Task, outcome: Outcome) -> dict[str, Any]:
        """Return both markings in pieces, and in "faults" the number of errors of each kind."""
        marks = compared(outcome)
        return {
            "right": marks.right,
            "predicted": marks.predicted,
            "faults": [
                kind if count == 1 else f"{count}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}{kind}"
                for kind, count in marks.errors.items()
            ],
            "classes": [*task.classes(outcome.target), *task.classes(outcome.predicted)],
        }

    def tints(
        self,
        labels: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        mistakes: Sequence[Mapping[str, Any]],
    ) -> dict[str, int]:
        """Return a colour for every type; types outside the label space need one, too."""
        shown = [row["pieces"] for row in rows]
        shown += [one[side] for one in mistakes for side in ("right", "predicted")]
        return tints(labels, {piece.type for pieces in shown for piece in pieces if piece.type})

    def interval(
        self, score: float, count: int, outcomes: Sequence[Outcome]
    ) -> tuple[float, float] | None:
        """Return the bootstrap interval; None without outcomes."""
        return entity_f1_interval(outcomes) if outcomes else None

    def text_count(self, scores: Scores) -> int | None:
        """Return None: the supports count entities."""
        return None


PANELS: dict[str, Panel] = {"labels": LabelPanel(), "entities": EntityPanel()}
"""The panels by name."""


def panel_of(task: Task) -> Panel:
    """Return the panel of a task."""
    return PANELS[task.panel]
