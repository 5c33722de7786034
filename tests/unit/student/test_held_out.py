"""The held-out confidence of labels, against a slow cross-validation with scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from tests.helpers.classification import NAMES, make_text
from tests.helpers.classification import TASK as TOPICS
from tests.helpers.ner import TYPES, marked
from tests.helpers.tiny_student import tiny_network, tiny_tokenizer, untaught

from tutelage.data.items import Item, ItemEncoder
from tutelage.records import Row
from tutelage.student.checkpoint import new_tagger
from tutelage.student.head_fitting import STRENGTH
from tutelage.student.held_out import _SEED, FOLDS, HeldOut
from tutelage.student.module import StudentModule
from tutelage.tasks.ner import NerTask

TAGS = NerTask(TYPES)
NAMED = [
    marked("amber birch met cedar at dune", {"amber birch": "PER", "dune": "LOC"}),
    marked("the ember grove club left fjord", {"ember grove club": "ORG", "fjord": "LOC"}),
    marked("nothing was said of it"),
    marked("cedar grove saw heath", {"cedar grove": "PER", "heath": "LOC"}),
    marked("amber birch left dune", {"amber birch": "PER", "dune": "LOC"}),
    marked("the islet club met cedar", {"islet club": "ORG", "cedar": "PER"}),
    marked("marsh saw the pier"),
]


def topics(count: int) -> list[Row]:
    return [
        Row(f"r{n}", make_text(NAMES[n % 3], n), NAMES[n % 3], "pool", 0, True)
        for n in range(count)
    ]


def slow_features(module: StudentModule, item: Item) -> list[np.ndarray[Any, Any]]:
    """One vector of length 1 for the text, or for each visible word."""
    module.eval()
    with torch.no_grad():
        states = module.network.base_model(
            input_ids=torch.tensor([item.token_ids])
        ).last_hidden_state[0]
    module.train()
    found = [states[at] for at in item.indices] if len(item.indices) > 1 else [states.mean(0)]
    return [(one / one.norm()).numpy() for one in found]


def slow(module: StudentModule, items: Sequence[Item]) -> np.ndarray[Any, Any]:
    """Each fold is scored by scikit-learn's regression on all other rows, word by word."""
    judged = [n for n, item in enumerate(items) if not item.gold]
    shuffled = np.random.default_rng(_SEED).permutation(judged)
    found = np.full(len(items), np.nan)
    for fold in range(FOLDS):
        held = list(shuffled[fold::FOLDS])
        rest = [item for n, item in enumerate(items) if n not in held]
        x = [vector for item in rest for vector in slow_features(module, item)]
        y = [int(np.argmax(vector)) for item in rest for vector in item.vectors]
        model = LogisticRegression(C=STRENGTH, max_iter=5000, tol=1e-8).fit(np.array(x), y)
        for n in held:
            shares = model.predict_proba(np.array(slow_features(module, items[n])))
            classes = [int(np.argmax(vector)) for vector in items[n].vectors]
            found[n] = min(
                float(share[list(model.classes_).index(one)]) if one in model.classes_ else 0.0
                for share, one in zip(shares, classes, strict=True)
            )
    return found


def test_of_texts_it_is_the_cross_validation_of_scikit_learn(encoder: Path) -> None:
    module = untaught(tiny_network(encoder), TOPICS)
    reader = ItemEncoder(TOPICS, tiny_tokenizer(), 32)
    rows = topics(14)
    rows[3] = replace(rows[3], source="gold")
    items = reader.encode(rows)
    found = HeldOut(lambda: module).confidence(items, reader.collate)
    np.testing.assert_allclose(found, slow(module, items), atol=2e-3)
    assert np.isnan(found[3])


def test_of_words_a_row_has_the_score_of_its_least_probable_one(encoder: Path) -> None:
    torch.manual_seed(1)
    module = untaught(new_tagger(str(encoder), TAGS.outputs), TAGS)
    reader = ItemEncoder(TAGS, tiny_tokenizer(), 32)
    items = reader.encode([Row(x.id, x.text, str(x.label), "pool", 0, True) for x in NAMED])
    found = HeldOut(lambda: module).confidence(items, reader.collate)
    np.testing.assert_allclose(found, slow(module, items), atol=5e-3)


def test_a_wrong_label_scores_below_the_right_ones_of_its_class(encoder: Path) -> None:
    module = untaught(tiny_network(encoder), TOPICS)
    reader = ItemEncoder(TOPICS, tiny_tokenizer(), 32)
    words = ("amber birch cedar", "pier quay ridge", "tide vale wharf")
    rows = [replace(row, text=f"{words[n % 3]} {n}") for n, row in enumerate(topics(30))]
    rows[4] = replace(rows[4], target=NAMES[2])
    scores = HeldOut(lambda: module).confidence(reader.encode(rows), reader.collate)
    same = [n for n, row in enumerate(rows) if row.target == NAMES[2]]
    assert same[int(np.argmin(scores[same]))] == 4


def test_the_encoder_reads_a_row_once_and_a_new_label_is_scored_anew(encoder: Path) -> None:
    built: list[StudentModule] = []
    passes: list[int] = []

    def untrained() -> StudentModule:
        module = untaught(tiny_network(encoder), TOPICS)
        module.network.base_model.register_forward_hook(
            lambda _module, _inputs, output: passes.append(len(output.last_hidden_state))
        )
        built.append(module)
        return module

    reader = ItemEncoder(TOPICS, tiny_tokenizer(), 32)
    scorer, rows = HeldOut(untrained), topics(12)
    first = scorer.confidence(reader.encode(rows[:9]), reader.collate)
    again = scorer.confidence(reader.encode(rows[:9]), reader.collate)
    np.testing.assert_array_equal(first, again)
    relabelled = [replace(rows[0], target=NAMES[1]), *rows[1:]]
    other = scorer.confidence(reader.encode(relabelled), reader.collate)
    assert (len(built), passes) == (1, [9, 3])
    assert other[0] != first[0]


def test_the_score_is_the_least_of_the_row_s_own_distributions(encoder: Path) -> None:
    torch.manual_seed(1)
    module = untaught(new_tagger(str(encoder), TAGS.outputs), TAGS)
    reader = ItemEncoder(TAGS, tiny_tokenizer(), 9)
    rows = [Row(x.id, x.text, str(x.label), "pool", 0, True) for x in NAMED]
    items = reader.encode([replace(rows[0], source="gold"), *rows[1:]])
    scorer = HeldOut(lambda: module)
    gold, *others = scorer.distributions(items, reader.collate)
    scores = scorer.confidence(items, reader.collate)
    assert gold is None
    cut = sum(at < 0 for item in items for at in item.indices)
    assert cut > 0, "some words are beyond what the student reads"
    for item, found, score in zip(items[1:], others, scores[1:], strict=True):
        assert found is not None
        seen = [n for n, at in enumerate(item.indices) if at >= 0]
        assert found.shape == (len(seen), len(TAGS.outputs))
        np.testing.assert_allclose(found.sum(axis=1), 1.0)
        own = [found[place] @ np.array(item.vectors[n]) for place, n in enumerate(seen)]
        assert min(own) == score


def test_a_row_is_confirmed_where_scikit_learn_s_regression_on_the_gold_rows_agrees(
    encoder: Path,
) -> None:
    torch.manual_seed(1)
    tagger = untaught(new_tagger(str(encoder), TAGS.outputs), TAGS)
    named = [Row(x.id, x.text, str(x.label), "pool", 0, True) for x in NAMED]
    for module, task, rows in (
        (untaught(tiny_network(encoder), TOPICS), TOPICS, topics(30)),
        (tagger, TAGS, named),
    ):
        reader = ItemEncoder(task, tiny_tokenizer(), 32)
        rows = [replace(row, source="gold") if n < 3 else row for n, row in enumerate(rows)]
        items = reader.encode(rows)
        model = LogisticRegression(C=STRENGTH, max_iter=5000, tol=1e-8).fit(
            np.array([vector for item in items[:3] for vector in slow_features(module, item)]),
            [int(np.argmax(vector)) for item in items[:3] for vector in item.vectors],
        )
        agreed = [
            bool(
                (
                    model.predict(np.array(slow_features(module, item)))
                    == np.argmax(item.vectors, axis=1)
                ).all()
            )
            for item in items
        ]
        scorer = HeldOut(lambda module=module: module)
        found = scorer.confirmed(items, reader.collate)
        assert found.tolist() == agreed
        # The same rows in a next epoch are not fitted again.
        assert scorer.confirmed(items, reader.collate) is found
        assert 0 < sum(found) < len(items)


def test_without_a_gold_row_nothing_is_confirmed(encoder: Path) -> None:
    reader = ItemEncoder(TOPICS, tiny_tokenizer(), 32)
    scorer = HeldOut(lambda: untaught(tiny_network(encoder), TOPICS))
    assert not scorer.confirmed(reader.encode(topics(4)), reader.collate).any()


def test_without_other_rows_there_is_no_score(encoder: Path) -> None:
    reader = ItemEncoder(TOPICS, tiny_tokenizer(), 32)
    scorer = HeldOut(lambda: untaught(tiny_network(encoder), TOPICS))
    assert np.isnan(scorer.confidence(reader.encode(topics(1)), reader.collate)).all()
    assert len(scorer.confidence([], reader.collate)) == 0
