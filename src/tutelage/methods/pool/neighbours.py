"""Demonstrations of each text's own: the labelled examples that are nearest to it in the student's embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.records import Example

_AT_ONCE = 4096
"""Texts whose similarities to all examples are computed at a time."""
_DIGITS = 12
"""Of a cosine, in double precision: what differs by less is as similar."""


class Neighbours:
    """The k nearest examples of each text by the cosine of their embeddings, the most similar last.

    Last, because a teacher leans most on what it read last: LLMaAA shows its demonstrations in this order (Zhang et al. 2023). Equally
    similar examples stand in the order given. An embedding that is zero or no number is similar to nothing. A text that is not among
    ``texts`` gets the first k examples.

    Args:
        examples: labelled, M of them, with ``example_embeddings`` [M, D].
        texts: N texts, with ``embeddings`` [N, D].
        count: k; all of them where there are fewer.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        example_embeddings: NDArray[Any],
        texts: Sequence[str],
        embeddings: NDArray[Any],
        count: int,
    ) -> None:
        self._examples = tuple(examples)
        self._count = min(count, len(self._examples))
        self._indices: dict[str, NDArray[np.int64]] = {}
        if not self._count:
            return
        from sklearn.metrics.pairwise import cosine_similarity

        known = _numbers(example_embeddings)
        for start in range(0, len(texts), _AT_ONCE):
            # A product's last digits depend on where a row stands; they order nothing.
            similar = cosine_similarity(
                _numbers(embeddings[start : start + _AT_ONCE]), known
            ).round(_DIGITS)
            # From the end of a stable order by falling similarity: of equals the earlier example is the nearer one.
            nearest = np.argsort(-similar, axis=1, kind="stable")[:, : self._count][:, ::-1]
            self._indices.update(zip(texts[start : start + _AT_ONCE], nearest, strict=True))

    def __call__(self, text: str) -> tuple[Example, ...]:
        """The demonstrations of ``text``, k of them."""
        if text not in self._indices:
            return self._examples[: self._count]
        return tuple(self._examples[index] for index in self._indices[text])


def _numbers(rows: NDArray[Any]) -> NDArray[np.float64]:
    """The rows in double precision; zeros for one that is not all numbers."""
    values: NDArray[np.float64] = np.asarray(rows, dtype=np.float64)
    return np.where(np.isfinite(values).all(axis=1, keepdims=True), values, 0.0)
