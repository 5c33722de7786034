"""Running the student without side effects on its training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.func import functional_call

from tutelage.errors import StudentError

HEADS = ("classifier", "score")
"""Names of the head in transformers' networks."""


def last_layer(network: Any) -> torch.nn.Linear | None:
    """The linear layer whose outputs are the classes, in the head of a network; None without one.

    Args:
        network: A Hugging Face model, such as one of two peers.
    """
    layers = [
        part
        for name, part in network.named_modules()
        if name.startswith(HEADS)
        and isinstance(part, torch.nn.Linear)
        and part.out_features == network.config.num_labels
    ]
    return layers[-1] if layers else None


@contextmanager
def head_inputs(head: torch.nn.Module | None) -> Iterator[list[torch.Tensor]]:
    """Collects the inputs of a layer inside a `with` block, one tensor per forward pass.

    Args:
        head: The layer; nothing is collected for None.
    """
    caught: list[torch.Tensor] = []
    if head is None:
        yield caught
        return
    hook = head.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    try:
        yield caught
    finally:
        hook.remove()


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Context in evaluation mode without gradients; afterwards restores modes and random states.

    Modes are restored per submodule, since some may be in another mode than the whole, and random
    states because a network may draw random numbers in evaluation mode too.

    Args:
        module: The module to evaluate.
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
    """Logits and last hidden states of one forward pass, both in float32.

    Args:
        module: The student; its ``network`` is a Hugging Face model.
        inputs: Token ids and attention mask, [B, L] each.

    Returns:
        Logits, [B, C] or [B, L, C] for NER, and the encoder's last hidden states, [B, L, D].

    Raises:
        StudentError: The encoder returns no hidden state per token.
    """
    return _with_states(module.network, inputs, lambda: module(inputs))


def network_and_states(
    network: Any,
    inputs: Mapping[str, torch.Tensor],
    weights: Mapping[str, torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same for one Hugging Face model, such as one of two peers.

    Args:
        network: The model.
        inputs: Token ids and attention mask, [B, L] each.
        weights: Parameters by name to use instead of the model's own; None for its own.
    """
    given = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}

    def logits() -> torch.Tensor:
        output = (
            network(**given)
            if weights is None
            else functional_call(network, dict(weights), (), given)
        )
        found: torch.Tensor = output.logits
        return found

    return _with_states(network, inputs, logits)


def _with_states(
    network: Any, inputs: Mapping[str, torch.Tensor], run: Callable[[], torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    # A hook on the encoder catches its output on the way to the head.
    caught: list[Any] = []
    encoder = getattr(network, "base_model", network)
    hook = encoder.register_forward_hook(lambda _module, _inputs, output: caught.append(output))
    try:
        logits = run()
    finally:
        hook.remove()
    states = getattr(caught[0], "last_hidden_state", None) if caught else None
    if states is None or states.shape[:2] != inputs["input_ids"].shape:
        raise StudentError(
            f"The encoder of {type(network).__name__} returns no last hidden state per "
            "token, but this selector or loss needs embeddings or gradients. Choose "
            "another student.model=, or another acquire=, select= or loss=."
        )
    return logits.float(), states.float()


def mean_state(states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Mean over the real tokens; 0 for a text without any.

    Args:
        states: Hidden states, [B, L, D].
        attention_mask: 1 for real tokens, [B, L].

    Returns:
        Tensor of shape [B, D].
    """
    mask = attention_mask.unsqueeze(-1).to(states.dtype)
    return (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
