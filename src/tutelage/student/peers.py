"""Networks that learn side by side and predict together (``student.peers=2``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch


class Prediction(NamedTuple):
    """The output of :class:`PeerNetworks`, read like that of a Hugging Face model."""

    logits: torch.Tensor


class PeerNetworks(torch.nn.Module):
    """Networks of one architecture that predict with the mean of their distributions.

    Hidden states and embeddings are those of the first network.

    Args:
        networks: Hugging Face models whose outputs have ``logits``.
    """

    def __init__(self, networks: Sequence[torch.nn.Module]) -> None:
        super().__init__()
        self.networks = torch.nn.ModuleList(networks)

    @property
    def config(self) -> Any:
        """The configuration, which is the same for all networks."""
        return self.networks[0].config

    @property
    def base_model(self) -> Any:
        """The encoder of the first network."""
        return self.networks[0].base_model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Prediction:
        """Log-probabilities of the mean distribution, [B, C], or [B, L, C] for NER.

        Args:
            input_ids: Token ids, [B, L].
            attention_mask: 1 for real tokens, 0 for padding, [B, L].
        """
        return Prediction(
            mean_logits(
                [
                    one(input_ids=input_ids, attention_mask=attention_mask).logits
                    for one in self.networks
                ]
            )
        )


def networks_of(network: torch.nn.Module) -> tuple[Any, ...]:
    """Returns the peers behind a student's network; the network itself if it has none."""
    return tuple(network.networks) if isinstance(network, PeerNetworks) else (network,)


def mean_logits(each: Sequence[torch.Tensor]) -> torch.Tensor:
    """Logits whose softmax is the mean of the distributions; those of one network unchanged.

    Args:
        each: Logits of each network, of one shape.
    """
    if len(each) == 1:
        return each[0]
    logs = torch.stack([one.float().log_softmax(dim=-1) for one in each])
    return logs.logsumexp(dim=0) - math.log(len(each))
