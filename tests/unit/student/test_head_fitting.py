"""With student.head=fitted, a regression on the encoder's features replaces the head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tests.helpers.classification import NAMES, make_text
from tests.helpers.classification import TASK as TOPICS
from tests.helpers.ner import TYPES, marked
from tests.helpers.tiny_student import tiny_network, tiny_tokenizer, untaught
from transformers import GPT2Config, GPT2ForSequenceClassification

from tutelage.data.items import ItemEncoder
from tutelage.errors import StudentError
from tutelage.records import Row
from tutelage.student.checkpoint import new_tagger
from tutelage.student.head_fitting import STRENGTH, fit_head
from tutelage.student.module import StudentModule
from tutelage.tasks.ner import NerTask

TAGS = NerTask(TYPES)


def topics(count: int, weights: Sequence[float] = (1.0,)) -> list[Row]:
    return [
        Row(
            f"r{n}",
            f"{make_text(NAMES[n % 3], n)} {'tide ' * (n % 4)}".strip(),
            NAMES[n % 3],
            "pool",
            0,
            True,
            weight=weights[n % len(weights)],
        )
        for n in range(count)
    ]


def batches_of(task: Any, rows: Sequence[Row], size: int = 5) -> list[Any]:
    encoder = ItemEncoder(task, tiny_tokenizer(), 32)
    items = list(enumerate(encoder.encode(rows)))
    return [encoder.collate(items[at : at + size]) for at in range(0, len(items), size)]


def features(module: StudentModule, batches: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
    """Features, classes and weights of the units, one text or word at a time."""
    found: list[Any] = []
    with torch.no_grad():
        module.eval()
        for batch in batches:
            for row in range(len(batch["index"])):
                width = int(batch["attention_mask"][row].sum())
                ids = batch["input_ids"][row : row + 1, :width]
                states = module.network.base_model(input_ids=ids).last_hidden_state[0]
                if batch["targets"].ndim == 2:
                    mean = states.mean(0)
                    if module.network.config.normalize:
                        mean = mean / mean.norm()
                    units = [(mean, batch["targets"][row], batch["weights"][row])]
                else:
                    units = [
                        (states[at], batch["targets"][row, at], batch["weights"][row, at])
                        for at in range(width)
                        if batch["weights"][row, at] > 0
                    ]
                found += [(x.numpy(), int(t.argmax()), float(w)) for x, t, w in units]
        module.train()
    return [np.array(part) for part in zip(*found, strict=True)]


def assert_like_scikit_learn(module: StudentModule, batches: Sequence[Any]) -> None:
    x, y, w = features(module, batches)
    x = x / np.linalg.norm(x, axis=1).mean()
    slow = LogisticRegression(C=STRENGTH, max_iter=5000, tol=1e-8).fit(x, y, sample_weight=w)
    before = {name: value.clone() for name, value in module.network.base_model.state_dict().items()}

    fit_head(module, batches)

    scale = np.linalg.norm(features(module, batches)[0], axis=1).mean()
    head = module.network.classifier
    logits = torch.from_numpy(x * scale).float() @ head.weight.detach().T + head.bias.detach()
    probabilities = logits.softmax(-1).numpy()
    np.testing.assert_allclose(probabilities[:, slow.classes_], slow.predict_proba(x), atol=2e-3)
    assert all(
        torch.equal(before[name], value)
        for name, value in module.network.base_model.state_dict().items()
    )
    assert module.network.training


@pytest.mark.parametrize("pooling", ["mean", "normalized_mean"])
@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.25, 3.0, 0.0)])
def test_of_texts_it_is_the_regression_of_scikit_learn(
    encoder: Path, pooling: str, weights: tuple[float, ...]
) -> None:
    rows = [row for row in topics(16, weights) if row.weight]
    module = untaught(tiny_network(encoder, pooling, head_dropout=0.5), TOPICS)
    assert_like_scikit_learn(module, batches_of(TOPICS, rows))


def test_of_words_it_reads_the_first_token_of_each(encoder: Path) -> None:
    texts = [
        marked("amber birch met cedar at dune", {"amber birch": "PER", "dune": "LOC"}),
        marked("the ember grove club left fjord", {"ember grove club": "ORG", "fjord": "LOC"}),
        marked("nothing was said of it"),
    ]
    rows = [Row(one.id, one.text, str(one.label), "pool", 0, True) for one in texts]
    torch.manual_seed(1)
    module = untaught(new_tagger(str(encoder), TAGS.outputs), TAGS)
    assert_like_scikit_learn(module, batches_of(TAGS, rows, 2))


def test_a_class_without_rows_is_left_out_of_the_predictions(encoder: Path) -> None:
    module = untaught(tiny_network(encoder, "normalized_mean"), TOPICS)
    rows = [row for row in topics(12) if row.target != NAMES[1]]
    batches = batches_of(TOPICS, rows)
    fit_head(module, batches)
    with torch.no_grad():
        shares = torch.cat([module.eval()(batch).softmax(-1) for batch in batches])
    assert float(shares[:, 1].max()) < float(shares[:, [0, 2]].min())


def test_rows_of_weight_0_change_nothing(encoder: Path) -> None:
    module = untaught(tiny_network(encoder), TOPICS)
    before = module.network.classifier.weight.clone()
    fit_head(module, batches_of(TOPICS, topics(6, (0.0,))))
    assert torch.equal(before, module.network.classifier.weight)


def test_a_network_without_a_linear_head_is_refused(encoder: Path) -> None:
    network = tiny_network(encoder)
    network.classifier = torch.nn.Identity()
    with pytest.raises(StudentError, match=r"Give student.head=trained"):
        fit_head(untaught(network, TOPICS), batches_of(TOPICS, topics(3)))


def test_a_head_that_reads_every_token_of_a_text_is_refused() -> None:
    config = GPT2Config(
        vocab_size=len(tiny_tokenizer()),
        n_layer=1,
        n_head=2,
        n_embd=16,
        n_positions=64,
        num_labels=3,
        pad_token_id=0,
    )
    module = untaught(GPT2ForSequenceClassification(config), TOPICS)
    with pytest.raises(StudentError, match=r"Give student.head=trained, or student.pooling=mean"):
        fit_head(module, batches_of(TOPICS, topics(3)))


def test_a_head_without_offsets_does_without_them(encoder: Path) -> None:
    network = tiny_network(encoder, "normalized_mean")
    network.classifier = torch.nn.Linear(16, 3, bias=False)
    module = untaught(network, TOPICS)
    batches = batches_of(TOPICS, topics(12))
    x, y, _ = features(module, batches)
    slow = LogisticRegression(C=STRENGTH, max_iter=5000, tol=1e-8, fit_intercept=False).fit(x, y)
    fit_head(module, batches)
    found = torch.from_numpy(x).float() @ network.classifier.weight.detach().T
    np.testing.assert_allclose(found.softmax(-1).numpy(), slow.predict_proba(x), atol=2e-3)


def test_nothing_to_fit_changes_nothing(encoder: Path) -> None:
    module = untaught(tiny_network(encoder), TOPICS)
    before = module.network.classifier.weight.clone()
    fit_head(module, [])
    assert torch.equal(before, module.network.classifier.weight)
