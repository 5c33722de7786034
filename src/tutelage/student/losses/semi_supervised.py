"""Rows with a clean label teach it; rows that the selector leaves out teach without one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.protocol import Targets
from tutelage.student.observing import head_inputs, last_layer


class SemiSupervisedLoss(CrossEntropyLoss):
    """CE + w * (mixup * MIX + consistency * (CE2 + KL)), where w grows from 0 to 1 in each stage.

    Every text is read a second time, under other dropout and with a share of its tokens hidden from
    the others. With p and q the distributions of a unit in the first and in the second view::

        CE2 = -log q_t                     mean over the kept units; t is the target
        KL  = (KL(p* || q) + KL(q* || p)) / 2     mean over the units left out; * stops the gradient
        MIX = -l log m_t - (1 - l) log m_t'       mean over the kept units

    m is the head's distribution for l h + (1 - l) h', where h is the last layer's input for a unit
    in the second view, and h' that of another kept unit of the batch, with the target t'. l is
    drawn once per step from Beta(``alpha``, ``alpha``), and is at least 0.5. The train selector
    leaves units out, for example select=small_loss; a unit is kept if its weight is above 0, and
    counts in the means by that weight.

    Source: Xiao et al. 2023, FreeAL (arXiv 2311.15614), the training of its student; mixup is that
    of Zhang et al. 2018 (arXiv 1710.09412). The alpha of 4 and the weights of 1 are those of the
    published code. There the second view is a translation and back, the first view is mixed, w
    grows over 10 epochs, the KL is a sum and has a temperature of 0.85. Hiding tokens is the token
    cutoff of Shen et al. 2020 (arXiv 2009.13818). For NER a unit is a word, and the words of
    different sentences are mixed.

    It costs a further forward pass per step, with gradient, but none while w is 0.

    Args:
        mixup: Weight of MIX, at least 0.
        consistency: Weight of CE2 and KL, at least 0; 0 leaves rows without weight alone.
        hidden: Share of the tokens that the second view hides, in [0, 1), never the first one; 0
            leaves dropout alone.
        alpha: Parameter of the Beta distribution, above 0; large values mix evenly.
        warmup: Share of a stage over which w grows, in [0, 1].

    Raises:
        ConfigError: A value is outside its range.
    """

    def __init__(
        self,
        mixup: float = 1.0,
        consistency: float = 1.0,
        hidden: float = 0.1,
        alpha: float = 4.0,
        warmup: float = 0.3,
    ) -> None:
        super().__init__()
        if mixup < 0 or consistency < 0:
            raise ConfigError(
                f"loss.mixup={mixup} and loss.consistency={consistency} must be at least 0; with "
                "both 0 this is cross-entropy."
            )
        if not 0.0 <= hidden < 1.0:
            raise ConfigError(f"loss.hidden={hidden} must be in [0, 1): a share of the tokens.")
        if not alpha > 0:
            raise ConfigError(f"loss.alpha={alpha} must be above 0, for example 4.")
        if not 0.0 <= warmup <= 1.0:
            raise ConfigError(f"loss.warmup={warmup} must be in [0, 1]; 0 begins at full weight.")
        self._mixup, self._consistency = mixup, consistency
        self._hidden, self._alpha, self._warmup = hidden, alpha, warmup
        self.sees_left_out = consistency > 0

    def beside(
        self,
        network: torch.nn.Module,
        batch: Mapping[str, Any],
        logits: torch.Tensor,
        targets: Targets,
    ) -> torch.Tensor | None:
        """w * (mixup * MIX + consistency * (CE2 + KL)); None if all of it is 0.

        Args:
            network: The student's network, in training mode.
            batch: The batch, with the weights of its units before the selector's choice.
            logits: Logits of the first view, with gradient.
            targets: Targets of the batch, including the selector's weights.
        """
        growth = min(targets.progress / self._warmup, 1.0) if self._warmup else 1.0
        kept = targets.weights > 0
        left_out = (batch["weights"] > 0) & ~kept
        teaches = kept.any() or (self._consistency and left_out.any())
        if not growth or not teaches or not (self._mixup or self._consistency):
            return None
        second, states, head = self._second_view(network, batch)
        hard, weights = targets.hard[kept].to(states), targets.weights[kept].to(states)
        total = states.new_zeros(())
        if self._mixup and kept.any():
            mixed = self._mixed(head, states[kept], hard)
            total = total + self._mixup * _mean(mixed, weights)
        if self._consistency and kept.any():
            again = -(hard * second[kept].log_softmax(dim=-1)).sum(dim=-1)
            total = total + self._consistency * _mean(again, weights)
        if self._consistency and left_out.any():
            p = logits[left_out].to(states).log_softmax(dim=-1)
            q = second[left_out].log_softmax(dim=-1)
            apart = (_divergence(p, q) + _divergence(q, p)) / 2
            total = total + self._consistency * _mean(apart, batch["weights"][left_out].to(states))
        return growth * total

    def _second_view(
        self, network: torch.nn.Module, batch: Mapping[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.nn.Linear]:
        """Logits of the second view, the last layer's input, and that layer.

        Raises:
            ConfigError: The network has no linear head, or one with another input than a state per
                text (per token for NER).
        """
        mask = batch["attention_mask"]
        # Drawn on the CPU, so that a GPU hides the same tokens.
        hides = (torch.rand(mask.shape) < self._hidden).to(mask.device)
        hides[:, 0] = False
        head = last_layer(network)
        with head_inputs(head) as caught:
            logits = network(
                input_ids=batch["input_ids"], attention_mask=mask.masked_fill(hides, 0)
            ).logits
        if head is None or caught[-1].shape[:-1] != batch["weights"].shape:
            raise ConfigError(
                "loss=semi_supervised mixes what a linear head reads, and the head of "
                f"{type(network).__name__} is none, or reads more than a state per text (per token "
                "for entities). Give student.pooling=mean, or another loss=."
            )
        return logits.float(), caught[-1].float(), head

    def _mixed(
        self, head: torch.nn.Linear, states: torch.Tensor, hard: torch.Tensor
    ) -> torch.Tensor:
        """MIX of each kept unit, [N].

        Args:
            head: The last layer.
            states: Its input, [N, D].
            hard: One-hot targets, [N, C].
        """
        share = float(torch.distributions.Beta(self._alpha, self._alpha).sample())
        share = max(share, 1 - share)
        other = torch.randperm(len(states)).to(states.device)
        logs = head(share * states + (1 - share) * states[other]).float().log_softmax(dim=-1)
        losses: torch.Tensor = -((share * hard + (1 - share) * hard[other]) * logs).sum(dim=-1)
        return losses


def _divergence(logs: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """KL of each unit from fixed log-probabilities, [N, C], to others that learn; [N]."""
    fixed = logs.detach()
    return (fixed.exp() * (fixed - others)).sum(dim=-1)


def _mean(losses: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (losses * weights).sum() / weights.sum()
