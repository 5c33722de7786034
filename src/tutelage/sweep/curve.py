"""The learning curve of a run on dev, by round, billed tokens and share of the pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.runs.folder import RunFolder


@dataclass(frozen=True, slots=True)
class Point:
    """A run after a round.

    Attributes:
        round: Number of the round; 0 is the start.
        tokens: Billed tokens so far.
        share: Distinct pool texts learnt from so far, as a share of the texts open to the method.
            For a method without a pool: its accepted rows as a share of the data set's pool. None
            if the run has no record of it.
        dev: The metric on dev, in [0, 1].
    """

    round: int
    tokens: int
    share: float | None
    dev: float


def read_curve(run: RunFolder, metric: str, pool: int) -> tuple[Point, ...]:
    """Reads the curve of a finished run.

    Args:
        run: Its folder.
        metric: Key of a headline metric.
        pool: Number of unlabelled texts in the data set.

    Returns:
        One point per round, from round 0 to the end.
    """
    # A round may have several stages; its last line counts.
    lines = [
        *{
            line["round"]: line
            for line in run.read_lines("metrics.jsonl")
            if metric in (line.get("dev") or {})
        }.values()
    ]
    shares = (run.read_json("result.json") or {}).get("share_of_data") or {}
    found = (
        _learnt(lines, shares, run)
        if shares.get("pool")
        else [line["accepted"] / max(1, pool) for line in lines]
    )
    return tuple(
        Point(line["round"], line["billed_tokens"], share, float(line["dev"][metric]))
        for line, share in zip(lines, found, strict=True)
    )


def _learnt(
    lines: Sequence[Mapping[str, Any]], shares: Mapping[str, Any], run: RunFolder
) -> list[float | None]:
    """The share of the pool after each of ``lines``.

    The last one is in result.json. Earlier ones come from selection.jsonl, or from the rows of the
    pool if no train selector chose.
    """
    found: list[float | None] = []
    steps = run.read_lines("selection.jsonl") if len(lines) > 1 else ()
    rows = run.read_lines("pool/rows.jsonl") if len(lines) > 1 and not steps else ()
    pooled = [row for row in rows if row["accepted"] and row["source"] == "pool"]
    for line in lines[:-1]:
        # Without a train selector every row was learnt from.
        used = (
            0
            if steps
            else len({row["parents"][0] for row in pooled if row["round"] <= line["round"]})
        )
        for step in steps:
            if step["epoch"] <= line["epoch"]:
                used = step.get("unique_rows")
        found.append(None if used is None else min(used / shares["pool"], shares["unique"]))
    # The last round includes the final stage.
    return [*found, shares["unique"]] if lines else []
