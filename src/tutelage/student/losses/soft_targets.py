"""Learning the teacher's whole distribution, alone or mixed with the hard target."""

from __future__ import annotations

import torch

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.protocol import Targets
from tutelage.student.losses.teacher_targets import OffLabel, TeacherTargets


class SoftTargetLoss(CrossEntropyLoss):
    """share * KL(t || p) + (1 - share) * CE(hard, p), where p is the student's distribution.

    Hinton et al. 2015, section 2. t is the teacher's distribution after
    :class:`~tutelage.student.losses.teacher_targets.TeacherTargets`. KL includes the teacher's
    entropy, sum_k t_k (log t_k - log p_k), and is 0 if the student agrees. This constant shifts the
    value but no gradient: the gradients are those of cross-entropy against share * t + (1 - share)
    * hard.

    Args:
        share: Weight of the teacher's distribution, in [0, 1]; 0 is cross-entropy.
        temperature: Temperature of the teacher's distribution, above 0: above 1 softens, below 1
            sharpens.
        off_label: Use of the teacher's probability on no label: "ignore" drops it, "uniform"
            spreads it over the labels, "hard" adds it to the row's target.

    Raises:
        ConfigError: ``share`` is outside [0, 1], ``temperature`` is not above 0, or ``off_label``
            is unknown.
    """

    def __init__(
        self, share: float = 1.0, temperature: float = 1.0, off_label: OffLabel = "ignore"
    ) -> None:
        super().__init__()
        if not 0.0 <= share <= 1.0:
            raise ConfigError(
                f"loss.share={share} must be in [0, 1]; 1 learns from the teacher's distribution "
                "alone, 0 from the labels."
            )
        self._share = share
        self._teacher = TeacherTargets(temperature, off_label)

    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Loss per unit, at least 0.

        Args:
            logits: Student logits, [B, C], or [B, L, C] for NER.
            targets: Targets of the batch.

        Returns:
            Tensor of shape [B], or [B, L] for NER.
        """
        taught = self._teacher(targets)
        # xlogy is 0 at t = 0, where t log t has no value.
        divergence = (torch.xlogy(taught, taught) - taught * logits.log_softmax(dim=-1)).sum(dim=-1)
        return self._share * divergence + (1 - self._share) * super().forward(logits, targets)
