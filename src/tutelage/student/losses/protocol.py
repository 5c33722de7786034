"""What the student asks of a loss: a value for each decided unit (a text, or a word), and what may leave one out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Targets:
    """What a batch of B rows is to learn; for words every tensor but ``off_label`` has a token axis, [B, L] or [B, L, C].

    Attributes:
        hard: the row's target over the classes, [B, C]; one-hot.
        teacher: the teacher's distribution as it came, [B, C]; the hard target for rows that it has no opinion of (gold).
        off_label: share of the teacher's probability that fell on no label, [B]; 0 for gold.
        weights: of the units, [B]; 0 at tokens that are no word's first.
        ids: of the rows.
        progress: share of the stage that is done, in [0, 1).
    """

    hard: torch.Tensor
    teacher: torch.Tensor
    off_label: torch.Tensor
    weights: torch.Tensor
    ids: tuple[str, ...]
    progress: float


class UnitLoss(torch.nn.Module):
    """A loss for each unit. Subclasses write :meth:`forward`; the rest has defaults."""

    needs_guide: bool = False
    """True where :meth:`reweigh` has to be called with a batch of trusted rows (the shots) before each step."""

    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """The losses of the units, of the shape of ``targets.weights``, not weighted; ``logits`` has the shape of ``targets.hard``."""
        raise NotImplementedError

    def keep(self, losses: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Factors on the units' weights, of the losses' shape, from the (detached) losses of this batch; ones unless overridden."""
        return torch.ones_like(losses)

    def reweigh(
        self,
        network: torch.nn.Module,
        batch: Mapping[str, Any],
        targets: Targets,
        guide_batch: Mapping[str, Any],
        guide_targets: Targets,
    ) -> torch.Tensor:
        """Factors on the rows' weights, [B]; called only where ``needs_guide``. Batches are as :class:`tutelage.data.items.Batch`.

        Args:
            targets: the batch's, ``weights`` being those of its units after the selector's choice: 0 in rows that it left out.
            guide_targets: those of the trusted rows.
        """
        raise NotImplementedError
