"""Euclidean distances between rows that are many, or too wide to be written down."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.selectors.protocol import Floats

_BLOCK = 1 << 22
"""Numbers of one block of a matrix product: 16 MB of float32."""


class Distances:
    """Squared distances to N rows, each the outer product of its rows in ``factors``, which is never formed.

    The inner product of two outer products is the product of the factors' inner products; that is all that a distance needs. Memory is
    a few arrays of [N] beside the factors, which are not copied.

    Args:
        factors: one or more arrays, [N, K] each.

    Attributes:
        norms: squared length of each row, [N].
        usable: False for a row that is not all numbers, [N].
    """

    def __init__(self, *factors: NDArray[Any]) -> None:
        self._factors = factors
        self.norms: Floats = np.ones(len(factors[0]), dtype=np.float64)
        with np.errstate(all="ignore"):
            for factor in factors:
                self.norms *= np.einsum("nk,nk->n", factor, factor)
        self.usable: NDArray[np.bool_] = np.isfinite(self.norms)
        # What rounding leaves between two equal rows, relative to their lengths: less than that counts as 0.
        self._rounding = 16 * max(float(np.finfo(factor.dtype).eps) for factor in factors)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.norms)

    def to_row(self, index: int) -> Floats:
        """Squared distance of each row to the one at ``index``, [N]; 0 for equal rows, not a number for unusable ones."""
        with np.errstate(all="ignore"):
            inner: Floats = np.ones(len(self), dtype=np.float64)
            for factor in self._factors:
                inner *= factor @ factor[index]
            return self._from_inner(self.norms, float(self.norms[index]), inner)

    def to_nearest(self, centres: NDArray[Any]) -> Floats:
        """Squared distance of each row to the nearest of ``centres``, [M, K], [N]; infinite where M is 0. For a single factor."""
        (factor,) = self._factors
        found: Floats = np.full(len(self), np.inf)
        if not len(centres):
            return found
        centres = centres.astype(factor.dtype, copy=False)
        own = np.einsum("mk,mk->m", centres, centres).astype(np.float64)
        step = max(1, _BLOCK // len(centres))
        for start in range(0, len(self), step):
            rows = slice(start, min(start + step, len(self)))
            with np.errstate(all="ignore"):
                block = self._from_inner(
                    self.norms[rows, None],
                    own[None, :],
                    (factor[rows] @ centres.T).astype(np.float64),
                )
            found[rows] = block.min(axis=1)
        return found

    def _from_inner(self, norms: Floats, own: Floats | float, inner: Floats) -> Floats:
        both = norms + own
        squared = both - 2 * inner
        squared[squared <= self._rounding * both] = 0.0
        return squared
