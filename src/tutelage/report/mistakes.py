"""Mistakes of the student on test after the run, and mistakes as entries for the page's script."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tutelage.records import Outcome
from tutelage.report.markings import compared
from tutelage.runs.read import Run

MOST_SHOWN = 200
"""Maximal number of test mistakes in the page.

Enough to read; and even with a test set of many thousand texts the page opens instantly.
"""


@dataclass(frozen=True, slots=True)
class WrongOnTest:
    """The student's mistakes in its latest test.

    Attributes:
        count: Number of mistakes.
        texts: Number of test texts.
        surest: The mistakes shown in the page, by descending confidence of the student.
    """

    count: int
    texts: int
    surest: tuple[Outcome, ...]


def wrong_on_test(run: Run, most: int = MOST_SHOWN) -> WrongOnTest | None:
    """Collect the mistakes on test.

    Args:
        run: The run.
        most: Maximal number of mistakes to show.

    Returns:
        The mistakes; None if the run has not been tested yet.
    """
    if not run.after:
        return None
    wrong = [one for one in run.after if not one.correct]
    # A NaN confidence carries no information, so it comes last.
    ordered = sorted(
        wrong, key=lambda one: -one.confidence if math.isfinite(one.confidence) else math.inf
    )
    return WrongOnTest(len(wrong), len(run.after), tuple(ordered[:most]))


def mistake_entry(run: Run, one: Outcome) -> dict[str, Any]:
    """Convert a mistake to plain values for the page's script.

    ``classes`` lists the classes under which filters find it. For NER both sides are given in
    pieces (:class:`~tutelage.report.markings.Piece`), with the kinds of error in ``faults``.
    """
    shown: dict[str, Any] = {
        "id": one.id,
        "text": one.text,
        "confidence": finite(one.confidence),
        "from": one.source,
    }
    if not run.is_token_level:
        return {
            **shown,
            "right": one.target,
            "predicted": one.predicted,
            "classes": [one.target, one.predicted],
        }
    # For NER, show both markings, and the number of errors of each kind.
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
    """Round a share to four digits for JSON; None for NaN and infinity."""
    return round(value, 4) if math.isfinite(value) else None
