"""The trail of a run, round by round: mistakes, analysis, quota, what the teacher wrote; and its form for the page's script."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tutelage.records import Outcome, Row
from tutelage.report.figures_rows import reason_kind, row_class
from tutelage.report.markings import Piece, compared, marked
from tutelage.report.run_records import GrowthLog
from tutelage.report.runs import Run
from tutelage.tasks.spans import read_spans


@dataclass(frozen=True, slots=True)
class QuotaLine:
    """How many texts of a class and kind were asked for in a round, and how many rows came of it. ``asked`` None: no quota was written."""

    label: str
    kind: str
    asked: int | None
    kept: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Chapter:
    """One round of the trail. ``growth`` is None for rows that no growth made, such as the gold shots of round 0."""

    round: int
    growth: GrowthLog | None
    mistakes: int
    kept: int
    rejected: int
    quota: tuple[QuotaLine, ...]


@dataclass(frozen=True, slots=True)
class RejectedReason:
    """A reason with how many rows it rejected and the first few of them."""

    reason: str
    count: int
    examples: tuple[Row, ...]


def chapters(run: Run) -> tuple[Chapter, ...]:
    """A chapter for every round that has rows or a growth, in order."""
    found = []
    for number in sorted({row.round for row in run.rows} | set(run.growth)):
        rows = [row for row in run.rows if row.round == number]
        kept = sum(row.accepted for row in rows)
        growth = run.growth.get(number)
        mistakes = len(run.feedback_for(number)) if growth else 0
        found.append(Chapter(number, growth, mistakes, kept, len(rows) - kept, _quota(run, growth, rows)))
    return tuple(found)


def _quota(run: Run, growth: GrowthLog | None, rows: list[Row]) -> tuple[QuotaLine, ...]:
    if growth is None:
        return ()
    asked: dict[tuple[str, str], int | None] = {}
    for key, count in growth.quota.items():
        label, _, kind = key.rpartition("/")
        asked[(label, kind) if label else (key, "")] = count
    kept = Counter((row_class(run, row), str(row.source)) for row in rows if row.accepted)
    rejected = Counter((row_class(run, row), str(row.source)) for row in rows if not row.accepted)
    for made in (*kept, *rejected):
        asked.setdefault(made, None)
    return tuple(QuotaLine(*line, asked[line], kept[line], rejected[line]) for line in sorted(asked))


def rejected_reasons(run: Run, examples: int = 3, most: int = 30) -> tuple[RejectedReason, ...]:
    """The ``most`` frequent reasons with their first ``examples`` rows each."""
    by_reason: dict[str, list[Row]] = {}
    for row in run.rows:
        if not row.accepted:
            by_reason.setdefault(reason_kind(row.reason), []).append(row)
    ordered = sorted(by_reason.items(), key=lambda item: -len(item[1]))[:most]
    return tuple(RejectedReason(reason, len(rows), tuple(rows[:examples])) for reason, rows in ordered)


def row_pieces(run: Run, row: Row) -> tuple[Piece, ...]:
    """The text of a row, for NER with its entities marked."""
    return marked(row.text, read_spans(row.target) if run.by_word else ())


def scored_as(run: Run, row: Row) -> str:
    """What the teacher took the row for (for NER the mention that was asked for); a row that was not scored has its gold label or nothing."""
    if row.distribution:
        return row.distribution.top
    return row.target if row.source == "gold" and not run.by_word else "–"


def sureness(row: Row) -> float | None:
    """The teacher's confidence in the row; None where it has none, or one that is no number."""
    return _finite(row.confidence) if row.distribution or row.entity_confidence else None


def trail_data(run: Run) -> dict[str, Any]:
    """Rows and mistakes as plain values, for the page's script. Numbers that JSON cannot hold become null.

    ``classes`` are those that an entry is found under. For NER texts come in pieces too (:class:`~tutelage.report.markings.Piece`).
    """
    mistakes = {str(number): [_mistake(run, one) for one in run.feedback_for(number)] for number in run.growth}
    return {"labels": list(run.labels), "marked": run.by_word, "rows": [_row(run, row) for row in run.rows], "mistakes": mistakes}


def _row(run: Run, row: Row) -> dict[str, Any]:
    scored = scored_as(run, row)
    shown: dict[str, Any] = {
        "id": row.id,
        "round": row.round,
        "kind": row.source,
        "ok": row.accepted,
        "asked": row.asked,
        "scored": scored,
        "classes": [row.asked, scored],
        "sure": sureness(row),
        "text": row.text,
        "why": row.reason,
        "parents": list(row.parents),
        "detail": {str(key): str(value) for key, value in row.detail.items()},
    }
    if run.by_word:
        shown["pieces"] = row_pieces(run, row)
        shown["classes"] += run.task.classes(row.target)
    return shown


def _mistake(run: Run, one: Outcome) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": one.id, "text": one.text, "sure": _finite(one.confidence), "from": one.source}
    if not run.by_word:
        return {**shown, "right": one.target, "said": one.predicted, "classes": [one.target, one.predicted]}
    marks = compared(one)
    return {
        **shown,
        "right": marks.right,
        "said": marks.said,
        "faults": [kind if count == 1 else f"{count}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}{kind}" for kind, count in marks.errors.items()],
        "classes": [*run.task.classes(one.target), *run.task.classes(one.predicted)],
    }


def script_json(data: Any) -> str:
    """``data`` as JSON that is safe inside ``<script type="application/json">``: pure ASCII without ``<``, ``>`` and ``&``.

    Raises:
        ValueError: ``data`` holds a number that JSON cannot.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    # ensure_ascii has already escaped U+2028 and U+2029, which older scripts read as line ends.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
