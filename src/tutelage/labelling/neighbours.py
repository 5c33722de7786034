"""The nearest labelled examples of a text, by embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.records import Example

_AT_ONCE = 4096
"""Texts per similarity computation."""


class Neighbours:
    """The k nearest examples of each text by cosine similarity, the most similar one last.

    A teacher relies most on the end of its prompt, and LLMaAA shows its demonstrations in this
    order (Zhang et al. 2023). Equally similar examples keep their given order. An embedding of
    zeros, or with a value not finite, is similar to nothing. An unknown text gets the first k
    examples.

    Args:
        examples: M labelled examples.
        example_embeddings: Their embeddings, [M, D].
        texts: N texts.
        embeddings: Their embeddings, [N, D].
        count: k; all examples if there are fewer.
        digits: Decimals of a cosine that count; smaller differences are ties.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        example_embeddings: NDArray[Any],
        texts: Sequence[str],
        embeddings: NDArray[Any],
        count: int,
        digits: int = 12,
    ) -> None:
        self._examples = tuple(examples)
        self._count = min(count, len(self._examples))
        self._indices: dict[str, NDArray[np.int64]] = {}
        if not self._count:
            return
        from sklearn.metrics.pairwise import cosine_similarity

        # In chunks, to bound the memory of the similarity matrix.
        known = _numbers(example_embeddings)
        for start in range(0, len(texts), _AT_ONCE):
            # The last digits of a product depend on its position in the matrix; drop them.
            similar = cosine_similarity(
                _numbers(embeddings[start : start + _AT_ONCE]), known
            ).round(digits)
            # A stable order by falling similarity, reversed: the earlier one of two equally similar
            # examples counts as nearer.
            nearest = np.argsort(-similar, axis=1, kind="stable")[:, : self._count][:, ::-1]
            self._indices.update(zip(texts[start : start + _AT_ONCE], nearest, strict=True))

    def __call__(self, text: str) -> tuple[Example, ...]:
        """Returns the k demonstrations of a text, the nearest one last."""
        if text not in self._indices:
            return self._examples[: self._count]
        return tuple(self._examples[index] for index in self._indices[text])


def _numbers(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Converts rows to double precision; one with a value not finite becomes zeros."""
    values: NDArray[np.float64] = np.asarray(rows, dtype=np.float64)
    return np.where(np.isfinite(values).all(axis=1, keepdims=True), values, 0.0)
