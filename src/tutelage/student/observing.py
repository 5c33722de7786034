"""Looking at a student without touching its training: evaluation mode for a while, and what the encoder sees on the way to the logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tutelage.errors import StudentError


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards each part's mode and the random numbers are what they were.

    Each part's, for parts may be kept in another mode than the whole; the random numbers, for a network may draw in this mode too.
    """
    modes = [(part, part.training) for part in module.modules()]
    devices = sorted(
        {value.device.index for value in module.parameters() if value.device.type == "cuda"}
    )
    module.eval()
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training


def logits_and_states(
    module: Any, inputs: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and the encoder's last hidden states, [B, L, D], of one pass, both float32.

    Args:
        module: the student; its ``network`` is a Hugging Face model.

    Raises:
        StudentError: the encoder gave no hidden state for each token.
    """
    caught: list[Any] = []
    encoder = getattr(module.network, "base_model", module.network)
    hook = encoder.register_forward_hook(lambda _module, _inputs, output: caught.append(output))
    try:
        logits = module(inputs)
    finally:
        hook.remove()
    states = getattr(caught[0], "last_hidden_state", None) if caught else None
    if states is None or states.shape[:2] != inputs["input_ids"].shape:
        raise StudentError(
            f"The encoder of {type(module.network).__name__} gives no last hidden state for each token, which a selector's embeddings and "
            "gradients are made of. Choose another student.model=, or another selector=."
        )
    return logits.float(), states.float()


def mean_state(states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Mean over the real tokens, [B, L, D] and [B, L] → [B, D]; 0 for a text without any."""
    mask = attention_mask.unsqueeze(-1).to(states.dtype)
    return (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
