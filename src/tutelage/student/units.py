"""The units a student decides on: whole texts with a sequence head, words with a token head.

A sequence head has one output per text, a token head one per token, of which the first of each word
is read. The shape of the output tells them apart, so nothing here depends on the task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

Array = TypeVar("Array", torch.Tensor, NDArray[Any])


def at_units(outputs: Array, owners: NDArray[np.int64], positions: NDArray[np.int64]) -> Array:
    """Outputs of N units.

    Args:
        outputs: Outputs per text, [B, C], or per token, [B, L, C].
        owners: Text of each unit, [N].
        positions: Position of each unit in its text's output, [N]; 0 for a whole text.

    Returns:
        Array of shape [N, C].
    """
    found: Array = outputs[owners, positions] if outputs.ndim == 3 else outputs[owners]
    return found


def least_certain(
    probabilities: NDArray[np.float32], read: Sequence[Sequence[int]]
) -> NDArray[np.float32]:
    """Distribution of each text's least certain unit.

    Args:
        probabilities: Distributions per text, [B, C], or per token, [B, L, C].
        read: Positions to read of each text.

    Returns:
        Array of shape [B, C]; NaN for a text without units.
    """
    if probabilities.ndim == 2:
        return probabilities
    found = np.full((len(probabilities), probabilities.shape[-1]), np.nan, dtype=np.float32)
    for index, own in enumerate(read):
        if own:
            words = probabilities[index, own]
            found[index] = words[words.max(axis=1).argmin()]
    return found


def unit_means(values: NDArray[Any], read: Sequence[Sequence[int]]) -> NDArray[Any]:
    """Mean over the units of each text.

    Args:
        values: One number per text, [B], or per token, [B, L].
        read: Positions to read of each text.

    Returns:
        Array of shape [B]; NaN for a text without units.
    """
    if values.ndim == 1:
        return values
    found = np.full(len(values), np.nan, dtype=values.dtype)
    for index, own in enumerate(read):
        if own:
            found[index] = values[index, own].mean()
    return found
