"""Small batches for the losses: of texts, [B, C], or of words, [B, L, C], in float64, so that references can be compared closely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st

from tutelage.student.losses.protocol import Targets


def targets(
    hard: Any,
    classes: int,
    *,
    teacher: Any = None,
    off: Sequence[float] = (),
    weights: Any = None,
    ids: Any = None,
    progress: float = 0.0,
) -> Targets:
    """Targets from the places of the hard ones, [B] or [B, L]; -1 is a token without a target, whose weight is 0."""
    indices = torch.tensor(hard)
    one_hot = torch.nn.functional.one_hot(indices.clamp(min=0), classes).double() * (
        indices >= 0
    ).unsqueeze(-1)
    return Targets(
        hard=one_hot,
        teacher=one_hot if teacher is None else torch.tensor(teacher, dtype=torch.float64),
        off_label=torch.tensor(off or [0.0] * len(indices), dtype=torch.float64),
        weights=(indices >= 0).double()
        if weights is None
        else torch.tensor(weights, dtype=torch.float64),
        ids=tuple(ids or (f"row-{number}" for number in range(len(indices)))),
        progress=progress,
    )


@dataclass(frozen=True, slots=True)
class Lesson:
    """A batch with its logits; ``units`` walks over what is decided about."""

    logits: torch.Tensor
    targets: Targets

    def units(self) -> list[tuple[tuple[int, ...], list[float], int, list[float], float]]:
        """For each decided unit its place, logits, hard target, teacher's distribution and its row's off-label mass."""
        return [
            (
                index := tuple(where),
                self.logits[index].tolist(),
                int(self.targets.hard[index].argmax()),
                self.targets.teacher[index].tolist(),
                float(self.targets.off_label[index[0]]),
            )
            for where in self.targets.weights.nonzero().tolist()
        ]


@st.composite
def lessons(draw: st.DrawFn) -> Lesson:
    """Batches of both shapes, with tokens that are no word's first and teachers that give some classes nothing."""
    rows, length, classes = (
        draw(st.integers(1, 4)),
        draw(st.integers(0, 3)),
        draw(st.integers(2, 4)),
    )
    rng = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    shape = (rows, length) if length else (rows,)
    hard = torch.randint(-1 if length else 0, classes, shape, generator=rng)
    teacher = torch.rand(*shape, classes, generator=rng, dtype=torch.float64) + 0.01
    teacher = teacher * (
        torch.rand(*shape, classes, generator=rng) < 0.7
    ) + 1e-3 * torch.nn.functional.one_hot(hard.clamp(min=0), classes)
    teacher = teacher / teacher.sum(-1, keepdim=True) * (hard >= 0).unsqueeze(-1)
    off = torch.rand(rows, generator=rng, dtype=torch.float64).tolist()
    logits = draw(st.floats(0.1, 6)) * torch.randn(
        *shape, classes, generator=rng, dtype=torch.float64
    )
    return Lesson(logits, targets(hard.tolist(), classes, teacher=teacher.tolist(), off=off))


def softmax(logits: Sequence[float]) -> list[float]:
    """The slow and obvious one."""
    powers = [math.exp(value - max(logits)) for value in logits]
    return [value / sum(powers) for value in powers]


EXTREME = Lesson(
    torch.tensor(
        [
            [[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [0.0, 0.0, 0.0]],
            [[-1e4, -1e4, -1e4], [1e4, 1e4, 1e4], [1e4, 0.0, -1e4]],
        ],
        dtype=torch.float64,
    ),
    targets([[0, 0, -1], [1, 2, 2]], 3, off=[1.0, 0.0]),
)
"""Certain and wrong, certain and right, and tokens without a target, all of them zeros."""
