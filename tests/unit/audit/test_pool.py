"""Suspects among the teacher's labels: which rows, in which order, and what is counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.helpers.classification import NAMES, make_text
from tests.helpers.classification import TASK as TOPICS
from tests.helpers.ner import TYPES, marked
from tests.helpers.tiny_student import tiny_tokenizer

from tutelage.audit.pool import audit_pool
from tutelage.data.items import ItemEncoder
from tutelage.records import Row
from tutelage.tasks.ner import NerTask

TAGS = NerTask(TYPES)


def topic(number: int, name: str) -> Row:
    return Row(f"r{number}", make_text(name, number), name, "pool", 0, True)


def share(name: str, value: float) -> NDArray[Any]:
    """A text's distribution, with ``value`` on a class and the rest on the others."""
    rest = (1 - value) / (len(NAMES) - 1)
    return np.array([[value if one == name else rest for one in NAMES]])


@pytest.fixture
def mixed() -> tuple[list[Row], list[NDArray[Any] | None]]:
    """Six rows of the first class, two of which are of the second, and four of the second."""
    first, second = NAMES[:2]
    rows = [topic(n, first) for n in range(6)] + [topic(n, second) for n in range(6, 10)]
    found: list[NDArray[Any] | None] = [share(first, 0.9) for _ in range(4)]
    found += [share(second, 0.97), share(second, 0.94), *(share(second, 0.92) for _ in range(4))]
    return rows, found


def test_as_many_rows_as_are_expected_are_suspects_least_probable_first(
    mixed: tuple[list[Row], list[NDArray[Any] | None]],
) -> None:
    rows, found = mixed
    items = ItemEncoder(TOPICS, tiny_tokenizer(), 32).encode(rows)
    gold = {rows[4].id: replace(rows[4], target=NAMES[1]), rows[5].id: rows[5], rows[0].id: rows[0]}
    suspects, classes, split = audit_pool(TOPICS, rows, items, found, gold)
    assert [(one.id, one.label, one.suggested) for one in suspects] == [
        ("r4", NAMES[0], NAMES[1]),
        ("r5", NAMES[0], NAMES[1]),
    ]
    assert suspects[0].probability == pytest.approx(0.03 / (len(NAMES) - 1), abs=1e-6)
    assert f"{NAMES[1]} with 0.97" in suspects[0].why
    assert (split.texts, split.suspects, split.known, split.wrong) == (10, 2, 2, 1)
    assert [(one.name, one.units, one.expected, one.known, one.wrong) for one in classes] == [
        (NAMES[0], 6, 2.0, 3, 1),
        (NAMES[1], 4, 0.0, 0, 0),
    ]


def test_a_row_that_was_not_judged_is_neither_counted_nor_a_suspect(
    mixed: tuple[list[Row], list[NDArray[Any] | None]],
) -> None:
    rows, found = mixed
    found[4] = None
    items = ItemEncoder(TOPICS, tiny_tokenizer(), 32).encode(rows)
    suspects, classes, split = audit_pool(TOPICS, rows, items, found, {})
    assert [one.id for one in suspects] == ["r5"]
    assert (split.texts, classes[0].units) == (9, 5)


def test_nothing_judged_is_nothing_suspected() -> None:
    rows = [topic(0, NAMES[0])]
    items = ItemEncoder(TOPICS, tiny_tokenizer(), 32).encode(rows)
    suspects, classes, split = audit_pool(TOPICS, rows, items, [None], {})
    assert (suspects, classes, split.texts, split.suspects) == ([], [], 0, 0)


def words(row: Row, **beliefs: str) -> NDArray[Any]:
    """Distributions over the tags: the row's own with 0.9, or another one for the words named."""
    outputs = TAGS.outputs
    found = []
    for word, vector in zip(row.text.split(" "), TAGS.target_vectors(row), strict=True):
        tag = beliefs.get(word, outputs[int(np.argmax(vector))])
        value = 0.99 if word in beliefs else 0.9
        rest = (1 - value) / (len(outputs) - 1)
        found.append([value if one == tag else rest for one in outputs])
    return np.array(found)


def test_an_entity_row_is_ranked_by_its_least_probable_word() -> None:
    examples = [
        marked("amber birch met cedar at dune", {"amber birch": "PER", "dune": "LOC"}),
        marked("amber birch left dune", {"amber birch": "PER", "dune": "LOC"}),
        marked("amber birch saw heath", {"amber birch": "PER"}),
    ]
    rows = [Row(one.id, one.text, str(one.label), "pool", 0, True) for one in examples]
    items = ItemEncoder(TAGS, tiny_tokenizer(), 32).encode(rows)
    found = [words(rows[0]), words(rows[1]), words(rows[2], heath="B-LOC")]
    right = marked(rows[2].text, {"amber birch": "PER", "heath": "LOC"})
    gold = {rows[2].id: replace(rows[2], target=str(right.label)), rows[0].id: rows[0]}
    (suspect,), classes, split = audit_pool(TAGS, rows, items, found, gold)
    assert (suspect.id, suspect.suggested) == (rows[2].id, right.label)
    assert suspect.why.startswith("“heath”: ")
    assert (split.known, split.wrong) == (1, 1)
    by_name = {one.name: one for one in classes}
    assert set(by_name) == {"PER", "LOC", "O"}
    assert (by_name["PER"].units, by_name["PER"].expected, by_name["PER"].wrong) == (6, 0.0, 0)
    # Of "met cedar at", "left" and "saw heath" one word is a place.
    assert (by_name["O"].units, by_name["O"].known, by_name["O"].wrong) == (6, 5, 1)
    assert by_name["O"].expected == pytest.approx(1.0)


def test_words_that_were_cut_off_keep_their_label_in_what_is_suggested() -> None:
    one = marked("amber met cedar birch dune", {"amber": "PER", "dune": "LOC"})
    rows = [Row(f"r{n}", one.text, str(one.label), "pool", 0, True) for n in range(4)]
    rows += [
        Row(f"p{n}", "dune met", str(marked("dune met", {"dune": "LOC"}).label), "pool", 0, True)
        for n in range(2)
    ]
    items = ItemEncoder(TAGS, tiny_tokenizer(), 5).encode(rows)
    seen = sum(at >= 0 for at in items[0].indices)
    assert 0 < seen < 5, "the last word is cut off"
    beliefs = [{"amber": "B-LOC"}, *({} for _ in rows[1:])]
    found = [
        words(row, **belief)[: sum(at >= 0 for at in item.indices)]
        for row, item, belief in zip(rows, items, beliefs, strict=True)
    ]
    (suspect,), _, _ = audit_pool(TAGS, rows, items, found, {})
    assert suspect.id == "r0"
    assert suspect.suggested == marked(one.text, {"amber": "LOC", "dune": "LOC"}).label
