"""Holding the student to what it believed early, before it learnt the noise by heart."""

from __future__ import annotations

from typing import Any

import torch

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.protocol import Targets

_MOST = 1 - 1e-4
"""Ceiling of the agreement <p, t>, whose log(1 - <p, t>) would fall without end."""


class EarlyLearningLoss(CrossEntropyLoss):
    """CE + strength * log(1 - <p, t>): p is the student's distribution, t a moving average of it, one for each unit of each row.

    Source: Liu et al. 2020, Early-Learning Regularization Prevents Memorization of Noisy Labels, equations 6 and 9 (ELR without its
    second network and mixup). t starts at 0 and becomes momentum * t + (1 - momentum) * p each time the row is seen in training mode,
    before its loss is taken; it has no gradient. A row that comes twice in a batch is averaged twice.

    The averages are kept by row id on the CPU (4 bytes for each unit and class) and travel in ``state_dict`` as plain values. For words
    they follow the units of weight above 0 in order; a row whose number of units changed starts again from 0.

    Args:
        strength: the paper's lambda, 3 for CIFAR-10 (7 for CIFAR-100).
        momentum: the paper's beta, 0.7 for CIFAR-10 (0.9 for CIFAR-100); a row is seen once an epoch, so few epochs want a small one.

    Raises:
        ConfigError: ``strength`` is negative, or ``momentum`` outside [0, 1).
    """

    def __init__(self, strength: float = 3.0, momentum: float = 0.7) -> None:
        super().__init__()
        if strength < 0:
            raise ConfigError(f"loss.strength={strength} must be at least 0; 0 is cross-entropy.")
        if not 0.0 <= momentum < 1.0:
            raise ConfigError(
                f"loss.momentum={momentum} must be in [0, 1): the share of the old average that stays."
            )
        self._strength, self._momentum = strength, momentum
        self._averages: dict[str, torch.Tensor] = {}

    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """One loss a unit, [B] from logits [B, C], or [B, L] from [B, L, C]; negative where the student agrees with its average."""
        probabilities = logits.softmax(dim=-1)
        decided = targets.weights > 0
        early = torch.zeros_like(probabilities)
        early[decided] = self._follow(
            probabilities.detach()[decided],
            decided.view(len(decided), -1).sum(dim=1).tolist(),
            targets.ids,
        )
        agreement = (probabilities * early).sum(dim=-1).clamp(max=_MOST)
        return super().forward(logits, targets) + self._strength * torch.log1p(-agreement)

    def _follow(self, seen: torch.Tensor, units: list[int], ids: tuple[str, ...]) -> torch.Tensor:
        """The averages of the batch's decided units, [N, C], after taking ``seen`` [N, C] in; ``units`` says how many each row has."""
        averages = []
        for id, now in zip(ids, torch.split(seen.float().cpu(), units), strict=True):
            average = self._averages.get(id)
            if average is None or average.shape != now.shape:
                average = torch.zeros_like(now)
            if self.training and len(now):
                average = self._momentum * average + (1 - self._momentum) * now
                self._averages[id] = average
            averages.append(average)
        return torch.cat(averages).to(seen)

    def get_extra_state(self) -> dict[str, Any]:
        """The averages for a checkpoint: row ids, units of each, and all values in one tensor, since many small ones are slow to save."""
        parts = list(self._averages.values())
        return {
            "ids": list(self._averages),
            "units": [len(part) for part in parts],
            "values": torch.cat(parts) if parts else torch.zeros(0, 0),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take up what :meth:`get_extra_state` gave."""
        self._averages = dict(
            zip(state["ids"], torch.split(state["values"].cpu(), state["units"]), strict=True)
        )
