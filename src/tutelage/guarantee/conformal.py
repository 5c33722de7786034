"""Sets of labels that hold the right one with a given probability: split conformal prediction.

The score of a label is one minus its probability (Sadinle, Lei and Wasserman 2019, arXiv
1609.00451; Angelopoulos and Bates 2021, arXiv 2107.07511, section 1). The packages crepes and MAPIE
have it, too; it is one quantile, so it needs neither. crepes 0.9.1 gives the same sets.
"""

from __future__ import annotations

import math

import numpy as np

from tutelage.selectors.protocol import Floats

_ROUNDING = 1e-9
"""A product such as 0.07 · 100 may exceed the whole number that it is."""


def least_probability(right: Floats, coverage: float) -> float:
    """Returns the probability that a label needs to be in a set.

    One minus it is the finite-sample quantile of the scores, ceil((N + 1) · coverage) / N. Then a
    new text's set holds the right label with a probability of at least ``coverage``, over the draw
    of the sample and of the text.

    Args:
        right: Probability of the right label of each text, [N].
        coverage: Target in (0, 1).

    Returns:
        The probability; 0, with which every label is in every set, if the sample is too small.
    """
    rank = math.ceil((len(right) + 1) * coverage - _ROUNDING)
    if rank > len(right):
        return 0.0
    # The rank-th smallest score is that of the rank-th largest probability.
    return float(np.sort(right)[len(right) - rank])
