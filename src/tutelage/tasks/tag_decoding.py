"""Decoding: from tag distributions per word to the most probable tag sequence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_LEAST = 1e-9
"""Smallest probability, so that no logarithm is infinite."""


def allowed_moves(tags: Sequence[str]) -> NDArray[np.bool_]:
    """Valid IOB2 transitions, [from, to]: I-X only after B-X or I-X.

    Args:
        tags: The tags, in the order of the model's outputs.

    Returns:
        Boolean array of shape [T + 1, T]; the last row is the start of a text.
    """
    moves = np.ones((len(tags) + 1, len(tags)), dtype=bool)
    # Only I- tags are restricted; none of them may start a text.
    for to, tag in enumerate(tags):
        if tag.startswith("I-"):
            moves[:, to] = [before[2:] == tag[2:] and before != "O" for before in tags] + [False]
    return moves


def best_tags(
    probabilities: Sequence[Sequence[float] | None],
    tags: Sequence[str],
    moves: NDArray[np.bool_] | None,
) -> list[int]:
    """The most probable tag sequence (Viterbi), or each word's most probable tag without ``moves``.

    Args:
        probabilities: A distribution over ``tags`` per word; None for an unseen word, which is "O".
        tags: The tags.
        moves: :func:`allowed_moves` of the tags, or None for unconstrained decoding.

    Returns:
        One index in ``tags`` per word.
    """
    rows = _rows(probabilities, tags)
    return [int(row.argmax()) for row in rows] if moves is None else _likeliest(rows, moves, 1)[0]


def two_best_tags(
    probabilities: Sequence[Sequence[float] | None],
    tags: Sequence[str],
    moves: NDArray[np.bool_] | None,
) -> list[list[int]]:
    """The two most probable tag sequences, best first.

    Args:
        probabilities: A distribution over ``tags`` per word; None for an unseen word, which is "O".
        tags: The tags.
        moves: :func:`allowed_moves` of the tags; None allows every sequence.

    Returns:
        Two sequences of indices in ``tags``, or one if there are no more.
    """
    every = np.ones((len(tags) + 1, len(tags)), dtype=bool)
    return _likeliest(_rows(probabilities, tags), every if moves is None else moves, 2)


def _rows(
    probabilities: Sequence[Sequence[float] | None], tags: Sequence[str]
) -> list[NDArray[np.float64]]:
    # An unseen word is O for certain.
    outside = np.zeros(len(tags))
    outside[list(tags).index("O")] = 1.0
    return [
        np.asarray(row, dtype=np.float64) if row is not None else outside for row in probabilities
    ]


def _likeliest(
    rows: Sequence[NDArray[np.float64]], moves: NDArray[np.bool_], count: int
) -> list[list[int]]:
    """The ``count`` most probable valid sequences, best first, or all of them if fewer.

    Viterbi with the ``count`` best paths per tag. Probabilities are floored at 1e-9.

    Args:
        rows: One distribution per word, [C] each.
        moves: Valid transitions, [C + 1, C].
        count: Number of sequences.
    """
    if not rows:
        return [[]]
    barred, classes = np.where(moves, 0.0, -np.inf), moves.shape[1]
    # score: [paths kept, C], log-probabilities of the best paths to each tag, best first.
    score, back = (barred[-1] + np.log(np.maximum(rows[0], _LEAST)))[None], []
    # Forward: extend every kept path by every valid tag, keep the best per tag.
    for row in rows[1:]:
        through = (score[:, :, None] + barred[:-1]).reshape(-1, classes)
        back.append(np.argsort(-through, axis=0, kind="stable")[:count])
        score = np.take_along_axis(through, back[-1], axis=0) + np.log(np.maximum(row, _LEAST))
    # Backward: follow the pointers from the best ends. An infinite score is no valid path.
    ends = score.ravel()
    paths = []
    for end in np.argsort(-ends, kind="stable")[:count]:
        if np.isinf(ends[end]):
            break
        rank, path = end // classes, [int(end % classes)]
        # Each pointer encodes the rank of the previous path and its tag.
        for step in reversed(back):
            rank, tag = divmod(int(step[rank, path[-1]]), classes)
            path.append(tag)
        paths.append(path[::-1])
    return paths
