"""Mistakes of the student on test after the run, and mistakes as entries for the page's script."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tutelage.records import Outcome
from tutelage.report.panels import panel_of
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

    ``classes`` lists the classes under which filters find it. Its two sides depend on the task; see
    :meth:`tutelage.report.panels.Panel.mistake_fields`.
    """
    return {
        "id": one.id,
        "text": one.text,
        "confidence": finite(one.confidence),
        "from": one.source,
        **panel_of(run.task).mistake_fields(run.task, one),
    }


def finite(value: float) -> float | None:
    """Round a share to four digits for JSON; None for NaN and infinity."""
    return round(value, 4) if math.isfinite(value) else None
