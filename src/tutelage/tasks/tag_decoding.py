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


def best_tags(
    probabilities: Sequence[Sequence[float] | None],
    tags: Sequence[str],
    moves: NDArray[np.bool_] | None,
) -> list[int]:
    """The most probable sequence of tags (Viterbi), or the most probable tag of each word without ``moves``.

    Args:
        probabilities: a distribution over ``tags`` for each word; None is a word that was not seen, which is "O".
        moves: :func:`allowed_moves` of the tags.

    Returns:
        As many places in ``tags`` as words.
    """
    rows = _rows(probabilities, tags)
    return [int(row.argmax()) for row in rows] if moves is None else _likeliest(rows, moves, 1)[0]


def two_best_tags(
    probabilities: Sequence[Sequence[float] | None],
    tags: Sequence[str],
    moves: NDArray[np.bool_] | None,
) -> list[list[int]]:
    """The most probable sequence of tags and the next one, as of :func:`best_tags`; without ``moves`` every sequence is valid."""
    every = np.ones((len(tags) + 1, len(tags)), dtype=bool)
    return _likeliest(_rows(probabilities, tags), every if moves is None else moves, 2)


def _rows(
    probabilities: Sequence[Sequence[float] | None], tags: Sequence[str]
) -> list[NDArray[np.float64]]:
    outside = np.zeros(len(tags))
    outside[list(tags).index("O")] = 1.0
    return [
        np.asarray(row, dtype=np.float64) if row is not None else outside for row in probabilities
    ]


def _likeliest(
    rows: Sequence[NDArray[np.float64]], moves: NDArray[np.bool_], count: int
) -> list[list[int]]:
    """The ``count`` most probable valid sequences, best first; fewer where there are no more."""
    if not rows:
        return [[]]
    barred, classes = np.where(moves, 0.0, -np.inf), moves.shape[1]
    # [paths kept, C]: the likeliest ways to each tag, best first.
    score, back = (barred[-1] + np.log(np.maximum(rows[0], _LEAST)))[None], []
    for row in rows[1:]:
        through = (score[:, :, None] + barred[:-1]).reshape(-1, classes)
        back.append(np.argsort(-through, axis=0, kind="stable")[:count])
        score = np.take_along_axis(through, back[-1], axis=0) + np.log(np.maximum(row, _LEAST))
    ends = score.ravel()
    paths = []
    for end in np.argsort(-ends, kind="stable")[:count]:
        if np.isinf(ends[end]):
            break
        rank, path = end // classes, [int(end % classes)]
        for step in reversed(back):
            rank, tag = divmod(int(step[rank, path[-1]]), classes)
            path.append(tag)
        paths.append(path[::-1])
    return paths
