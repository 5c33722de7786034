"""Linear probing: the head as a regression on the encoder's features.

A head that starts from random weights drags the encoder along until it fits. With a handful of
rows, that costs the encoder more than the rows can teach it. Kumar et al. (2022, "Fine-Tuning can
Distort Pretrained Features and Underperform Out-of-Distribution") therefore fit the head first,
and only then fine-tune all weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from tutelage.errors import StudentError
from tutelage.student.module import StudentModule
from tutelage.student.observing import HEADS, evaluating, head_inputs, last_layer
from tutelage.student.peers import networks_of

STRENGTH = 10.0
"""Weight of the losses beside the penalty on the matrix, for features of mean length 1."""
MOST_ROWS = 5_000
"""Rows with a teacher's label that a head is fitted to, at most.

In a large pool, the encoder's pass over all rows and the solver's memory would grow with it.
"""
_STEPS = 200
"""Maximum number of steps of the solver."""


def fit_head(module: StudentModule, batches: Iterable[Any]) -> None:
    """Replaces the last layer of the head by the one that fits the hard labels of the rows best.

    The encoder stays as it is. With N units (texts, for NER words), features x of mean length 1,
    targets t and row weights r, the matrix W and the offsets b minimise
    Σ r · CE(Wx + b, t) + ‖W‖² / 20 (``STRENGTH`` = 10, the usual form of a regularised logistic
    regression). A class without rows gets a low offset. With ``student.peers=2`` each network's
    head is fitted to its own encoder.

    Args:
        module: The student, on its training device.
        batches: Batches of the rows, as :class:`tutelage.data.items.Batch`.

    Raises:
        StudentError: The network has no linear head, or one that does not read one vector per
            text, or per token for entities.
    """
    heads, batches = last_layers(module.network), list(batches)
    for head in heads if batches else ():
        _fit(module, head, batches)


def _fit(module: StudentModule, head: torch.nn.Linear, batches: Iterable[Any]) -> None:
    """Replaces one layer."""
    features, targets, weights = _units(module, head, batches)
    if not weights.any():
        return
    scale = features.norm(dim=1).mean().clamp(min=1e-8)
    found, offsets = regression(
        features / scale, targets, weights, has_offsets=head.bias is not None
    )
    with torch.no_grad():
        head.weight.copy_(found / scale)
        if head.bias is not None:
            head.bias.copy_(offsets)


def last_layers(network: Any) -> list[torch.nn.Linear]:
    """Returns the layer whose outputs are the classes, of the head of each of a student's networks.

    Raises:
        StudentError: There is none.
    """
    return [_last_layer(one) for one in networks_of(network)]


def _last_layer(network: Any) -> torch.nn.Linear:
    layer = last_layer(network)
    if layer is None:
        raise StudentError(
            f"student.head=fitted looks for a linear layer in {' or '.join(HEADS)}, and "
            f"{type(network).__name__} has none there. Give student.head=trained, or another "
            "student.model=."
        )
    return layer


def _units(
    module: StudentModule, head: torch.nn.Linear, batches: Iterable[Any]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the head's input, [N, D], the target, [N, C], and the weight of each unit, [N]."""
    parts: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    with head_inputs(head) as seen, evaluating(module):
        for batch in batches:
            seen.clear()
            module({key: value.to(module.device) for key, value in batch.items()})
            if seen[0].shape[:-1] != batch["weights"].shape:
                raise StudentError(
                    "student.head=fitted needs a head that reads one vector per text (per "
                    f"token for entities), and that of {type(module.network).__name__} reads "
                    "more. Give student.head=trained, or student.pooling=mean."
                )
            weights = batch["weights"].flatten()
            used = weights > 0
            features = seen[0].reshape(len(weights), -1).cpu().double()
            targets = batch["targets"].reshape(len(weights), -1).double()
            parts.append((features[used], targets[used], weights[used].double()))
    features, targets, weights = (torch.cat(part) for part in zip(*parts, strict=True))
    return features, targets, weights


def regression(
    features: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, *, has_offsets: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fits a multinomial logistic regression: Σ r · CE(Wx + b, t) + ‖W‖² / (2 · ``STRENGTH``).

    Args:
        features: Features x of mean length 1, float64, [N, D].
        targets: Target distributions t, float64, [N, C].
        weights: Row weights r, float64, [N].
        has_offsets: Whether to fit b; it is 0 otherwise.

    Returns:
        The matrix W, [C, D], and the offsets b, [C].
    """
    shape = (targets.shape[1], features.shape[1])
    found = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    offsets = torch.zeros(shape[0], dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [found, offsets] if has_offsets else [found],
        max_iter=_STEPS,
        tolerance_grad=1e-5,
        line_search_fn="strong_wolfe",
    )

    def objective() -> torch.Tensor:
        solver.zero_grad()
        logits = features @ found.T + offsets
        losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        loss = (losses * weights).sum() + (found**2).sum() / (2 * STRENGTH)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        solver.step(objective)  # type: ignore[no-untyped-call]
    return found.detach(), offsets.detach()
