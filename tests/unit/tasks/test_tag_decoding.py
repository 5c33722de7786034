"""The best tag sequence, against an enumeration of all valid sequences."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.tasks.spans import strict_tags
from tutelage.tasks.tag_decoding import allowed_moves, best_tags, two_best_tags

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
MOVES = allowed_moves(TAGS)
ROWS = st.lists(
    st.none()
    | st.lists(st.integers(0, 20), min_size=5, max_size=5).map(
        lambda counts: [(n + 0.01) / (sum(counts) + 0.05) for n in counts]
    ),
    max_size=5,
)


def valid(path: tuple[int, ...]) -> bool:
    """Strict reading leaves a valid sequence unchanged."""
    tags = [TAGS[index] for index in path]
    return strict_tags(tags) == tags


def score(path: tuple[int, ...] | list[int], rows: list[list[float] | None]) -> float:
    total = 0.0
    for index, row in zip(path, rows, strict=True):
        total += (
            math.log(row[index]) if row is not None else (0.0 if index == 0 else math.log(1e-9))
        )
    return total


def test_an_inner_tag_follows_its_own_entity_only() -> None:
    allowed = {
        (before, after)
        for i, before in enumerate((*TAGS, ""))
        for j, after in enumerate(TAGS)
        if MOVES[i, j]
    }
    free = {(before, after) for before in (*TAGS, "") for after in ("O", "B-PER", "B-LOC")}
    assert allowed == free | {
        (f"{mark}-{type}", f"I-{type}") for mark in "BI" for type in ("PER", "LOC")
    }


@settings(max_examples=60)
@given(ROWS)
def test_the_best_sequence_is_that_of_brute_force(rows: list[list[float] | None]) -> None:
    found = best_tags(rows, TAGS, MOVES)
    assert len(found) == len(rows)
    assert valid(tuple(found))
    best = max(score(path, rows) for path in product(range(5), repeat=len(rows)) if valid(path))
    assert score(found, rows) == pytest.approx(best)


@given(ROWS)
def test_without_moves_each_word_has_its_own_best_tag(rows: list[list[float] | None]) -> None:
    found = best_tags(rows, TAGS, None)
    assert found == [0 if row is None else row.index(max(row)) for row in rows]
    if valid(tuple(found)) and all(
        row is None or sorted(row)[-1] > sorted(row)[-2] for row in rows
    ):
        assert best_tags(rows, TAGS, MOVES) == found


@settings(max_examples=40)
@given(ROWS.filter(bool), st.booleans())
def test_the_second_sequence_is_that_of_brute_force(
    rows: list[list[float] | None], constrained: bool
) -> None:
    first, second = two_best_tags(rows, TAGS, MOVES if constrained else None)
    assert first != second
    if constrained:
        assert first == best_tags(rows, TAGS, MOVES)
        assert valid(tuple(second))
    every = [
        score(path, rows)
        for path in product(range(5), repeat=len(rows))
        if not constrained or valid(path)
    ]
    assert [score(first, rows), score(second, rows)] == pytest.approx(sorted(every)[:-3:-1])


def test_a_probability_of_nothing_is_survived() -> None:
    assert best_tags([[0.0, 0.0, 1.0, 0.0, 0.0]], TAGS, MOVES) == [0]
    assert best_tags([[0.0, 0.0, 1.0, 0.0, 0.0]], TAGS, None) == [2]
    assert best_tags([[0.0, 0.4, 0.6, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0]], TAGS, MOVES) == [1, 2]
    assert best_tags([None, None], TAGS, MOVES) == [0, 0]
    assert best_tags([], TAGS, MOVES) == []
    assert two_best_tags([], TAGS, MOVES) == [[]]
    assert two_best_tags([[1.0]], ("O",), None) == [[0]]
