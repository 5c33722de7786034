"""Pool views for selectors, from arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.selectors.measures import uncertainty_of
from tutelage.selectors.protocol import Uncertainty


class ArrayView:
    """A :class:`tutelage.selectors.protocol.PoolView` over arrays."""

    def __init__(
        self,
        probabilities: NDArray[Any],
        embeddings: NDArray[Any],
        labelled: NDArray[Any] | None = None,
    ) -> None:
        self._probabilities = np.asarray(probabilities, dtype=np.float32)
        self._embeddings = np.asarray(embeddings, dtype=np.float32)
        self._labelled = (
            np.zeros((0, self._embeddings.shape[1]), dtype=np.float32)
            if labelled is None
            else labelled.astype(np.float32)
        )

    @property
    def texts(self) -> Sequence[str]:
        return [f"text {index}" for index in range(len(self._embeddings))]

    def probabilities(self) -> NDArray[np.float32]:
        return self._probabilities

    def uncertainty(self, kind: Uncertainty) -> NDArray[np.float32]:
        return uncertainty_of(self._probabilities, kind)

    def embeddings(self) -> NDArray[np.float32]:
        return self._embeddings

    def labelled_embeddings(self) -> NDArray[np.float32]:
        return self._labelled

    def disagreement(self, passes: int) -> NDArray[np.float32]:
        # As with a real student, non-finite embeddings give a non-finite result without a warning.
        with np.errstate(invalid="ignore"):
            return np.asarray(
                self.uncertainty("entropy") * self._embeddings[:, 0] ** 2, dtype=np.float32
            )

    def instability(self, copies: int, share: float) -> NDArray[np.float32]:
        return self.disagreement(copies)


def random_view(
    total: int, classes: int = 4, width: int = 6, labelled: int = 0, seed: int = 0
) -> ArrayView:
    """Predictions from certain to uncertain, and random embeddings."""
    rng = np.random.default_rng(seed)
    sharpness = rng.uniform(0.2, 4, (total, 1))
    logits = rng.normal(size=(total, classes)) * sharpness
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True)) if total else logits
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    return ArrayView(
        probabilities, rng.normal(size=(total, width)), rng.normal(size=(labelled, width))
    )
