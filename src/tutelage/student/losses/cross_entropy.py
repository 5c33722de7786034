"""Cross-entropy against the hard target: the baseline, and the base class of most other losses."""

from __future__ import annotations

import torch

from tutelage.errors import ConfigError
from tutelage.student.losses.protocol import Targets, UnitLoss


class CrossEntropyLoss(UnitLoss):
    """-sum_k t_k log p_k, where t is the hard target and p the student's distribution.

    Args:
        label_smoothing: Share of each target to spread evenly over the classes, in [0, 1) (Szegedy
            et al. 2016, Rethinking the Inception Architecture, section 7). 0 learns the targets
            unchanged.

    Raises:
        ConfigError: ``label_smoothing`` is outside [0, 1).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ConfigError(
                f"loss.label_smoothing={label_smoothing} must be in [0, 1); 0 learns the targets "
                "unchanged."
            )
        self._smoothing = label_smoothing

    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Loss per unit, at least 0.

        Args:
            logits: Student logits, [B, C], or [B, L, C] for NER.
            targets: Targets of the batch.

        Returns:
            Tensor of shape [B], or [B, L] for NER.
        """
        smoothed = targets.hard * (1 - self._smoothing) + self._smoothing / targets.hard.shape[-1]
        return -(smoothed * logits.log_softmax(dim=-1)).sum(dim=-1)
