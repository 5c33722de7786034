"""Generalised cross-entropy: between cross-entropy, which learns fast, and the mean absolute error, which noise hardly moves."""

from __future__ import annotations

import torch

from tutelage.errors import ConfigError
from tutelage.student.losses.protocol import Targets, UnitLoss


class GeneralisedCrossEntropyLoss(UnitLoss):
    """(1 - p^q) / q, where p is the student's probability of the hard target.

    Source: Zhang & Sabuncu 2018, Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels, equation 6. Its
    gradient is cross-entropy's times p^q, so that a target which the student finds unlikely pulls less.

    Args:
        q: 0 is cross-entropy (the limit), 1 the mean absolute error (halved); the paper takes 0.7.

    Raises:
        ConfigError: ``q`` is outside [0, 1].
    """

    def __init__(self, q: float = 0.7) -> None:
        super().__init__()
        if not 0.0 <= q <= 1.0:
            raise ConfigError(f"loss.q={q} must be in [0, 1]; 0 is cross-entropy, 1 the mean absolute error.")
        self._q = q

    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """One loss a unit, [B] from logits [B, C], or [B, L] from [B, L, C]; in [0, 1 / q]."""
        log_p = (targets.hard * logits.log_softmax(dim=-1)).sum(dim=-1)
        # From log p, whose power has a finite gradient where p is 0 in floating point; expm1 keeps small q exact.
        return -torch.expm1(self._q * log_p) / self._q if self._q else -log_p
