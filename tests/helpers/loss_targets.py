"""Small float64 batches for tests of losses: texts, [B, C], or words, [B, L, C]."""

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
    """Targets from class indices, [B] or [B, L]; -1 marks a token without a target (weight 0)."""
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
class LossBatch:
    """A batch with its logits."""

    logits: torch.Tensor
    targets: Targets

    def units(self) -> list[tuple[tuple[int, ...], list[float], int, list[float], float]]:
        """Index, logits, hard target, teacher distribution and off-label mass of each unit."""
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
def loss_batches(draw: st.DrawFn) -> LossBatch:
    """Batches of both shapes, with tokens without a target and teachers with zero probabilities."""
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
    return LossBatch(logits, targets(hard.tolist(), classes, teacher=teacher.tolist(), off=off))


def softmax(logits: Sequence[float]) -> list[float]:
    """A reference implementation."""
    powers = [math.exp(value - max(logits)) for value in logits]
    return [value / sum(powers) for value in powers]


EXTREME = LossBatch(
    torch.tensor(
        [
            [[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [0.0, 0.0, 0.0]],
            [[-1e4, -1e4, -1e4], [1e4, 1e4, 1e4], [1e4, 0.0, -1e4]],
        ],
        dtype=torch.float64,
    ),
    targets([[0, 0, -1], [1, 2, 2]], 3, off=[1.0, 0.0]),
)
"""Certain and wrong, certain and right, even, and tokens without a target."""
