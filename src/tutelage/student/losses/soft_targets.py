"""Learning the teacher's whole distribution, alone or mixed with the hard target."""

from __future__ import annotations

import torch

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.protocol import Targets
from tutelage.student.losses.teacher_targets import OffLabel, TeacherTargets


class SoftTargetLoss(CrossEntropyLoss):
    """share * KL(t || p) + (1 - share) * CE(hard, p), p being the student's distribution (Hinton et al. 2015, section 2).

    t is what :class:`~tutelage.student.losses.teacher_targets.TeacherTargets` makes of the teacher's distribution. KL holds the
    teacher's entropy: sum_k t_k (log t_k - log p_k), 0 where the student agrees. That constant moves the value and no gradient: they
    are those of cross-entropy against share * t + (1 - share) * hard.

    Args:
        share: of the teacher's distribution, in [0, 1]; 0 is cross-entropy.
        temperature: of the teacher's distribution.
        off_label: where the teacher's off-label mass goes: "ignore", "uniform" or "hard".

    Raises:
        ConfigError: ``share`` is outside [0, 1], or as for ``TeacherTargets``.
    """

    def __init__(
        self, share: float = 1.0, temperature: float = 1.0, off_label: OffLabel = "ignore"
    ) -> None:
        super().__init__()
        if not 0.0 <= share <= 1.0:
            raise ConfigError(
                f"loss.share={share} must be in [0, 1]; 1 learns from the teacher's distribution alone, 0 from the labels."
            )
        self._share = share
        self._teacher = TeacherTargets(temperature, off_label)

    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """One loss a unit, [B] from logits [B, C], or [B, L] from [B, L, C]; at least 0."""
        taught = self._teacher(targets)
        divergence = (torch.xlogy(taught, taught) - taught * logits.log_softmax(dim=-1)).sum(dim=-1)
        return self._share * divergence + (1 - self._share) * super().forward(logits, targets)
