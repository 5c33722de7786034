"""FOLD: student.losses.robust."""

from __future__ import annotations

import math

import torch

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.protocol import Targets, UnitLoss


# FOLD: Generalised cross-entropy: between cross-entropy, which learns fast, and the mean absolute error, which noise hardly moves.
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
            raise ConfigError(
                f"loss.q={q} must be in [0, 1]; 0 is cross-entropy, 1 the mean absolute error."
            )
        self._q = q

    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """One loss a unit, [B] from logits [B, C], or [B, L] from [B, L, C]; in [0, 1 / q]."""
        log_p = (targets.hard * logits.log_softmax(dim=-1)).sum(dim=-1)
        # From log p, whose power has a finite gradient where p is 0 in floating point; expm1 keeps small q exact.
        return -torch.expm1(self._q * log_p) / self._q if self._q else -log_p


# FOLD: Symmetric cross-entropy: cross-entropy, and the same with target and prediction exchanged.
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
            raise ConfigError(
                f"loss.alpha={alpha} and loss.beta={beta} must be at least 0, and one of them above."
            )
        if not float("-inf") < floor < 0:
            raise ConfigError(
                f"loss.floor={floor} stands for the logarithm of 0 and must be below 0, for instance -4."
            )
        self._alpha, self._beta, self._floor = alpha, beta, floor

    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """One loss a unit, [B] from logits [B, C], or [B, L] from [B, L, C]; at least 0."""
        reverse = -(logits.softmax(dim=-1) * targets.hard.log().clamp(min=self._floor)).sum(dim=-1)
        return self._alpha * super().forward(logits, targets) + self._beta * reverse


# FOLD: Leaving out the units of a batch that the student disagrees with most: noise is learnt late, so early on it is what has a large loss.
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
            raise ConfigError(
                f"loss.forget={forget} must be in [0, 1): about the share of wrong targets."
            )
        if not 0.0 <= warmup <= 1.0:
            raise ConfigError(f"loss.warmup={warmup} must be in [0, 1]: a share of the stage.")
        self._forget, self._warmup = forget, warmup

    def keep(self, losses: torch.Tensor, targets: Targets) -> torch.Tensor:
        """1, or 0 for the units of largest loss, of the losses' shape; units of weight 0 are neither counted nor left out."""
        live = targets.weights > 0
        # The slack is for shares such as 0.29 of 100 units, which floating point puts just below 29.
        dropped = math.floor(self.share(targets.progress) * int(live.sum()) + 1e-9)
        ranked = (
            losses.masked_fill(~live, -torch.inf).flatten().argsort(descending=True, stable=True)
        )
        factors = torch.ones_like(ranked, dtype=losses.dtype)
        factors[ranked[:dropped]] = 0
        return factors.view(losses.shape)

    def share(self, progress: float) -> float:
        """The share of a batch that is left out at ``progress`` of the stage, in [0, 1)."""
        return self._forget * (min(progress / self._warmup, 1.0) if self._warmup else 1.0)
