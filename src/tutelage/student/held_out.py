"""Held-out confidence: how probable a row's label is to a classifier that has not seen the row.

The noise estimate of confident learning (Northcutt et al. 2021, arXiv 1911.00068): a classifier is
cross-validated on all rows, and its out-of-fold probability of a row's own label, the
"self-confidence", is low where the label contradicts the other rows. Here the classifier is a
logistic regression on the untrained encoder's features, so one pass per row and a few seconds of
fitting are enough, and the student's own training cannot leak into it.

The same regression, fitted to the given rows alone (gold rows and class names), is a second judge
of the teacher's labels: :meth:`HeldOut.confirmed`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.data.items import Batch, Item
from tutelage.selectors.protocol import Floats
from tutelage.student.head_fitting import regression
from tutelage.student.module import StudentModule
from tutelage.student.observing import evaluating, logits_and_states, mean_state
from tutelage.student.units import at_units

FOLDS = 5
"""Number of parts; each is scored by a classifier fitted to the others."""
_SEED = 20211101
"""Seed of the division into folds, the same in every epoch and run."""
_AT_ONCE = 64
"""Rows in a pass of the encoder."""

Collate = Callable[[Iterable[tuple[int, Item]]], Batch]


class HeldOut:
    """Scores rows by the others, and keeps their features for the epochs to come.

    Args:
        untrained: Returns the student with the weights that the run starts from; called once, when
            the first score is needed.
    """

    def __init__(self, untrained: Callable[[], StudentModule]) -> None:
        self._untrained = untrained
        self._module: StudentModule | None = None
        self._features: dict[str, torch.Tensor] = {}
        self._last: tuple[bytes, list[Floats | None]] | None = None
        self._last_confirmed: tuple[bytes, NDArray[np.bool_]] | None = None

    def confidence(
        self, items: Sequence[Item], collate: Collate, device: torch.device | str = "cpu"
    ) -> Floats:
        """Held-out probability of each row's label.

        Gold rows are in every training part. For NER a row's score is that of its least probable
        word, since one wrong word makes a wrong row (as in Wang and Mueller 2022, arXiv
        2210.03920).

        Args:
            items: M rows, each once.
            collate: The collate function of the encoder of the rows.
            device: Device of the encoder's pass; the regression is fitted on the CPU.

        Returns:
            Array of shape [M], in [0, 1]; NaN for a row without a unit visible to the student, and
            where no other row is left to fit to.
        """
        return np.array(
            [
                _least(item, found)
                for item, found in zip(
                    items, self.distributions(items, collate, device), strict=True
                )
            ],
            dtype=np.float64,
        )

    def distributions(
        self, items: Sequence[Item], collate: Collate, device: torch.device | str = "cpu"
    ) -> list[Floats | None]:
        """Held-out distribution over the student's outputs, for each visible unit of each row.

        Args:
            items: M rows, each once.
            collate: The collate function of the encoder of the rows.
            device: Device of the encoder's pass.

        Returns:
            One array [U, C] per row, with one line for the text, or one per visible word; None for
            a gold row, and where no other row is left to fit to.
        """
        key = _fingerprint(items)
        if self._last is None or self._last[0] != key:
            self._read(items, collate, device)
            self._last = key, self._cross_validated(items)
        return self._last[1]

    def confirmed(
        self, items: Sequence[Item], collate: Collate, device: torch.device | str = "cpu"
    ) -> NDArray[np.bool_]:
        """Whether a regression fitted to the given rows alone gives each row's label too.

        Args:
            items: M rows, each once.
            collate: The collate function of the encoder of the rows.
            device: Device of the encoder's pass.

        Returns:
            Array of shape [M]; for NER, true where every visible word has the same label. False
            for a row without a visible unit, and everywhere without a given row.
        """
        key = _fingerprint(items)
        if self._last_confirmed is None or self._last_confirmed[0] != key:
            self._read(items, collate, device)
            self._last_confirmed = key, self._agreed(items)
        return self._last_confirmed[1]

    def _agreed(self, items: Sequence[Item]) -> NDArray[np.bool_]:
        """Compares each row's label with the regression on the given rows."""
        given = [item for item in items if item.gold and len(self._features[item.id])]
        if not given:
            return np.zeros(len(items), dtype=np.bool_)
        matrix, offsets = self._fitted(given)
        counts = np.array([len(self._features[item.id]) for item in items], dtype=np.int64)
        features = torch.cat([self._features[item.id] for item in items]).double()
        predicted = (features @ matrix.T + offsets).argmax(dim=-1).numpy()
        own = np.array([np.argmax(vector) for item in items for vector in visible(item)])
        owners = np.repeat(np.arange(len(items)), counts)
        wrong = np.bincount(owners[predicted != own], minlength=len(items))
        agreed: NDArray[np.bool_] = (counts > 0) & (wrong == 0)
        return agreed

    def _read(self, items: Sequence[Item], collate: Collate, device: torch.device | str) -> None:
        """Computes the features of new rows: one vector of length 1 per visible unit."""
        items = [item for item in items if item.id not in self._features]
        if not items:
            return
        self._module = module = (self._module or self._untrained()).to(device)
        items.sort(key=lambda item: len(item.token_ids))
        with evaluating(module):
            for start in range(0, len(items), _AT_ONCE):
                chunk = items[start : start + _AT_ONCE]
                batch = {
                    name: value.to(module.device)
                    for name, value in collate(enumerate(chunk)).items()
                    if isinstance(value, torch.Tensor)
                }
                logits, states = logits_and_states(module, batch)
                # A sequence head decides on the whole text, a token head on each word.
                if logits.ndim == 2:
                    states = mean_state(states, batch["attention_mask"])
                positions = [[at for at in item.indices if at >= 0] for item in chunk]
                owners = np.repeat(np.arange(len(chunk)), [len(own) for own in positions])
                units = at_units(
                    states, owners, np.array(list(chain.from_iterable(positions)), dtype=np.int64)
                )
                units = torch.nn.functional.normalize(units, dim=-1).cpu()
                parts = torch.split(units, [len(own) for own in positions])
                self._features.update(
                    (item.id, part) for item, part in zip(chunk, parts, strict=True)
                )

    def _cross_validated(self, items: Sequence[Item]) -> list[Floats | None]:
        """Cross-validates the regression over the rows, and returns the distributions of each."""
        found: list[Floats | None] = [None] * len(items)
        judged = np.array([at for at, item in enumerate(items) if not item.gold], dtype=np.int64)
        shuffled = np.random.default_rng(_SEED).permutation(judged)
        for fold in range(FOLDS):
            held = set(shuffled[fold::FOLDS].tolist())
            others = [item for at, item in enumerate(items) if at not in held]
            if not held or not others:
                continue
            if not any(len(self._features[item.id]) for item in others):
                continue
            matrix, offsets = self._fitted(others)
            own = sorted(held)
            features, _ = self._units([items[at] for at in own])
            shares = (features @ matrix.T + offsets).softmax(dim=-1)
            counts = [len(self._features[items[at].id]) for at in own]
            for at, part in zip(own, torch.split(shares, counts), strict=True):
                found[at] = part.numpy()
        return found

    def _fitted(self, items: Sequence[Item]) -> tuple[torch.Tensor, torch.Tensor]:
        """The regression of some rows: its matrix, [C, D], and its offsets, [C]."""
        features, targets = self._units(items)
        weights = torch.ones(len(features), dtype=torch.float64)
        return regression(features, targets, weights, has_offsets=True)

    def _units(self, items: Sequence[Item]) -> tuple[torch.Tensor, torch.Tensor]:
        """Features, [N, D], and targets, [N, C], of the units of rows."""
        features = torch.cat([self._features[item.id] for item in items]).double()
        targets = torch.tensor(list(chain.from_iterable(map(visible, items))), dtype=torch.float64)
        return features, targets.reshape(len(features), -1)


def _least(item: Item, shares: Floats | None) -> float:
    """Probability of a row's label; of its least probable word where it has several."""
    if shares is None or not len(shares):
        return math.nan
    own = np.argmax(visible(item), axis=1)
    return float(shares[np.arange(len(own)), own].min())


def visible(item: Item) -> list[tuple[float, ...]]:
    """Targets of the units of a row that the student sees: its text, or words not cut off."""
    return [vector for vector, at in zip(item.vectors, item.indices, strict=True) if at >= 0]


def _fingerprint(items: Sequence[Item]) -> bytes:
    """Identifies the rows and their targets; a row that is labelled again is another one."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.id}\0{item.target}\0{item.gold}\0".encode())
        digest.update(np.array(item.vectors, dtype=np.float64).tobytes())
    return digest.digest()
