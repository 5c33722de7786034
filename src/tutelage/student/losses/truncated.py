"""Leaving out the units of a batch that the student disagrees with most: noise is learnt late, so early on it is what has a large loss."""

from __future__ import annotations

import math

import torch

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.protocol import Targets


class TruncatedLoss(CrossEntropyLoss):
    """Cross-entropy on the batch's units of small loss.

    Source: Han et al. 2018, Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels, algorithm 1: the share
    left out is forget * min(progress / warmup, 1), ``progress`` being that of the stage. The paper trains two networks, each of which
    chooses for the other; here the one student chooses for itself, so its own early mistakes can confirm themselves.

    Where words are decided about, words are left out, not sentences: the share is one of all the batch's words. The number left out is
    rounded down: a batch of fewer than 1 / forget units loses none, and one unit always stays.

    Args:
        forget: the share left out after the warm-up; about the share of wrong targets.
        warmup: share of a stage over which it grows from 0; 0 leaves out ``forget`` at once.

    Raises:
        ConfigError: ``forget`` is outside [0, 1), or ``warmup`` outside [0, 1].
    """

    def __init__(self, forget: float = 0.2, warmup: float = 0.3) -> None:
        super().__init__()
        if not 0.0 <= forget < 1.0:
            raise ConfigError(f"loss.forget={forget} must be in [0, 1): about the share of wrong targets.")
        if not 0.0 <= warmup <= 1.0:
            raise ConfigError(f"loss.warmup={warmup} must be in [0, 1]: a share of the stage.")
        self._forget, self._warmup = forget, warmup

    def keep(self, losses: torch.Tensor, targets: Targets) -> torch.Tensor:
        """1, or 0 for the units of largest loss, of the losses' shape; units of weight 0 are neither counted nor left out."""
        live = targets.weights > 0
        # The slack is for shares such as 0.29 of 100 units, which floating point puts just below 29.
        dropped = math.floor(self.share(targets.progress) * int(live.sum()) + 1e-9)
        ranked = losses.masked_fill(~live, -torch.inf).flatten().argsort(descending=True, stable=True)
        factors = torch.ones_like(ranked, dtype=losses.dtype)
        factors[ranked[:dropped]] = 0
        return factors.view(losses.shape)

    def share(self, progress: float) -> float:
        """The share of a batch that is left out at ``progress`` of the stage, in [0, 1)."""
        return self._forget * (min(progress / self._warmup, 1.0) if self._warmup else 1.0)
