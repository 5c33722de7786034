"""Supervised contrastive learning: units of a class close together, those of others apart."""

from __future__ import annotations

import torch

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.protocol import Targets


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

    def contrast(self, features: torch.Tensor, targets: Targets) -> torch.Tensor:
        """SCL per unit times its share, at least 0.

        Args:
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
