"""Weights of rows by their expected benefit for a guide: trusted rows, or other rows (SunGen)."""

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
from tutelage.student.losses.robust import SymmetricCrossEntropyLoss
from tutelage.student.observing import evaluating

Parameters = Literal["head", "all"]
Values = dict[str, torch.Tensor]


class MetaReweightedLoss(CrossEntropyLoss):
    """Cross-entropy, with a factor per row from the guide's loss after one virtual step.

    Source: Ren et al. 2018, Learning to Reweight Examples for Robust Deep Learning, algorithm 1, as
    LLMaAA uses it with its gold set (Zhang et al. 2023). With the rows' losses l_i, the guide's
    mean loss G and parameters theta::

        theta'(e) = theta - grad_theta sum_i e_i l_i(theta)
        factor_i ~ max(0, -dG(theta'(e)) / de_i at e = 0)

    The gradient is exact: reverse mode through the step's own reverse mode (nested
    ``torch.func.grad`` over ``functional_call``). It equals <grad G, grad l_i> times the learning
    rate of the step. One forward-mode product would therefore suffice, but torch 2.13 warns in this
    mode and fused attention does not support it. The rate cancels when the factors are normalised,
    so it is fixed at 1.

    Args:
        parameters: Parameters of the virtual step. "head" (names starting with classifier or score)
            costs two extra forward passes per step; "all", as in the paper, costs about as much as
            three extra steps. Frozen parameters never take part.

    Raises:
        ConfigError: ``parameters`` is unknown.
    """

    needs_guide = True

    def __init__(self, parameters: Parameters = "head") -> None:
        super().__init__()
        if parameters not in get_args(Parameters):
            raise ConfigError(did_you_mean("loss.parameters", parameters, get_args(Parameters)))
        self._scope = parameters

    def reweigh(
        self,
        network: torch.nn.Module,
        batch: Mapping[str, Any],
        targets: Targets,
        guide_batch: Mapping[str, Any],
        guide_targets: Targets,
    ) -> torch.Tensor:
        """Factors on the weights of the rows, not negative and without gradient.

        Their mean is 1 over the rows with a unit of weight above 0, each row counted by the sum of
        its units' weights, so the factors do not change the weight of the batch. All other rows get
        0. If no row helps the guide, all factors are 0 and the batch teaches nothing. The loss of a
        row is the weighted mean over its units, and the guide's loss the weighted mean over all of
        its units. The network's gradients, mode and random state are restored; dropout is off
        meanwhile.

        Args:
            network: The student's network.
            batch: The batch.
            targets: Targets of the batch, including the selector's weights.
            guide_batch: A batch of trusted rows.
            guide_targets: Targets of the trusted rows.

        Returns:
            Tensor of shape [B].

        Raises:
            ConfigError: The network has no parameter to step on.
        """
        gains = self._gains(network, batch, targets, guide_batch, guide_targets)
        return _normalised(gains, _row_weights(targets))

    def _guide_losses(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Loss of each unit of the guide; that of the rows themselves."""
        return self.forward(logits, targets)

    def _gains(
        self,
        network: torch.nn.Module,
        batch: Mapping[str, Any],
        targets: Targets,
        guide_batch: Mapping[str, Any],
        guide_targets: Targets,
    ) -> torch.Tensor:
        """How much a virtual step on each row lowers the loss of the guide, [B]."""
        values = self._trained(network)

        # The two losses, and the guide's loss after a virtual step, as functions of parameters.
        def rows(parameters: Values) -> torch.Tensor:
            losses = self.forward(_logits(network, parameters, batch), targets)
            return _row_means(losses, targets.weights)

        def guide(parameters: Values) -> torch.Tensor:
            losses = self._guide_losses(_logits(network, parameters, guide_batch), guide_targets)
            return (losses * guide_targets.weights).sum() / guide_targets.weights.sum().clamp(
                min=1e-8
            )

        def guide_after(shares: torch.Tensor) -> torch.Tensor:
            step: Values = grad(lambda parameters: (shares * rows(parameters)).sum())(values)
            return guide({name: value - step[name] for name, value in values.items()})

        first = next(iter(values.values()))
        with ExitStack() as stack:
            # Half precision would lose the small differences between rows.
            stack.enter_context(torch.autocast(first.device.type, enabled=False))
            # Its no_grad stops autograd from building a graph; torch.func's gradients still work.
            stack.enter_context(evaluating(network))
            if not all(value.requires_grad for value in network.parameters()):
                # A frozen encoder cannot store states inside torch.func, so read the texts before.
                for one in (batch, guide_batch):
                    _logits(network, {}, one)
            if self._scope == "all":
                # Fused attention has no second derivative.
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            # Falling guide loss is gain: differentiate at shares of 0.
            gains: torch.Tensor = -grad(guide_after)(
                torch.zeros(len(targets.ids), dtype=first.dtype, device=first.device)
            )
        return gains

    def _trained(self, network: torch.nn.Module) -> Values:
        # Detached: the virtual step must not reach the real parameters.
        values = {
            name: value.detach()
            for name, value in network.named_parameters()
            if value.requires_grad
            and (self._scope == "all" or name.startswith(("classifier", "score")))
        }
        if not values:
            raise ConfigError(
                f"loss.parameters={self._scope}: {type(network).__name__} has no such trainable "
                "parameter. Give loss.parameters=all, or choose another loss=."
            )
        return values


class SunGenLoss(MetaReweightedLoss):
    """Cross-entropy with weights of rows that are learnt from other rows, without any gold label.

    Source: Gao et al. 2023, Self-Guided Noise-Free Data Generation for Efficient Zero-Shot Learning
    (SunGen, arXiv 2205.12679). The guide is a random part of the training rows, whose labels are
    as noisy, so its loss is one that noise moves little: reverse cross-entropy (Wang et al. 2019),
    which for a hard target is proportional to 1 - p. Each row has a weight w, 1 at first, and every
    step on the row moves it along the gradient of :class:`MetaReweightedLoss`::

        w_i <- clip(w_i + rate * gain_i / max_j |gain_j|, 0, 1)

    Differences to the paper: it trains the network anew for each update of the weights, and takes
    the gradient from the last step of that training; here the weights and the student are learnt
    together. Its guide may hold rows of the batch, ours does not. The division by the largest gain
    of the batch is ours, in place of Adam. Gold rows are weighted like the others.

    The weights are kept by row id and saved in ``state_dict`` as plain values.

    Args:
        parameters: Parameters of the virtual step, "head" or "all".
        rate: Largest change of a weight per step, above 0.

    Raises:
        ConfigError: ``parameters`` is unknown, or ``rate`` is not above 0.
    """

    guide_from = "rows"

    def __init__(self, parameters: Parameters = "head", rate: float = 0.1) -> None:
        super().__init__(parameters)
        if not rate > 0:
            raise ConfigError(f"loss.rate={rate} must be above 0, for example 0.1.")
        self._rate = rate
        self._robust = SymmetricCrossEntropyLoss(alpha=0.0, beta=1.0)
        self._weights: dict[str, float] = {}

    def reweigh(
        self,
        network: torch.nn.Module,
        batch: Mapping[str, Any],
        targets: Targets,
        guide_batch: Mapping[str, Any],
        guide_targets: Targets,
    ) -> torch.Tensor:
        """Moves the weights of the rows by one step, and returns them as factors of mean 1.

        The mean is taken as for :class:`MetaReweightedLoss`. If the weights of all rows are 0, so
        are the factors. A row without a unit of weight above 0 keeps its weight.

        Args:
            network: The student's network.
            batch: The batch.
            targets: Targets of the batch, including the selector's weights.
            guide_batch: A batch of other rows.
            guide_targets: Targets of the other rows.

        Returns:
            Tensor of shape [B].

        Raises:
            ConfigError: The network has no parameter to step on.
        """
        gains = self._gains(network, batch, targets, guide_batch, guide_targets)
        tiny = torch.finfo(gains.dtype).tiny
        moves = self._rate * gains / gains.abs().max().clamp(min=tiny)
        # One by one, since a row may stand in a batch more than once.
        for id, move in zip(targets.ids, moves.tolist(), strict=True):
            self._weights[id] = min(max(self._weights.get(id, 1.0) + move, 0.0), 1.0)
        weights = torch.tensor([self._weights[id] for id in targets.ids]).to(gains)
        mass = _row_weights(targets)
        return _normalised(weights * (mass > 0), mass)

    def _guide_losses(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        losses: torch.Tensor = self._robust(logits, targets)
        return losses

    def get_extra_state(self) -> dict[str, Any]:
        """The weights for a checkpoint: row ids, and all values in one tensor."""
        values = torch.tensor(list(self._weights.values()), dtype=torch.float64)
        return {"ids": list(self._weights), "values": values}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restores the weights returned by :meth:`get_extra_state`."""
        self._weights = dict(zip(state["ids"], state["values"].tolist(), strict=True))


def _logits(network: torch.nn.Module, parameters: Values, batch: Mapping[str, Any]) -> torch.Tensor:
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    logits: torch.Tensor = functional_call(network, parameters, (), inputs).logits
    return logits


def _row_weights(targets: Targets) -> torch.Tensor:
    """Sum of the weights of the units of each row, [B]."""
    return targets.weights.view(len(targets.ids), -1).sum(dim=1)


def _row_means(losses: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean loss over the units of each row, [B]; 0 for a row without any weight."""
    weights = weights.view(len(weights), -1)
    # Relative to the heaviest unit, so a common factor of a row's weights changes no bit.
    shares = (
        weights / weights.amax(dim=1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    ).to(losses.dtype)
    return (losses.view(len(weights), -1) * shares).sum(dim=1) / shares.sum(dim=1).clamp(min=1)


def _normalised(gains: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Positive factors scaled to a weighted mean of 1; negative ones become 0."""
    factors = gains.clamp(min=0)
    total = (factors * weights).sum()
    # Without any gain the factors stay 0, and so does the batch's weight.
    return factors * (weights.sum() / total) if total > 0 else factors
