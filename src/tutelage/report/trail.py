"""The trail of a run, round by round: mistakes, analysis, quota, what the teacher wrote; and everything that the page's script lists."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tutelage.records import Row
from tutelage.report.figures_rows import reason_kind, row_class
from tutelage.report.markings import Piece, marked, tints
from tutelage.report.mistakes import finite, mistake_entry, wrong_on_test
from tutelage.runs.read import Run
from tutelage.runs.records import GrowthLog
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
        found.append(
            Chapter(number, growth, mistakes, kept, len(rows) - kept, _quota(run, growth, rows))
        )
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
    return tuple(
        QuotaLine(*line, asked[line], kept[line], rejected[line]) for line in sorted(asked)
    )


def rejected_reasons(run: Run, examples: int = 3, most: int = 30) -> tuple[RejectedReason, ...]:
    """The ``most`` frequent reasons with their first ``examples`` rows each."""
    by_reason: dict[str, list[Row]] = {}
    for row in run.rows:
        if not row.accepted:
            by_reason.setdefault(reason_kind(row.reason), []).append(row)
    ordered = sorted(by_reason.items(), key=lambda item: -len(item[1]))[:most]
    return tuple(
        RejectedReason(reason, len(rows), tuple(rows[:examples])) for reason, rows in ordered
    )


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
    return finite(row.confidence) if row.distribution or row.entity_confidence else None


def trail_data(run: Run) -> dict[str, Any]:
    """Rows and mistakes (by growth, and on test) as plain values, for the page's script. Numbers that JSON cannot hold become null.

    ``classes`` are those that an entry is found under. For NER texts come in pieces too (:class:`~tutelage.report.markings.Piece`), and
    ``tints`` has the colour of every type in them.
    """
    rows = [_row(run, row) for row in run.rows]
    mistakes = {
        str(number): [mistake_entry(run, one) for one in run.feedback_for(number)]
        for number in run.growth
    }
    wrong = wrong_on_test(run)
    test = [mistake_entry(run, one) for one in wrong.surest] if wrong else []
    colours: dict[str, int] = {}
    if run.by_word:
        markings = [row["pieces"] for row in rows]
        markings += [
            one[side]
            for entries in (*mistakes.values(), test)
            for one in entries
            for side in ("right", "predicted")
        ]
        colours = tints(
            run.labels, {piece.type for pieces in markings for piece in pieces if piece.type}
        )
    return {
        "labels": list(run.labels),
        "marked": run.by_word,
        "tints": colours,
        "rows": rows,
        "mistakes": mistakes,
        "test": test,
    }


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
        "confidence": sureness(row),
        "text": row.text,
        "why": row.reason,
        "parents": list(row.parents),
        "detail": {str(key): str(value) for key, value in row.detail.items()},
    }
    if run.by_word:
        shown["pieces"] = row_pieces(run, row)
        shown["classes"] += run.task.classes(row.target)
    return shown


def script_json(data: Any) -> str:
    """``data`` as JSON that is safe inside ``<script type="application/json">``: pure ASCII without ``<``, ``>`` and ``&``.

    Raises:
        ValueError: ``data`` holds a number that JSON cannot.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    # ensure_ascii has already escaped U+2028 and U+2029, which older scripts read as line ends.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
