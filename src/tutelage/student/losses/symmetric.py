"""Symmetric cross-entropy: cross-entropy, and the same with target and prediction exchanged."""

from __future__ import annotations

import torch

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.protocol import Targets


class SymmetricCrossEntropyLoss(CrossEntropyLoss):
    """alpha * CE + beta * RCE with RCE = -sum_k p_k log t_k, t the hard target, p the student's distribution, and log 0 := floor.

    Source: Wang et al. 2019, Symmetric Cross Entropy for Robust Learning with Noisy Labels, equations 5 to 7 (floor is its A). For a
    one-hot target RCE is -floor * (1 - p_target), which is bounded, so that no wrong label pulls without limit.

    Args:
        alpha: weight of CE: it learns the hard classes, and the noise. The paper takes 0.1 for CIFAR-10, 6 for CIFAR-100.
        beta: weight of RCE. The paper takes 1 for CIFAR-10, 0.1 for CIFAR-100.
        floor: of the target's logarithm, below 0; the paper takes -4.

    Raises:
        ConfigError: a weight is negative, both are 0, or ``floor`` is not below 0.
    """

    def __init__(self, alpha: float = 0.1, beta: float = 1.0, floor: float = -4.0) -> None:
        super().__init__()
        if min(alpha, beta) < 0 or alpha + beta == 0:
            raise ConfigError(f"loss.alpha={alpha} and loss.beta={beta} must be at least 0, and one of them above.")
        if not float("-inf") < floor < 0:
            raise ConfigError(f"loss.floor={floor} stands for the logarithm of 0 and must be below 0, for instance -4.")
        self._alpha, self._beta, self._floor = alpha, beta, floor

    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """One loss a unit, [B] from logits [B, C], or [B, L] from [B, L, C]; at least 0."""
        reverse = -(logits.softmax(dim=-1) * targets.hard.log().clamp(min=self._floor)).sum(dim=-1)
        return self._alpha * super().forward(logits, targets) + self._beta * reverse
