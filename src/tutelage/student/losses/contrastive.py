"""Contrastive learning with labels: units of a class close together, those of others apart.

- :class:`ContrastiveLoss` compares the units of a batch with each other.
- :class:`GroupContrastLoss` compares them with remembered units of every class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.protocol import Targets
from tutelage.student.observing import evaluating, mean_state, network_and_states


class ContrastiveLoss(CrossEntropyLoss):
    """(1 - weight) * CE + weight * SCL, where SCL compares the states of the units of a batch.

    With z the states scaled to length 1, P(i) the other units of the class of unit i, and A(i) all
    other units of the batch::

        SCL_i = -mean_{p in P(i)} log(exp(z_i z_p / temperature)
                                      / sum_{a in A(i)} exp(z_i z_a / temperature))

    Source: Khosla et al. 2020, Supervised Contrastive Learning (arXiv 2004.11362), equation 2, for
    fine-tuning beside cross-entropy as in Gunel et al. 2021 (arXiv 2011.01403), whose weight and
    temperature for few labels are the defaults. They compare the first token's state and Khosla et
    al. two views of each image through a projection; here it is the mean over the tokens of a text,
    once per row and without a projection. A class is the hard target. For NER each tag is a class,
    "O" too. Units of weight 0 take no part, and a unit alone in its class has no SCL.

    Args:
        weight: Share of SCL, in [0, 1); 0 is cross-entropy.
        temperature: Divides the cosines, above 0; small values push near neighbours apart most.

    Raises:
        ConfigError: A value is outside its range.
    """

    needs_features = True

    def __init__(self, weight: float = 0.9, temperature: float = 0.3) -> None:
        super().__init__()
        if not 0.0 <= weight < 1.0:
            raise ConfigError(f"loss.weight={weight} must be in [0, 1); 0 is cross-entropy.")
        if not temperature > 0:
            raise ConfigError(f"loss.temperature={temperature} must be above 0, for example 0.3.")
        self._weight, self._temperature = weight, temperature

    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Cross-entropy per unit times its share, at least 0.

        Args:
            logits: Student logits, [B, C], or [B, L, C] for NER.
            targets: Targets of the batch.

        Returns:
            Tensor of shape [B], or [B, L] for NER.
        """
        return (1 - self._weight) * super().forward(logits, targets)

    def contrast(
        self,
        network: torch.nn.Module,
        batch: Mapping[str, Any],
        features: torch.Tensor,
        targets: Targets,
    ) -> torch.Tensor:
        """SCL per unit times its share, at least 0.

        Args:
            network: The student's network; not used.
            batch: The batch; not used.
            features: The encoder's states, [B, D], or [B, L, D] for NER.
            targets: Targets of the batch, including the selector's weights.

        Returns:
            Tensor of shape [B], or [B, L] for NER.
        """
        # Only units that teach are compared, [N, D].
        live = targets.weights > 0
        states = torch.nn.functional.normalize(features[live], dim=-1)
        classes = targets.hard[live].argmax(dim=-1)
        others = ~torch.eye(len(states), dtype=torch.bool, device=states.device)
        alike = (classes.unsqueeze(0) == classes.unsqueeze(1)) & others
        # Log of each unit's share among the others; a unit is no neighbour of itself.
        cosines = (states @ states.T / self._temperature).masked_fill(~others, -torch.inf)
        shares = cosines - cosines.logsumexp(dim=1, keepdim=True)
        # A unit alone in the batch has no neighbour, and its row is no number.
        total = shares.where(alike, torch.zeros_like(shares)).sum(dim=1)
        losses = torch.zeros_like(targets.weights, dtype=features.dtype)
        losses[live] = -self._weight * total / alike.sum(dim=1).clamp(min=1)
        return losses


class GroupContrastLoss(CrossEntropyLoss):
    """CE + weight * PGC, where PGC compares the state of a unit with remembered states: keys.

    The keys are made by a copy of the network, the key encoder, whose weights follow those of the
    network by momentum before each step but the first. Each class has a queue of its newest keys.
    With z the state of unit i, k_0 its own key, all scaled to length 1, Q the keys of the queues of
    all classes and P those of the queue of its class::

        PGC_i = -mean_{p in {k_0} + P} log(exp(z p / temperature)
                                           / sum_{a in {k_0} + Q} exp(z a / temperature))

    Afterwards the unit's key joins the queue of its class. The group of a class stays much the same
    where a few of its labels are wrong, so a wrong label does less harm than in a single pair.

    Source: Wang et al. 2021, Self-Tuning for Data-Efficient Deep Learning (pseudo group contrast,
    arXiv 2102.12903), whose values are the defaults. There the class of an unlabelled image is the
    network's own guess, cross-entropy learns from gold labels alone, keys come from another view of
    the image, and states pass through a projection. Here the class is the hard target of the row,
    for both parts; dropout, which is off for keys, makes the other view; and there is no
    projection. Queues start empty, so PGC is 0 in the first step. For NER each tag is a class, "O"
    too. Units of weight 0 take no part.

    The key encoder costs a further forward pass per step. It and the queues are saved in
    ``state_dict`` as plain values.

    Args:
        weight: Weight of PGC, at least 0; 0 is cross-entropy.
        temperature: Divides the cosines, above 0; small values push near neighbours apart most.
        keys_per_class: Number of keys in a full queue, at least 1.
        momentum: Share of its weights that the key encoder keeps at each step, in [0, 1).

    Raises:
        ConfigError: A value is outside its range.
    """

    needs_features = True

    def __init__(
        self,
        weight: float = 1.0,
        temperature: float = 0.07,
        keys_per_class: int = 32,
        momentum: float = 0.999,
    ) -> None:
        super().__init__()
        if weight < 0:
            raise ConfigError(f"loss.weight={weight} must be at least 0; 0 is cross-entropy.")
        if not temperature > 0:
            raise ConfigError(f"loss.temperature={temperature} must be above 0, for example 0.07.")
        if keys_per_class < 1:
            raise ConfigError(f"loss.keys_per_class={keys_per_class} must be 1 or more.")
        if not 0.0 <= momentum < 1.0:
            raise ConfigError(
                f"loss.momentum={momentum} must be in [0, 1): the share of its weights that the "
                "key encoder keeps at each step."
            )
        self._weight, self._temperature = weight, temperature
        self._keys_per_class, self._momentum = keys_per_class, momentum
        self.start_anew()

    def contrast(
        self,
        network: torch.nn.Module,
        batch: Mapping[str, Any],
        features: torch.Tensor,
        targets: Targets,
    ) -> torch.Tensor:
        """PGC per unit times its weight, at least 0; then its keys join the queues.

        Args:
            network: The student's network, which the key encoder follows.
            batch: The batch.
            features: The encoder's states, [B, D], or [B, L, D] for NER.
            targets: Targets of the batch, including the selector's weights.

        Returns:
            Tensor of shape [B], or [B, L] for NER.
        """
        live = targets.weights > 0
        losses = torch.zeros_like(targets.weights, dtype=features.dtype)
        if not live.any():
            return losses
        # Only units that teach are compared, [N, D].
        states = torch.nn.functional.normalize(features[live], dim=-1)
        own = self._own_keys(network, batch, targets)[live].to(states)
        classes = targets.hard[live].argmax(dim=-1)
        keys, key_classes = self._keys.to(states), self._key_classes.to(classes)
        # The first column is a unit's own key, then every queue follows.
        cosines = [(states * own).sum(dim=-1, keepdim=True)]
        alike = [torch.ones_like(classes, dtype=torch.bool).unsqueeze(1)]
        if len(keys):
            cosines.append(states @ keys.T)
            alike.append(classes.unsqueeze(1) == key_classes)
        shares = (torch.cat(cosines, dim=1) / self._temperature).log_softmax(dim=1)
        positive = torch.cat(alike, dim=1).to(shares)
        losses[live] = -self._weight * (shares * positive).sum(dim=1) / positive.sum(dim=1)
        self._remember(own, classes, targets.hard.shape[-1])
        return losses

    def start_anew(self) -> None:
        """Forgets the key encoder and all keys, which are those of another network now."""
        self._encoder: dict[str, torch.Tensor] = {}
        # Keys of all classes, the newest last, [M, D], and their classes, [M].
        self._keys = torch.zeros(0, 0)
        self._key_classes = torch.zeros(0, dtype=torch.long)

    def _own_keys(
        self, network: torch.nn.Module, batch: Mapping[str, Any], targets: Targets
    ) -> torch.Tensor:
        """Moves the key encoder, and returns its states of the batch, scaled to length 1."""
        # In float32, since a thousandth of a change is nothing in half precision.
        weights = {name: value.detach().float() for name, value in network.named_parameters()}
        self._encoder = {
            name: self._encoder[name].to(value.device).lerp(value, 1 - self._momentum)
            if self._encoder
            else value.clone()
            for name, value in weights.items()
        }
        with evaluating(network):
            _, states = network_and_states(network, batch, self._encoder)
        by_word = targets.weights.ndim == 2
        keys = states if by_word else mean_state(states, batch["attention_mask"])
        return torch.nn.functional.normalize(keys, dim=-1)

    def _remember(self, keys: torch.Tensor, classes: torch.Tensor, count: int) -> None:
        """Appends keys to the queues, from which the oldest ones fall out."""
        if len(self._keys):
            keys = torch.cat([self._keys.to(keys), keys])
            classes = torch.cat([self._key_classes.to(classes), classes])
        # The number of keys of the same class from each key on, itself included.
        ranks = torch.nn.functional.one_hot(classes, count).flip(0).cumsum(dim=0).flip(0)
        newest = ranks.gather(1, classes.unsqueeze(1)).squeeze(1) <= self._keys_per_class
        self._keys, self._key_classes = keys[newest], classes[newest]

    def get_extra_state(self) -> dict[str, Any]:
        """The key encoder's weights by name, the keys and their classes, for a checkpoint."""
        return {"encoder": self._encoder, "keys": self._keys, "classes": self._key_classes}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restores what :meth:`get_extra_state` returned."""
        self._encoder = dict(state["encoder"])
        self._keys, self._key_classes = state["keys"], state["classes"]
