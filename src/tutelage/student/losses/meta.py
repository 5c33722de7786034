"""Weighing the rows of a batch by whether learning them would help with rows that are trusted."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Literal, get_args

import torch
from torch.func import functional_call, grad
from torch.nn.attention import SDPBackend, sdpa_kernel

from tutelage.errors import ConfigError, did_you_mean
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.protocol import Targets
from tutelage.student.observing import evaluating

Parameters = Literal["head", "all"]
Values = dict[str, torch.Tensor]


class MetaReweightedLoss(CrossEntropyLoss):
    """Cross-entropy, with a factor for each row from the gradient of the guide's loss through one virtual step.

    Source: Ren et al. 2018, Learning to Reweight Examples for Robust Deep Learning, algorithm 1, as LLMaAA uses it against its gold set
    (Zhang et al. 2023). With the rows' losses l_i, the guide's mean loss G and parameters theta::

        theta'(e) = theta - grad_theta sum_i e_i l_i(theta)        factor_i ~ max(0, -dG(theta'(e)) / de_i at e = 0)

    The gradient is exact: reverse mode through the step's own reverse mode (nested ``torch.func.grad`` over ``functional_call``). It
    equals <grad G, grad l_i> times the step's rate. So one forward-mode product would do too, but torch 2.13 warns in that mode and fused
    attention lacks it; and so the rate cancels when the factors are normalised: it is 1 here and no setting.

    Args:
        parameters: of the virtual step. "head" (names that begin with classifier or score) costs two more forward passes a step;
            "all", the paper's, about three further steps. Frozen parameters never take part.

    Raises:
        ConfigError: ``parameters`` is unknown.
    """

    needs_guide = True

    def __init__(self, parameters: Parameters = "head") -> None:
        super().__init__()
        if parameters not in get_args(Parameters):
            raise ConfigError(did_you_mean("loss.parameters", parameters, get_args(Parameters)))
        self._stepping = parameters

    def reweigh(
        self,
        network: torch.nn.Module,
        batch: Mapping[str, Any],
        targets: Targets,
        guide_batch: Mapping[str, Any],
        guide_targets: Targets,
    ) -> torch.Tensor:
        """Factors of the batch's rows, [B], not negative and without gradient.

        Their mean is 1 over the rows that have a unit of weight above 0 (others get 0), each counted by the sum of its units' weights, so
        that the batch weighs as much with them as without. Where no row helps the guide all are 0: such a batch teaches nothing. A row's
        loss is the mean over its units by weight, and so is the guide's over all of its units.
        The network's gradients, mode and random state are left as they were; dropout is off meanwhile.

        Raises:
            ConfigError: the network has no parameter to step on.
        """
        values = self._trained(network)

        def rows(parameters: Values) -> torch.Tensor:
            losses = self.forward(_logits(network, parameters, batch), targets)
            return _row_means(losses, targets.weights)

        def guide(parameters: Values) -> torch.Tensor:
            losses = self.forward(_logits(network, parameters, guide_batch), guide_targets)
            return (losses * guide_targets.weights).sum() / guide_targets.weights.sum().clamp(
                min=1e-8
            )

        def guide_after(shares: torch.Tensor) -> torch.Tensor:
            step: Values = grad(lambda parameters: (shares * rows(parameters)).sum())(values)
            return guide({name: value - step[name] for name, value in values.items()})

        first = next(iter(values.values()))
        with ExitStack() as stack:
            stack.enter_context(
                torch.autocast(first.device.type, enabled=False)
            )  # half precision loses the small differences between rows
            # Its no_grad does not concern the gradients of torch.func; autograd's own would keep a graph.
            stack.enter_context(evaluating(network))
            if self._stepping == "all":
                stack.enter_context(
                    sdpa_kernel(SDPBackend.MATH)
                )  # fused attention has no second derivative
            helps = -grad(guide_after)(
                torch.zeros(len(targets.ids), dtype=first.dtype, device=first.device)
            )
        return _normalised(helps, targets.weights.view(len(targets.ids), -1).sum(dim=1))

    def _trained(self, network: torch.nn.Module) -> Values:
        values = {
            name: value.detach()
            for name, value in network.named_parameters()
            if value.requires_grad
            and (self._stepping == "all" or name.startswith(("classifier", "score")))
        }
        if not values:
            raise ConfigError(
                f"loss.parameters={self._stepping}: {type(network).__name__} has no such parameter that is trained. "
                "Give loss.parameters=all, or another loss."
            )
        return values


def _logits(network: torch.nn.Module, parameters: Values, batch: Mapping[str, Any]) -> torch.Tensor:
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    logits: torch.Tensor = functional_call(network, parameters, (), inputs).logits
    return logits


def _row_means(losses: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean loss of each row over its units by weight, [B]; 0 for a row without any."""
    weights = weights.view(len(weights), -1)
    # Relative to the heaviest, so that what all of a row's units have in common does not matter, to the last bit.
    shares = (
        weights / weights.amax(dim=1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    ).to(losses.dtype)
    return (losses.view(len(weights), -1) * shares).sum(dim=1) / shares.sum(dim=1).clamp(min=1)


def _normalised(helps: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The positive ones, scaled to mean 1 over the rows by weight."""
    factors = helps.clamp(min=0)
    total = (factors * weights).sum()
    return factors * (weights.sum() / total) if total > 0 else factors
