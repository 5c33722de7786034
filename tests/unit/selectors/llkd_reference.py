"""LLKD's formulas one number at a time, and batches and epochs for it from a few numbers."""

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
    """Rows of a batch: confidences, classes, the student's distributions, and which are gold."""

    confidence: list[float]
    keys: list[int]
    student: list[list[float]]
    gold: tuple[int, ...] = ()

    @property
    def said(self) -> list[int]:
        """The first class of the largest probability."""
        return [row.index(max(row)) for row in self.student]


def step(confidence: list[float], keys: list[int], student: list[list[float]], gold: tuple[int, ...] = (), **changes: Any) -> Step:
    return Step(
        ids=tuple(map(str, range(len(keys)))),
        keys=np.array(keys),
        said=np.array(changes.get("said", [0] * len(keys))),
        confidence=np.array(confidence),
        least_confidence=np.array(changes.get("least", confidence)),
        gold=np.array([place in gold for place in range(len(keys))]),
        probabilities=np.array(student),
        owners=np.array(changes.get("owners", range(len(keys)))),
        classes=changes.get("classes", CLASSES),
    )


def epoch(confidence: list[float], keys: list[int], gold: tuple[int, ...] = ()) -> EpochView:
    one = step(confidence, keys, [[1.0] * OUTPUTS] * len(keys), gold)
    nothing = np.full(len(keys), np.nan)
    return EpochView(
        one.ids, one.ids, one.keys, one.confidence, one.least_confidence, one.gold,
        np.full((len(keys), OUTPUTS), np.nan), nothing, None, None, CLASSES,
    )  # fmt: skip


class Reference:
    """The formulas of the docstring, one number at a time."""

    def __init__(self, m: float, how: dict[str, Any]) -> None:
        self.m, self.how = m, how
        self.g: list[float | None] = [None, None]
        self.a: list[dict[int, float]] = [{}, {}]

    def start(self, side: int, values: list[float], keys: list[int]) -> None:
        if self.g[side] is None and values:
            self.g[side] = sum(values) / len(values)
            for key in set(keys):
                own = [value for value, one in zip(values, keys, strict=True) if one == key]
                self.a[side][key] = sum(own) / len(own)

    def begin(self, batches: list[Batch]) -> None:
        if self.how["start"] == "uniform":
            for side in (0, 1):
                self.start(side, [1 / OUTPUTS] * CLASSES, list(range(CLASSES)))
            return
        rows = [
            (c, key)
            for one in batches
            for place, (c, key) in enumerate(zip(one.confidence, one.keys, strict=True))
            if place not in one.gold
        ]
        self.start(0, [c for c, _ in rows if math.isfinite(c)], [key for c, key in rows if math.isfinite(c)])
        if self.how["class_by"] == "student":
            self.a[0].clear()

    def threshold(self, side: int, key: int) -> float:
        g = self.g[side]
        assert g is not None
        if not self.how["per_class"]:
            return g
        highest = max(self.a[side].values())
        return g * (self.a[side][key] / highest if highest > 0 else 1.0)

    def unsure(self, row: list[float]) -> float:
        if not all(map(math.isfinite, row)):
            return NAN
        *_, second, first = sorted(row)
        return {
            "entropy": -sum(p * math.log(p) for p in row if p > 0) / math.log(len(row)),
            "least_confidence": 1 - first,
            "margin": 1 - (first - second),
        }[self.how["uncertainty"]]

    def weigh(self, batch: Batch) -> list[float]:
        whose = batch.said if self.how["class_by"] == "student" else batch.keys
        rows = list(zip(batch.confidence, map(self.unsure, batch.student), whose, strict=True))
        known = [(c, u, key) for place, (c, u, key) in enumerate(rows) if place not in batch.gold and math.isfinite(c + u)]
        keys = [key for _, _, key in known]
        for side in (0, 1) if known else ():
            values = [row[side] for row in known]
            self.start(side, values, keys)
            g = self.g[side]
            assert g is not None
            self.g[side] = self.m * g + (1 - self.m) * sum(values) / len(values)
            for key in set(keys):
                own = [value for value, one in zip(values, keys, strict=True) if one == key]
                mean = sum(own) / len(own)
                self.a[side][key] = self.m * self.a[side][key] + (1 - self.m) * mean if key in self.a[side] else mean
        return [1.0 if place in batch.gold else self.weight(*row) for place, row in enumerate(rows)]

    def weight(self, c: float, u: float, key: int) -> float:
        if not math.isfinite(c + u):
            return 0.0
        for side, value, gate in ((0, c, "teacher_gate"), (1, u, "student_gate")):
            if self.how[gate] and value < self.threshold(side, key) * (1 - SLACK):
                return 0.0
        alpha: float = self.how["alpha"]
        weights: dict[str, float] = {"product": c * u, "sum": c + u, "mix": alpha * c + (1 - alpha) * u, "none": 1.0}
        return weights[self.how["combine"]]
