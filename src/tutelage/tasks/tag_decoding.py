"""From each word's distribution over IOB2 tags to the best tag sequence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_LEAST = 1e-9


def allowed_moves(tags: Sequence[str]) -> NDArray[np.bool_]:
    """Which tag may follow which, [from, to]: I-X only after B-X or I-X. The row past the last is the start of a text."""
    moves = np.ones((len(tags) + 1, len(tags)), dtype=bool)
    for to, tag in enumerate(tags):
        if tag.startswith("I-"):
            moves[:, to] = [before[2:] == tag[2:] and before != "O" for before in tags] + [False]
    return moves


def best_tags(probabilities: Sequence[Sequence[float] | None], tags: Sequence[str], moves: NDArray[np.bool_] | None) -> list[int]:
    """The most probable sequence of tags (Viterbi), or the most probable tag of each word without ``moves``.

    Args:
        probabilities: a distribution over ``tags`` for each word; None is a word that was not seen, which is "O".
        moves: :func:`allowed_moves` of the tags.

    Returns:
        As many places in ``tags`` as words.
    """
    outside = np.zeros(len(tags))
    outside[list(tags).index("O")] = 1.0
    rows = [np.asarray(row, dtype=np.float64) if row is not None else outside for row in probabilities]
    if moves is None:
        return [int(row.argmax()) for row in rows]
    barred = np.where(moves, 0.0, -np.inf)
    score, back = barred[-1], []
    for number, row in enumerate(rows):
        own = np.log(np.maximum(row, _LEAST))
        if number == 0:
            score = score + own
            continue
        through = score[:, None] + barred[:-1]
        back.append(through.argmax(axis=0))
        score = through.max(axis=0) + own
    if not rows:
        return []
    path = [int(score.argmax())]
    for step in reversed(back):
        path.append(int(step[path[-1]]))
    return path[::-1]
