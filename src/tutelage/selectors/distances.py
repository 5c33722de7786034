"""Memory-saving Euclidean distances between many rows, or rows too wide to materialise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.selectors.protocol import Floats

_BLOCK = 1 << 22
"""Numbers per block of a matrix product: 16 MB of float32."""


class Distances:
    """Squared distances to N rows, each row given as the outer product of its rows in ``factors``.

    The outer products are never formed: the inner product of two of them is the product of the
    inner products of their factors, and distances need nothing else. Memory is a few arrays of
    shape [N] beside the factors, which are not copied.

    Args:
        *factors: One or more arrays of shape [N, K]; K may differ between them.

    Attributes:
        norms: Squared length of each row, [N].
        usable: False for rows holding a NaN or an infinite value, [N].
    """

    def __init__(self, *factors: NDArray[Any]) -> None:
        self._factors = factors
        self.norms: Floats = np.ones(len(factors[0]), dtype=np.float64)
        with np.errstate(all="ignore"):
            # The squared length of an outer product is the product of its factors' squared lengths.
            for factor in factors:
                self.norms *= np.einsum("nk,nk->n", factor, factor)
        self.usable: NDArray[np.bool_] = np.isfinite(self.norms)
        # Rounding error between equal rows, relative to their lengths; anything below counts as 0.
        self._rounding = 16 * max(float(np.finfo(factor.dtype).eps) for factor in factors)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.norms)

    def to_row(self, index: int) -> Floats:
        """Squared distance of every row to the row at ``index``.

        Args:
            index: Index of the reference row.

        Returns:
            Distances of shape [N]; exactly 0 for equal rows, NaN for unusable ones.
        """
        with np.errstate(all="ignore"):
            inner: Floats = np.ones(len(self), dtype=np.float64)
            for factor in self._factors:
                inner *= factor @ factor[index]
            return self._from_inner(self.norms, float(self.norms[index]), inner)

    def to_nearest(self, centres: NDArray[Any]) -> Floats:
        """Squared distance of every row to the nearest of ``centres``; for a single factor only.

        Args:
            centres: Array of shape [M, K].

        Returns:
            Distances of shape [N]; infinite when M is 0.
        """
        (factor,) = self._factors
        found: Floats = np.full(len(self), np.inf)
        if not len(centres):
            return found
        centres = centres.astype(factor.dtype, copy=False)
        own = np.einsum("mk,mk->m", centres, centres).astype(np.float64)
        # Work in blocks of rows, so the [rows, M] product never exceeds _BLOCK numbers.
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
        # Cancellation leaves tiny or negative values between equal rows.
        squared[squared <= self._rounding * both] = 0.0
        return squared
