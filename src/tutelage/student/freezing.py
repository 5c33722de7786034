"""A frozen encoder (``student.freeze_encoder``): only the head learns, from states that are kept.

The encoder's states of a text never change, so they are computed once, and each later step costs
hardly more than the head.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from tutelage.errors import ConfigError
from tutelage.student.observing import evaluating
from tutelage.student.peers import networks_of

MOST_BYTES = 2**30
"""Memory for the states that one encoder keeps; the texts unused for longest go first."""


def freeze_encoder(network: torch.nn.Module, most_bytes: int = MOST_BYTES) -> None:
    """Freezes the encoder of a student, and lets it keep its states of each text.

    Its parameters get no gradient, and its dropout is off in training too. Names of parameters
    stay, so a saved student is like any other.

    Args:
        network: A Hugging Face model, or :class:`~tutelage.student.peers.PeerNetworks` of two.
        most_bytes: Memory for the states of each encoder.

    Raises:
        ConfigError: The network does not tell its encoder from its head.
    """
    for one in networks_of(network):
        encoder = one.base_model
        if encoder is one:
            raise ConfigError(
                f"student.freeze_encoder=true needs a network whose encoder is a part of it, and "
                f"{type(one).__name__} has none. Give student.pooling=mean, or "
                "student.freeze_encoder=false."
            )
        encoder.requires_grad_(False)
        # acquire=dropout asks the modules whether there is any dropout.
        for part in encoder.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        # Like hooks of accelerate: an attribute of the instance, which no state_dict knows.
        encoder.forward = KeptStates(encoder, most_bytes)


class _States(NamedTuple):
    """The encoder's output for one text, on its device."""

    tokens: torch.Tensor
    pooled: torch.Tensor | None

    @property
    def bytes(self) -> int:
        return self.tokens.nbytes + (0 if self.pooled is None else self.pooled.nbytes)


class KeptStates:
    """The forward pass of a frozen encoder, which reads each text once.

    A text is read alone and without padding, so its states do not depend on the texts beside it.
    Positions of padding get states of 0.

    Args:
        encoder: The encoder.
        most_bytes: Memory for the states.
    """

    def __init__(self, encoder: Any, most_bytes: int) -> None:
        self._encoder = encoder
        self._forward = encoder.forward
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[int, ...], _States] = OrderedDict()
        self._bytes = 0

    def __call__(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **inputs: Any,
    ) -> Any:
        """States of a batch.

        Args:
            input_ids: Token ids, [B, L].
            attention_mask: 1 for real tokens, 0 for padding, [B, L]; None if there is no padding.
            **inputs: Further inputs. Where one is a tensor, such as embeddings instead of ids, the
                encoder reads the batch and nothing is kept.

        Returns:
            Last hidden states, [B, L, D], and the pooler's output, [B, D], if there is a pooler.
        """
        further = any(isinstance(value, torch.Tensor) for value in inputs.values())
        if input_ids is None or further:
            return self._forward(input_ids=input_ids, attention_mask=attention_mask, **inputs)
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        rows = [self._of(ids, own) for ids, own in zip(input_ids, mask, strict=True)]
        tokens = torch.nn.utils.rnn.pad_sequence([row.tokens for row in rows], batch_first=True)
        # The longest text may be shorter than the batch's padding.
        short = input_ids.shape[1] - tokens.shape[1]
        tokens = torch.nn.functional.pad(tokens, (0, 0, 0, short))
        pooled = [row.pooled for row in rows if row.pooled is not None]
        return BaseModelOutputWithPooling(
            last_hidden_state=tokens, pooler_output=torch.stack(pooled) if pooled else None
        )

    def _of(self, ids: torch.Tensor, mask: torch.Tensor) -> _States:
        """States of one text, [L] ids and mask; left out tokens inside it keep their places."""
        # A loss may hide the last words, which is not padding.
        padding = getattr(self._encoder.config, "pad_token_id", None)
        real = mask.bool() if padding is None else mask.bool() | (ids != padding)
        used = real.nonzero().flatten()
        length = int(used[-1]) + 1 if len(used) else 1
        ids, mask = ids[:length], mask[:length]
        key = (*ids.tolist(), *mask.tolist())
        if (found := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return found
        with evaluating(self._encoder):
            output = self._forward(input_ids=ids.unsqueeze(0), attention_mask=mask.unsqueeze(0))
        pooled = getattr(output, "pooler_output", None)
        states = _States(output.last_hidden_state[0], None if pooled is None else pooled[0])
        if torch._C._functorch.is_functorch_wrapped_tensor(states.tokens):
            return states  # Its numbers exist within this transform of torch.func alone.
        self._kept[key] = states
        self._bytes += states.bytes
        while self._bytes > self._most_bytes and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].bytes
        return states
