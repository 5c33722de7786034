"""Whether written texts can be told from real ones: a cross-validated probe.

A classifier that tells texts of a model from those of people finds what sets them apart (Antoun,
Sagot and Seddah 2023, "From Text to Source: Results in Detecting Large Language Model-Generated
Content", arXiv 2309.13322). Theirs is a fine-tuned encoder; here it is a logistic regression on the
features of the untrained one, as in :mod:`tutelage.student.held_out`, which takes seconds. Its
balanced accuracy on texts that it has not seen says how far written texts are from the pool.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.records import derive_seed
from tutelage.report.intervals import wilson_interval
from tutelage.student.head_fitting import regression
from tutelage.student.held_out import FOLDS

MOST = 300
"""Most texts of each kind; more would cost time and narrow the interval little."""
FEWEST = 4 * FOLDS
"""Fewest texts of each kind, so that every part has some."""


@dataclass(frozen=True, slots=True)
class Telling:
    """How well written and real texts are told apart.

    Attributes:
        found: Share of the written and of the real texts that were taken for what they are.
        written: Number of written texts.
        real: Number of real texts.
    """

    found: tuple[float, float]
    written: int
    real: int

    @property
    def balanced_accuracy(self) -> float:
        """The mean of both shares: 0.5 = cannot be told apart, 1 = always."""
        return sum(self.found) / 2

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean, from the Wilson intervals of both shares.

        Source: Zou and Donner 2008, the method of variance estimates recovery. It takes the texts
        for independent, and leaves out that the folds share training texts.
        """
        middle, low, high = self.balanced_accuracy, 0.0, 0.0
        for share, count in zip(self.found, (self.written, self.real), strict=True):
            below, above = wilson_interval(share, count)
            low += (share - below) ** 2
            high += (above - share) ** 2
        return max(0.0, middle - math.sqrt(low) / 2), min(1.0, middle + math.sqrt(high) / 2)

    def as_dict(self) -> dict[str, Any]:
        """Returns the measure as result.json has it."""
        return {
            "balanced_accuracy": round(self.balanced_accuracy, 4),
            "interval": [round(end, 4) for end in self.interval],
            "written": self.written,
            "real": self.real,
        }


def tell_apart(
    written: Sequence[str],
    real: Sequence[str],
    embed: Callable[[Sequence[str]], NDArray[np.float32]],
    seed: int,
) -> Telling | None:
    """Cross-validates a logistic regression that tells written texts from real ones.

    Both kinds weigh the same. A text of both kinds is left out, and one that occurs twice counts
    once.

    Args:
        written: Written texts.
        real: Real texts.
        embed: Returns the embedding of each text, [N, D], of length 1.
        seed: Seed of the run, for which texts are used and how they are divided.

    Returns:
        None if there are fewer than :data:`FEWEST` texts of a kind.
    """
    both = set(written) & set(real)
    rng = np.random.default_rng(derive_seed("written or real", seed))
    kinds = []
    for texts in (written, real):
        own = [text for text in dict.fromkeys(texts) if text not in both]
        kinds.append([own[at] for at in rng.permutation(len(own))[:MOST]])
    counts = [len(own) for own in kinds]
    if min(counts) < FEWEST:
        return None
    features = torch.from_numpy(np.asarray(embed([*kinds[0], *kinds[1]]))).double()
    truth = torch.arange(2).repeat_interleave(torch.tensor(counts))
    # The texts are in random order, so every fifth one of a kind is a random part of it.
    parts = torch.cat([torch.arange(count) % FOLDS for count in counts])
    right = _held_out(features, truth, parts) == truth
    shares = [float(right[truth == kind].double().mean()) for kind in (0, 1)]
    return Telling((shares[0], shares[1]), counts[0], counts[1])


def _held_out(features: torch.Tensor, truth: torch.Tensor, parts: torch.Tensor) -> torch.Tensor:
    """Returns the kind that each text is taken for by a classifier fitted to the other parts."""
    targets = torch.nn.functional.one_hot(truth, 2).double()
    found = torch.zeros_like(truth)
    for part in range(FOLDS):
        held = parts == part
        own = targets[~held]
        weights = (own / (2 * own.mean(dim=0))).sum(dim=1)
        matrix, offsets = regression(features[~held], own, weights, has_offsets=True)
        found[held] = (features[held] @ matrix.T + offsets).argmax(dim=1)
    return found
