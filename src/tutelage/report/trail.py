"""The trail of a run, round by round: mistakes, analysis, quota, generated texts.

It includes the rows and mistakes listed by the page's script: all of them, or so many of a large
run that a browser still opens the page at once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.records import Row, evenly
from tutelage.report.figures_rows import reason_kind, row_class
from tutelage.report.markings import Piece
from tutelage.report.mistakes import finite, mistake_entry, wrong_on_test
from tutelage.report.panels import panel_of
from tutelage.runs.read import Run
from tutelage.runs.records import GrowthLog

MOST_ROWS = 5_000
"""Rows that the page lists at most; about 2 MB."""
MOST_MISTAKES = 1_000
"""Mistakes of a round that the page lists at most."""


@dataclass(frozen=True, slots=True)
class QuotaLine:
    """Texts of one class and kind in a round.

    Attributes:
        label: The class.
        kind: The kind of text, such as "hard".
        asked: Number of requested texts; None if no quota was recorded.
        kept: Number of accepted rows.
        rejected: Number of rejected rows.
    """

    label: str
    kind: str
    asked: int | None
    kept: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Chapter:
    """One round of the trail.

    Attributes:
        round: Round number.
        growth: The growth record; None for rows without one, such as the gold shots of round 0.
        mistakes: Number of mistakes fed back to the teacher.
        kept: Number of accepted rows.
        rejected: Number of rejected rows.
        quota: Requested and resulting rows by class and kind.
    """

    round: int
    growth: GrowthLog | None
    mistakes: int
    kept: int
    rejected: int
    quota: tuple[QuotaLine, ...]


@dataclass(frozen=True, slots=True)
class RejectedReason:
    """A reason for rejection.

    Attributes:
        reason: The reason.
        count: Number of rows rejected for it.
        examples: The first few of them.
    """

    reason: str
    count: int
    examples: tuple[Row, ...]


def chapters(run: Run) -> tuple[Chapter, ...]:
    """Return a chapter for every round with rows or a growth record, in order."""
    found = []
    # A round may have rows without a growth record (the shots), or a record without rows.
    for number in sorted({row.round for row in run.rows} | set(run.growth)):
        rows = [row for row in run.rows if row.round == number]
        kept = sum(row.accepted for row in rows)
        growth = run.growth.get(number)
        mistakes = len(run.feedback_for(number)) if growth else 0
        found.append(
            Chapter(number, growth, mistakes, kept, len(rows) - kept, _quota(run, growth, rows))
        )
    return tuple(found)


def _quota(run: Run, growth: GrowthLog | None, rows: list[Row]) -> tuple[QuotaLine, ...]:
    if growth is None:
        return ()
    asked: dict[tuple[str, str], int | None] = {}
    # Quota keys are "label/kind", and the label itself may contain a slash.
    for key, count in growth.quota.items():
        label, _, kind = key.rpartition("/")
        asked[(label, kind) if label else (key, "")] = count
    kept = Counter((row_class(run, row), str(row.source)) for row in rows if row.accepted)
    rejected = Counter((row_class(run, row), str(row.source)) for row in rows if not row.accepted)
    # Rows outside the quota, for instance of another class, get a line as well.
    for made in (*kept, *rejected):
        asked.setdefault(made, None)
    return tuple(
        QuotaLine(*line, asked[line], kept[line], rejected[line]) for line in sorted(asked)
    )


def rejected_reasons(run: Run, examples: int = 3, most: int = 30) -> tuple[RejectedReason, ...]:
    """Return the ``most`` frequent reasons, with the first ``examples`` rows of each."""
    by_reason: dict[str, list[Row]] = {}
    for row in run.rows:
        if not row.accepted:
            # Reasons that differ only in quoted names are one reason.
            by_reason.setdefault(reason_kind(row.reason), []).append(row)
    ordered = sorted(by_reason.items(), key=lambda item: -len(item[1]))[:most]
    return tuple(
        RejectedReason(reason, len(rows), tuple(rows[:examples])) for reason, rows in ordered
    )


def row_pieces(run: Run, row: Row) -> tuple[Piece, ...]:
    """Return the text of a row in pieces, with its marks."""
    return panel_of(run.task).pieces(row.text, row.target)


def scored_as(run: Run, row: Row) -> str:
    """Return the teacher's most probable label for a row (for NER, for the requested mention).

    A row without teacher scores shows its gold label, or else a dash.
    """
    if row.distribution:
        return row.distribution.top
    return panel_of(run.task).gold_label(row.target) if row.given else "–"


def sureness(row: Row) -> float | None:
    """Return the teacher's confidence in a row; None if it has none, or NaN."""
    return finite(row.confidence) if row.distribution or row.entity_confidence else None


def trail_data(run: Run) -> dict[str, Any]:
    """Return rows and mistakes (by growth, and on test) as plain values for the page's script.

    Numbers without a JSON form become null. ``classes`` lists the classes under which filters find
    an entry. Texts with marks are also given in pieces (:class:`~tutelage.report.markings.Piece`),
    and ``tints`` holds the colour of every class in them. Of many rows, and of many mistakes of a
    round, it has some; ``left_out`` counts the others.
    """
    panel = panel_of(run.task)
    listed = listed_rows(run.rows, MOST_ROWS)
    rows = [_row(run, row) for row in listed]
    fed_back = {number: run.feedback_for(number) for number in run.growth}
    mistakes = {
        str(number): [mistake_entry(run, one) for one in evenly(own, MOST_MISTAKES)]
        for number, own in fed_back.items()
    }
    wrong = wrong_on_test(run)
    test = [mistake_entry(run, one) for one in wrong.surest] if wrong else []
    shown = [one for entries in (*mistakes.values(), test) for one in entries]
    return {
        "labels": list(run.labels),
        "marked": panel.marked,
        "tints": panel.tints(run.labels, rows, shown),
        "rows": rows,
        "mistakes": mistakes,
        "test": test,
        "left_out": {
            "rows": len(run.rows) - len(rows),
            "mistakes": sum(map(len, fed_back.values())) - sum(map(len, mistakes.values())),
        },
    }


def listed_rows(rows: Sequence[Row], most: int) -> Sequence[Row]:
    """Returns the rows to list, in order: all, or the given ones and others at even distances.

    Args:
        rows: All rows.
        most: Number of rows to list at most.
    """
    if len(rows) <= most:
        return rows
    given = evenly([index for index, row in enumerate(rows) if row.given], most)
    others = [index for index, row in enumerate(rows) if not row.given]
    chosen = sorted([*given, *evenly(others, most - len(given))])
    return [rows[index] for index in chosen]


def _row(run: Run, row: Row) -> dict[str, Any]:
    scored = scored_as(run, row)
    fields = panel_of(run.task).row_fields(run.task, row)
    # Plain values only: this becomes JSON in the page.
    return {
        "id": row.id,
        "round": row.round,
        "kind": row.source,
        "ok": row.accepted,
        "asked": row.asked,
        "scored": scored,
        "classes": [row.asked, scored, *fields.pop("more_classes")],
        "confidence": sureness(row),
        "text": row.text,
        "why": row.reason,
        "parents": list(row.parents),
        "detail": {str(key): str(value) for key, value in row.detail.items()},
        **fields,
    }


def script_json(data: Any) -> str:
    """Serialise ``data`` as JSON that is safe inside ``<script type="application/json">``.

    Returns:
        Pure ASCII without ``<``, ``>`` and ``&``.

    Raises:
        ValueError: If ``data`` contains NaN or infinity.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    # ensure_ascii already escapes U+2028 and U+2029, line ends in older versions of JavaScript.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
