"""Which rows of a pool people look at: a random control, the least sure, the most disputed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tutelage.records import Outcome, Row, derive_seed
from tutelage.runs.check_records import SampledRow

PARTS = ("control", "unsure", "disputed")
"""Parts of a sample, in the order in which they are drawn."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Number of rows of each part.

    Attributes:
        control: Rows drawn at random.
        unsure: Rows with the teacher's lowest confidence.
        disputed: Rows that the student, or an audit, contradicts.
    """

    control: int
    unsure: int
    disputed: int


def draw(
    rows: Sequence[Row],
    student: Mapping[str, Outcome],
    suspects: Sequence[str],
    sizes: Sizes,
    seed: int,
) -> list[SampledRow]:
    """Draws a sample; no row is in two parts.

    The control is drawn first and from all rows, so it is a uniform sample whatever the other parts
    would like; they take the next rows instead. A control of another size begins with the same
    rows.

    Args:
        rows: The rows that the teacher has labelled.
        student: The student's prediction of each, by id.
        suspects: Ids of the rows that an audit suspects, most suspicious first.
        sizes: Number of rows of each part, as far as there are so many.
        seed: Seed of the control and of the order.

    Returns:
        The rows in random order, which tells nobody why a row was drawn.
    """
    order = list(rows)
    random.Random(derive_seed("review control", seed)).shuffle(order)
    ranked = {
        "control": [row.id for row in order],
        "unsure": _least_sure(rows),
        "disputed": _most_disputed(rows, student, suspects),
    }
    parts: dict[str, str] = {}
    for part in PARTS:
        left = [id for id in ranked[part] if id not in parts]
        parts |= dict.fromkeys(left[: getattr(sizes, part)], part)
    drawn = [row for row in rows if row.id in parts]
    random.Random(derive_seed("review order", seed)).shuffle(drawn)
    return [
        SampledRow(row.id, parts[row.id], row.target, student[row.id].predicted) for row in drawn
    ]


def _least_sure(rows: Sequence[Row]) -> list[str]:
    """Rows with an opinion of the teacher, least confident first."""
    judged = [row for row in rows if row.distribution or row.entity_confidence]
    return [row.id for row in sorted(judged, key=lambda row: row.confidence)]


def _most_disputed(
    rows: Sequence[Row], student: Mapping[str, Outcome], suspects: Sequence[str]
) -> list[str]:
    """Rows that the student contradicts, the suspects of an audit, and the rows that fit worst.

    A student that has learnt its pool by heart contradicts nothing. Then the rows of its lowest
    confidence are the likeliest mistakes (the small-loss trick, Han et al. 2018,
    arXiv 1804.06872).
    """
    surest = sorted(rows, key=lambda row: -student[row.id].confidence)
    against = [row.id for row in surest if student[row.id].predicted != row.target]
    known = {row.id for row in rows}
    return list(
        dict.fromkeys(
            [*against, *(id for id in suspects if id in known), *(row.id for row in surest[::-1])]
        )
    )
