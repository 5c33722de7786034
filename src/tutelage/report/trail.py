"""The trail of a run, round by round: mistakes, analysis, quota, what the teacher wrote; and its form for the page's script."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tutelage.records import Row
from tutelage.report.figures_rows import row_class
from tutelage.report.runs import GrowthLog, Run


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
        found.append(Chapter(number, growth, mistakes, kept, len(rows) - kept, _quota(growth, rows)))
    return tuple(found)


def _quota(growth: GrowthLog | None, rows: list[Row]) -> tuple[QuotaLine, ...]:
    if growth is None:
        return ()
    asked: dict[tuple[str, str], int | None] = {}
    for key, count in growth.quota.items():
        label, _, kind = key.rpartition("/")
        asked[(label, kind) if label else (key, "")] = count
    kept = Counter((row_class(row), str(row.source)) for row in rows if row.accepted)
    rejected = Counter((row_class(row), str(row.source)) for row in rows if not row.accepted)
    for made in (*kept, *rejected):
        asked.setdefault(made, None)
    return tuple(QuotaLine(*line, asked[line], kept[line], rejected[line]) for line in sorted(asked))


def rejected_reasons(run: Run, examples: int = 3, most: int = 30) -> tuple[RejectedReason, ...]:
    """The ``most`` frequent reasons with their first ``examples`` rows each."""
    by_reason: dict[str, list[Row]] = {}
    for row in run.rows:
        if not row.accepted:
            by_reason.setdefault(row.reason or "no reason given", []).append(row)
    ordered = sorted(by_reason.items(), key=lambda item: -len(item[1]))[:most]
    return tuple(RejectedReason(reason, len(rows), tuple(rows[:examples])) for reason, rows in ordered)


def trail_data(run: Run) -> dict[str, Any]:
    """Rows and mistakes as plain values, for the page's script. Numbers that JSON cannot hold become null."""
    rows = [
        {
            "id": row.id,
            "round": row.round,
            "kind": row.source,
            "ok": row.accepted,
            "asked": row.asked,
            # A row that was not scored shows the gold label that it has, or nothing.
            "scored": row.distribution.top if row.distribution else row.target if row.source == "gold" else "–",
            "sure": _finite(row.confidence) if row.distribution else None,
            "text": row.text,
            "why": row.reason,
            "parents": list(row.parents),
            "detail": {str(key): str(value) for key, value in row.detail.items()},
        }
        for row in run.rows
    ]
    mistakes = {
        str(number): [
            {
                "id": one.id,
                "text": one.text,
                "right": one.target,
                "said": one.predicted,
                "sure": _finite(one.confidence),
                "from": one.source,
            }
            for one in run.feedback_for(number)
        ]
        for number in run.growth
    }
    return {"labels": list(run.labels), "rows": rows, "mistakes": mistakes}


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
