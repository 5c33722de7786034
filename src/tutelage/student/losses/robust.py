"""Losses that tolerate label noise, from the hard targets alone.

- :class:`GeneralisedCrossEntropyLoss` lies between cross-entropy, which learns fast, and the mean
  absolute error, which noise hardly moves.
- :class:`SymmetricCrossEntropyLoss` adds cross-entropy with target and prediction exchanged.
- :class:`TruncatedLoss` leaves out the units of a batch with the largest loss: noise is learnt
  late, so early in training it dominates the large losses.
"""

from __future__ import annotations

import math

import torch

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.protocol import Targets, UnitLoss


class GeneralisedCrossEntropyLoss(UnitLoss):
    """(1 - p^q) / q, where p is the student's probability of the hard target.

    Source: Zhang & Sabuncu 2018, Generalized Cross Entropy Loss for Training Deep Neural Networks
    with Noisy Labels, equation 6. Its gradient is the gradient of cross-entropy times p^q, so a
    target the student finds unlikely pulls less.

    Args:
        q: Exponent in [0, 1]. 0 is cross-entropy (the limit), 1 the mean absolute error (halved);
            the paper uses 0.7.

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
        """Loss per unit, in [0, 1 / q].

        Args:
            logits: Student logits, [B, C], or [B, L, C] for NER.
            targets: Targets of the batch.

        Returns:
            Tensor of shape [B], or [B, L] for NER.
        """
        log_p = (targets.hard * logits.log_softmax(dim=-1)).sum(dim=-1)
        # Through log p the gradient stays finite when p underflows; expm1 keeps small q exact.
        return -torch.expm1(self._q * log_p) / self._q if self._q else -log_p


class SymmetricCrossEntropyLoss(CrossEntropyLoss):
    """alpha * CE + beta * RCE, where RCE = -sum_k p_k log t_k is the reverse cross-entropy.

    t is the hard target, p the student's distribution, and log 0 is replaced by ``floor``. Source:
    Wang et al. 2019, Symmetric Cross Entropy for Robust Learning with Noisy Labels, equations 5 to
    7 (``floor`` is its A). For a one-hot target RCE is -floor * (1 - p_target), which is bounded,
    so no wrong label pulls without limit.

    Args:
        alpha: Weight of CE, which learns the hard classes but also the noise; at least 0. The paper
            uses 0.1 for CIFAR-10 and 6 for CIFAR-100.
        beta: Weight of RCE; at least 0. The paper uses 1 for CIFAR-10 and 0.1 for CIFAR-100.
        floor: Replacement for the logarithm of 0; below 0. The paper uses -4.

    Raises:
        ConfigError: A weight is negative, both are 0, or ``floor`` is not below 0.
    """

    def __init__(self, alpha: float = 0.1, beta: float = 1.0, floor: float = -4.0) -> None:
        super().__init__()
        if min(alpha, beta) < 0 or alpha + beta == 0:
            raise ConfigError(
                f"loss.alpha={alpha} and loss.beta={beta} must be at least 0, and at least one of "
                "them above 0."
            )
        if not float("-inf") < floor < 0:
            raise ConfigError(
                f"loss.floor={floor} replaces the logarithm of 0 and must be below 0, for example "
                "-4."
            )
        self._alpha, self._beta, self._floor = alpha, beta, floor

    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Loss per unit, at least 0.

        Args:
            logits: Student logits, [B, C], or [B, L, C] for NER.
            targets: Targets of the batch.

        Returns:
            Tensor of shape [B], or [B, L] for NER.
        """
        # log t is 0 for the target class and the floor everywhere else.
        reverse = -(logits.softmax(dim=-1) * targets.hard.log().clamp(min=self._floor)).sum(dim=-1)
        return self._alpha * super().forward(logits, targets) + self._beta * reverse


class TruncatedLoss(CrossEntropyLoss):
    """Cross-entropy without the units of largest loss in each batch.

    Source: Han et al. 2018, Co-teaching: Robust Training of Deep Neural Networks with Extremely
    Noisy Labels, algorithm 1. The share left out is forget * min(progress / warmup, 1), where
    ``progress`` is the completed share of the stage. The paper trains two networks, each choosing
    for the other; here a single student chooses for itself, so its own early mistakes can confirm
    themselves.

    For NER, single words are left out rather than sentences: the share counts all words of the
    batch. The number left out is rounded down, so a batch of fewer than 1 / forget units loses
    none, and at least one unit always stays.

    Args:
        forget: Share of each batch to leave out after the warm-up, in [0, 1); about the share of
            wrong targets.
        warmup: Share of a stage over which the left-out share grows from 0, in [0, 1]; 0 leaves out
            ``forget`` at once.

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
        """0 for the units of largest loss, 1 for all others.

        Units of weight 0 are neither counted nor left out.

        Args:
            losses: Detached losses of the batch.
            targets: Targets of the batch.

        Returns:
            Tensor of the shape of ``losses``.
        """
        live = targets.weights > 0
        # The slack is for shares like 0.29 of 100 units, just below 29 in floating point.
        dropped = math.floor(self.share(targets.progress) * int(live.sum()) + 1e-9)
        # Largest loss first; units without weight sort to the end.
        ranked = (
            losses.masked_fill(~live, -torch.inf).flatten().argsort(descending=True, stable=True)
        )
        factors = torch.ones_like(ranked, dtype=losses.dtype)
        factors[ranked[:dropped]] = 0
        return factors.view(losses.shape)

    def share(self, progress: float) -> float:
        """Share of a batch to leave out, in [0, 1).

        Args:
            progress: Completed share of the stage, in [0, 1).
        """
        return self._forget * (min(progress / self._warmup, 1.0) if self._warmup else 1.0)
