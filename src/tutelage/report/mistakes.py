"""What the student got wrong, text by text: its mistakes on test after the run, and the form that the page's script lists a mistake in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tutelage.records import Outcome
from tutelage.report.markings import compared
from tutelage.runs.read import Run

MOST_SHOWN = 200
"""Mistakes on test that the page holds: enough to read, and a test set of many thousand texts still makes a page that opens at once."""


@dataclass(frozen=True, slots=True)
class WrongOnTest:
    """The test texts that the student got wrong when it was last measured.

    Attributes:
        count, texts: how many are wrong, of how many.
        surest: those that the page shows, the surest of the student first.
    """

    count: int
    texts: int
    surest: tuple[Outcome, ...]


def wrong_on_test(run: Run, most: int = MOST_SHOWN) -> WrongOnTest | None:
    """The mistakes on test, ``most`` of them at most to show; None where the run has not measured test yet."""
    if not run.after:
        return None
    wrong = [one for one in run.after if not one.correct]
    # A confidence that is no number says nothing of how sure the student was, so it comes last.
    ordered = sorted(
        wrong, key=lambda one: -one.confidence if math.isfinite(one.confidence) else math.inf
    )
    return WrongOnTest(len(wrong), len(run.after), tuple(ordered[:most]))


def mistake_entry(run: Run, one: Outcome) -> dict[str, Any]:
    """A mistake as plain values, for the page's script.

    ``classes`` are those that it is found under. For NER both markings come in pieces (:class:`~tutelage.report.markings.Piece`), with
    ``faults``, the kinds of error.
    """
    shown: dict[str, Any] = {
        "id": one.id,
        "text": one.text,
        "confidence": finite(one.confidence),
        "from": one.source,
    }
    if not run.by_word:
        return {
            **shown,
            "right": one.target,
            "predicted": one.predicted,
            "classes": [one.target, one.predicted],
        }
    marks = compared(one)
    return {
        **shown,
        "right": marks.right,
        "predicted": marks.predicted,
        "faults": [
            kind if count == 1 else f"{count}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}{kind}"
            for kind, count in marks.errors.items()
        ],
        "classes": [*run.task.classes(one.target), *run.task.classes(one.predicted)],
    }


def finite(value: float) -> float | None:
    """A share as JSON can hold it, to four places; None where it is no number."""
    return round(value, 4) if math.isfinite(value) else None
