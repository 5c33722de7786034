"""Losses over [B, C] logits, soft or one-hot [B, C] targets and [B] row weights; for words all three have a token axis before C."""

from __future__ import annotations

import torch

from tutelage.errors import ConfigError


class CrossEntropyLoss(torch.nn.Module):
    """Weighted cross-entropy against a distribution: -sum_k t_k log p_k, averaged by weight.

    Args:
        label_smoothing: share of each target spread evenly over the classes.

    Raises:
        ConfigError: ``label_smoothing`` is outside [0, 1).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ConfigError(f"loss.label_smoothing={label_smoothing} must be in [0, 1).")
        self._smoothing = label_smoothing

    def forward(self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """The mean loss, a scalar; 0 with a gradient of 0 where all weights are 0."""
        smoothed = targets * (1 - self._smoothing) + self._smoothing / targets.shape[-1]
        rows = -(smoothed * logits.log_softmax(dim=-1)).sum(dim=-1)
        return (rows * weights).sum() / weights.sum().clamp(min=1e-8)
