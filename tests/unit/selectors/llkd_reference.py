"""LLKD's formulas computed one number at a time, and small batches and epochs to test them on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutelage.selectors.llkd import SLACK
from tutelage.selectors.protocol import EpochView, Step

CLASSES, OUTPUTS = 3, 3
NAN = math.nan


@dataclass(frozen=True)
class Batch:
    """Rows of a batch: confidences, classes, student distributions and gold flags."""

    confidence: list[float]
    groups: list[int]
    student: list[list[float]]
    gold: tuple[int, ...] = ()

    @property
    def predicted(self) -> list[int]:
        """The most probable class; the first one in a tie."""
        return [row.index(max(row)) for row in self.student]


def step(
    confidence: list[float],
    groups: list[int],
    student: list[list[float]],
    gold: tuple[int, ...] = (),
    **changes: Any,
) -> Step:
    return Step(
        ids=tuple(map(str, range(len(groups)))),
        groups=np.array(groups),
        predicted=np.array(changes.get("predicted", [0] * len(groups))),
        confidence=np.array(confidence),
        least_confidence=np.array(changes.get("least", confidence)),
        gold=np.array([index in gold for index in range(len(groups))]),
        probabilities=np.array(student),
        owners=np.array(changes.get("owners", range(len(groups)))),
        classes=changes.get("classes", CLASSES),
    )


def epoch(confidence: list[float], groups: list[int], gold: tuple[int, ...] = ()) -> EpochView:
    one = step(confidence, groups, [[1.0] * OUTPUTS] * len(groups), gold)
    nothing = np.full(len(groups), np.nan)
    return EpochView(
        one.ids, one.ids, one.groups, one.confidence, one.least_confidence, one.gold,
        np.full((len(groups), OUTPUTS), np.nan), nothing, None, None, CLASSES,
    )  # fmt: skip


class Reference:
    """The formulas of the module docstring, one number at a time."""

    def __init__(self, m: float, how: dict[str, Any]) -> None:
        self.m, self.how = m, how
        self.g: list[float | None] = [None, None]
        self.a: list[dict[int, float]] = [{}, {}]

    def start(self, side: int, values: list[float], groups: list[int]) -> None:
        if self.g[side] is None and values:
            self.g[side] = sum(values) / len(values)
            for key in set(groups):
                own = [value for value, one in zip(values, groups, strict=True) if one == key]
                self.a[side][key] = sum(own) / len(own)

    def begin(self, batches: list[Batch]) -> None:
        if self.how["start"] == "uniform":
            for side in (0, 1):
                self.start(side, [1 / OUTPUTS] * CLASSES, list(range(CLASSES)))
            return
        rows = [
            (c, key)
            for one in batches
            for index, (c, key) in enumerate(zip(one.confidence, one.groups, strict=True))
            if index not in one.gold
        ]
        self.start(
            0,
            [c for c, _ in rows if math.isfinite(c)],
            [key for c, key in rows if math.isfinite(c)],
        )
        if self.how["class_by"] == "student":
            self.a[0].clear()

    def threshold(self, side: int, key: int) -> float:
        g = self.g[side]
        assert g is not None
        if not self.how["per_class"]:
            return g
        highest = max(self.a[side].values())
        return g * (self.a[side][key] / highest if highest > 0 else 1.0)

    def uncertain(self, row: list[float]) -> float:
        if not all(map(math.isfinite, row)):
            return NAN
        *_, second, first = sorted(row)
        return {
            "entropy": -sum(p * math.log(p) for p in row if p > 0) / math.log(len(row)),
            "least_confidence": 1 - first,
            "margin": 1 - (first - second),
        }[self.how["uncertainty"]]

    def weigh(self, batch: Batch) -> list[float]:
        whose = batch.predicted if self.how["class_by"] == "student" else batch.groups
        rows = list(zip(batch.confidence, map(self.uncertain, batch.student), whose, strict=True))
        known = [
            (c, u, key)
            for index, (c, u, key) in enumerate(rows)
            if index not in batch.gold and math.isfinite(c + u)
        ]
        groups = [key for _, _, key in known]
        for side in (0, 1) if known else ():
            values = [row[side] for row in known]
            self.start(side, values, groups)
            g = self.g[side]
            assert g is not None
            self.g[side] = self.m * g + (1 - self.m) * sum(values) / len(values)
            for key in set(groups):
                own = [value for value, one in zip(values, groups, strict=True) if one == key]
                mean = sum(own) / len(own)
                self.a[side][key] = (
                    self.m * self.a[side][key] + (1 - self.m) * mean
                    if key in self.a[side]
                    else mean
                )
        return [1.0 if index in batch.gold else self.weight(*row) for index, row in enumerate(rows)]

    def weight(self, c: float, u: float, key: int) -> float:
        if not math.isfinite(c + u):
            return 0.0
        for side, value, gate in ((0, c, "teacher_gate"), (1, u, "student_gate")):
            if self.how[gate] and value < self.threshold(side, key) * (1 - SLACK):
                return 0.0
        alpha: float = self.how["alpha"]
        weights: dict[str, float] = {
            "product": c * u,
            "sum": c + u,
            "mix": alpha * c + (1 - alpha) * u,
            "none": 1.0,
        }
        return weights[self.how["combine"]]
