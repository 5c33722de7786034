"""Early-learning regularisation: holds the student to its beliefs before it memorised noise."""

from __future__ import annotations

from typing import Any

import torch

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.protocol import Targets

_MOST = 1 - 1e-4
"""Upper bound of the agreement <p, t>; without it, log(1 - <p, t>) would fall without limit."""


class EarlyLearningLoss(CrossEntropyLoss):
    """CE + strength * log(1 - <p, t>), where t is a moving average of the student's distribution p.

    Source: Liu et al. 2020, Early-Learning Regularization Prevents Memorization of Noisy Labels,
    equations 6 and 9 (ELR without its second network and mixup). Every unit of every row has its
    own t, which starts at 0 and carries no gradient. Each time the row is seen in training mode, t
    becomes

        momentum * t + (1 - momentum) * p

    before the loss is computed. A row appearing twice in a batch is averaged twice.

    The averages are kept by row id on the CPU (4 bytes per unit and class) and saved in
    ``state_dict`` as plain values. For NER they follow the units of weight above 0 in order; a row
    with a changed number of units starts again from 0.

    Args:
        strength: Weight of the regulariser, at least 0: the paper's lambda, 3 for CIFAR-10 and 7
            for CIFAR-100. 0 is cross-entropy.
        momentum: Momentum of the averages, in [0, 1): the paper's beta, 0.7 for CIFAR-10 and 0.9
            for CIFAR-100. A row is seen once per epoch, so few epochs call for a small value.

    Raises:
        ConfigError: ``strength`` is negative, or ``momentum`` is outside [0, 1).
    """

    def __init__(self, strength: float = 3.0, momentum: float = 0.7) -> None:
        super().__init__()
        if strength < 0:
            raise ConfigError(f"loss.strength={strength} must be at least 0; 0 is cross-entropy.")
        if not 0.0 <= momentum < 1.0:
            raise ConfigError(
                f"loss.momentum={momentum} must be in [0, 1): the share of the old average to keep."
            )
        self._strength, self._momentum = strength, momentum
        self._averages: dict[str, torch.Tensor] = {}

    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Loss per unit; negative for a unit on which the student agrees with its average.

        Args:
            logits: Student logits, [B, C], or [B, L, C] for NER.
            targets: Targets of the batch.

        Returns:
            Tensor of shape [B], or [B, L] for NER.
        """
        probabilities = logits.softmax(dim=-1)
        # Averages exist for decided units only; all other tokens get 0, which adds nothing.
        decided = targets.weights > 0
        early = torch.zeros_like(probabilities)
        early[decided] = self._update_averages(
            probabilities.detach()[decided],
            decided.view(len(decided), -1).sum(dim=1).tolist(),
            targets.ids,
        )
        # The gradient pushes p towards its early average t.
        agreement = (probabilities * early).sum(dim=-1).clamp(max=_MOST)
        return super().forward(logits, targets) + self._strength * torch.log1p(-agreement)

    def _update_averages(
        self, seen: torch.Tensor, units: list[int], ids: tuple[str, ...]
    ) -> torch.Tensor:
        """Updates and returns the averages of the batch's decided units.

        Args:
            seen: Student distributions of the decided units, [N, C].
            units: Number of decided units per row, [B].
            ids: Row ids, [B].

        Returns:
            Averages of shape [N, C].
        """
        averages = []
        for id, now in zip(ids, torch.split(seen.float().cpu(), units), strict=True):
            average = self._averages.get(id)
            # A new row, or one whose number of units changed.
            if average is None or average.shape != now.shape:
                average = torch.zeros_like(now)
            # Validation must not move the averages.
            if self.training and len(now):
                average = self._momentum * average + (1 - self._momentum) * now
                self._averages[id] = average
            averages.append(average)
        return torch.cat(averages).to(seen)

    def get_extra_state(self) -> dict[str, Any]:
        """The averages for a checkpoint: row ids, units per row, and all values in one tensor.

        Many small tensors would be slow to save.
        """
        parts = list(self._averages.values())
        return {
            "ids": list(self._averages),
            "units": [len(part) for part in parts],
            "values": torch.cat(parts) if parts else torch.zeros(0, 0),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restores the averages returned by :meth:`get_extra_state`."""
        self._averages = dict(
            zip(state["ids"], torch.split(state["values"].cpu(), state["units"]), strict=True)
        )
