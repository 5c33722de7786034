"""The learning curve of a run, on dev: where it stood after each round, by billed tokens and by the share of the pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.runs.folder import RunFolder


@dataclass(frozen=True, slots=True)
class Point:
    """Where a run stood after a round.

    Attributes:
        tokens: billed.
        share: different pool texts that the student has learnt from, of those that the method may draw from; of a method that draws from no
            pool its accepted rows, as a share of the data set's pool. None where the run does not tell.
        dev: the metric on dev, in [0, 1].
    """

    round: int
    tokens: int
    share: float | None
    dev: float


def read_curve(run: RunFolder, metric: str, pool: int) -> tuple[Point, ...]:
    """The curve of a finished run, from round 0 to the end.

    Args:
        pool: unlabelled texts of the data set.
    """
    # A round is measured after its stages; the last line of a number is the one that counts.
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
    """Shares of the pool after each of ``lines``; result.json has the last, selection.jsonl those before it where a selector chose."""
    found: list[float | None] = []
    steps = run.read_lines("selection.jsonl") if len(lines) > 1 else ()
    rows = run.read_lines("pool/rows.jsonl") if len(lines) > 1 and not steps else ()
    pooled = [row for row in rows if row["accepted"] and row["source"] == "pool"]
    for line in lines[:-1]:
        # Nobody chose, so every row was learnt from.
        used = (
            0
            if steps
            else len({row["parents"][0] for row in pooled if row["round"] <= line["round"]})
        )
        for step in steps:
            if step["epoch"] <= line["epoch"]:
                used = step.get("unique_rows")
        found.append(None if used is None else min(used / shares["pool"], shares["unique"]))
    return [*found, shares["unique"]] if lines else []
