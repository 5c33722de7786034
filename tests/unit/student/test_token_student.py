"""The token-level student: it learns NER, and its folder is an ordinary token classifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.fitting import Fit, ScriptedMethod, build, run
from tests.helpers.ner import TYPES, marked
from tests.helpers.tiny_student import tiny_tokenizer

from tutelage.data.items import ItemEncoder
from tutelage.predict import predict
from tutelage.records import Row
from tutelage.selectors.row_selection import EveryRow
from tutelage.student.checkpoint import (
    load_tokenizer,
    new_network,
    new_tagger,
    save_student,
)
from tutelage.student.loading import head_of, load_student
from tutelage.student.losses.protocol import Targets, UnitLoss
from tutelage.student.module import StudentModule
from tutelage.student.schedule import RateSchedule
from tutelage.student.tagging import find_entities
from tutelage.tasks.ner import NerTask
from tutelage.tasks.spans import read_spans
from tutelage.timeline import Timeline

TASK = NerTask(TYPES)
SHOTS = (
    marked("amber birch met cedar at dune", {"amber birch": "PER", "dune": "LOC"}),
    marked("the ember grove club left fjord", {"ember grove club": "ORG", "fjord": "LOC"}),
    marked("nothing was said of it"),
)
LONG = marked(" ".join(["amber birch met cedar at dune"] * 20), {"dune": "LOC"})
"""Longer than the student's maximum length."""


def tagger(encoder: Path, seed: int = 1) -> Any:
    torch.manual_seed(seed)
    return new_tagger(str(encoder), TASK.outputs)


@pytest.fixture(scope="module")
def learnt(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """A student trained on the three sentences for sixty epochs."""
    method = ScriptedMethod(0, shots=SHOTS)
    folder = tmp_path_factory.mktemp("learnt")
    parts: dict[str, Any] = {
        "task": TASK,
        "network": tagger(encoder),
        "dev": (*SHOTS, LONG),
        "test": SHOTS,
    }
    return run(build(folder, encoder, method, Timeline(60, 1, 0, 0), rate=1e-2, **parts))


def test_it_learns_three_marked_sentences(learnt: Fit) -> None:
    (line,) = learnt.lines()
    assert line["fresh"] == {"accuracy": 1.0, "count": 3}
    assert line["train_loss"] < 0.1
    assert line["test"]["f1_strict"] == line["test"]["f1_default"] == 1.0
    assert [
        one.predicted for one in sorted(learnt.module.outcomes["test"], key=lambda one: one.id)
    ] == [shot.label for shot in sorted(SHOTS, key=lambda shot: shot.id)]


def test_an_outcome_has_a_tag_for_each_word_and_one_probability(learnt: Fit) -> None:
    outcomes = {one.id: one for one in learnt.module.outcomes["dev"]}
    assert set(outcomes) == {example.id for example in (*SHOTS, LONG)}
    for one in outcomes.values():
        assert len(one.tags) == len(one.text.split(" "))
        assert set(one.tags) <= set(TASK.outputs)
        (probability,) = one.probabilities
        assert 0.0 < probability <= 1.0
        assert one.correct is (one.predicted == one.target)
    assert outcomes[SHOTS[0].id].tags == ("B-PER", "I-PER", "O", "O", "O", "B-LOC")


def test_words_beyond_the_student_s_length_are_outside(learnt: Fit) -> None:
    (long,) = (one for one in learnt.module.outcomes["dev"] if one.id == LONG.id)
    assert read_spans(long.predicted), "the beginning is read"
    assert not long.correct
    assert set(long.tags[40:]) == {"O"}


class Numbered(UnitLoss):
    """The losses 1, 2, 3 … in the order of the batch's tokens."""

    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        return torch.arange(1.0, targets.weights.numel() + 1).view(targets.weights.shape)


def test_words_of_their_own_weight_are_averaged_with_the_selector_s_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = NerTask(TYPES, word_weights="confidence")
    encoder = ItemEncoder(task, tiny_tokenizer(["amber", "birch", "met"]), 8)
    shot = marked("amber birch met", {"amber birch": "PER"})
    rows = [
        Row(id, shot.text, str(shot.label), "hard", 1, True, entity_confidence=(sure,))
        for id, sure in (("a", 0.5), ("b", 0.25), ("c", 1))
    ]
    items = encoder.encode(rows)
    batch: Any = encoder.collate(enumerate(items))
    assert batch["weights"].tolist() == [
        [0, 0.5, 0.5, 1, 0],
        [0, 0.25, 0.25, 1, 0],
        [0, 1, 1, 1, 0],
    ]
    selector = EveryRow()
    module = StudentModule(
        torch.nn.Identity(),
        task,
        Numbered(),
        RateSchedule(),
        selector,
        batch_size=3,
        learning_rate=1.0,
        head_learning_rate=1.0,
        weight_decay=0.0,
    )
    monkeypatch.setattr(module, "_items", lambda name, index: items)
    # Words are tokens 2 to 4 of row a, 7 to 9 of b; c is left out, and b counts twice.
    summed = 0.5 * (2 + 3) + 4 + 2 * (0.25 * (7 + 8) + 9)
    for normaliser, divisor in (
        ("weights", 2 + 2 * 1.5),
        ("kept", 2 + 1.5),
        ("batch", 2 + 1.5 + 3),
    ):
        monkeypatch.setattr(selector, "normaliser", normaliser)
        logits, rows = torch.zeros(3, 5, len(task.outputs)), torch.tensor([1.0, 2.0, 0.0])
        mean = module._step_loss(batch, [(logits, None)], rows[:, None], 0.0)
        torch.testing.assert_close(mean, torch.tensor(summed / divisor))


def test_the_head_has_its_own_rate_and_nothing_is_left_out(encoder: Path) -> None:
    network = tagger(encoder)
    module = StudentModule(
        network,
        TASK,
        UnitLoss(),
        RateSchedule(),
        EveryRow(),
        batch_size=4,
        learning_rate=1e-3,
        head_learning_rate=1e-1,
        weight_decay=0.01,
    )
    body, head = module.configure_optimizers().param_groups
    assert (body["lr"], head["lr"]) == (1e-3, 1e-1)
    assert {id(value) for value in head["params"]} == {
        id(value) for value in network.classifier.parameters()
    }
    assert len(body["params"]) + len(head["params"]) == len(list(network.parameters()))


def test_the_head_starts_from_the_seed(encoder: Path) -> None:
    first, same, other = (tagger(encoder, seed).classifier.weight for seed in (3, 3, 4))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.fixture
def saved(learnt: Fit, encoder: Path, tmp_path: Path) -> Path:
    save_student(tmp_path / "student", learnt.module.network, load_tokenizer(str(encoder)), 32)
    return tmp_path / "student"


def test_there_and_back_it_predicts_the_same(learnt: Fit, saved: Path, tmp_path: Path) -> None:
    network, tokenizer, max_length = load_student(saved)
    assert (max_length, network.training) == (32, False)
    for name, value in learnt.module.network.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name
    texts = [shot.text for shot in SHOTS]
    assert tokenizer(texts)["input_ids"] == tiny_tokenizer()(texts)["input_ids"]
    assert predict(tmp_path, texts, None, tmp_path / "said.jsonl") == 0
    predicted = [
        json.loads(line)
        for line in (tmp_path / "said.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    for record, shot in zip(predicted, SHOTS, strict=True):
        words = shot.text.split(" ")
        expected = [
            (" ".join(words[span.start : span.end]), span.type)
            for span in read_spans(shot.label or "")
        ]
        assert [(entity["text"], entity["label"]) for entity in record["entities"]] == expected


def test_the_folder_is_a_plain_token_classification_model(learnt: Fit, saved: Path) -> None:
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    config = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    assert head_of(config) == "token"
    assert config["architectures"] == ["BertForTokenClassification"]
    assert "auto_map" not in config
    assert not list(saved.glob("*.py"))
    network, tokenizer = (
        AutoModelForTokenClassification.from_pretrained(saved).eval(),
        AutoTokenizer.from_pretrained(saved),
    )
    assert [network.config.id2label[index] for index in range(len(TASK.outputs))] == list(
        TASK.outputs
    )
    words = SHOTS[0].text.split(" ")
    batch = tokenizer([words], is_split_into_words=True, return_tensors="pt")
    with torch.no_grad():
        best = (
            network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            .logits[0]
            .argmax(-1)
            .tolist()
        )
    indices = [batch.word_ids(0).index(word) for word in range(len(words))]
    assert [network.config.id2label[best[index]] for index in indices] == [
        "B-PER",
        "I-PER",
        "O",
        "O",
        "O",
        "B-LOC",
    ]


def test_tags_are_constrained_as_the_run_s_were(encoder: Path) -> None:
    """A head predicting I-PER for every word, with which no entity may begin."""
    tokenizer = load_tokenizer(str(encoder), head="token")
    found = {}
    for constrained in (True, False):
        task = NerTask(TASK.labels, constrained=constrained)
        network = new_network(
            task.head,
            str(encoder),
            task.outputs,
            pooling="mean",
            head_dropout=0.0,
            saved=task.student_settings,
        ).eval()
        with torch.no_grad():
            network.classifier.weight.zero_()
            network.classifier.bias.copy_(
                torch.tensor(
                    [5.0 * (name == "I-PER") + 1.0 * (name == "B-PER") for name in TASK.outputs]
                )
            )
        (found[constrained],) = find_entities(network, tokenizer, 32, [SHOTS[0].text])
    assert found[False]["entities"] == [], "strictly read, I- without B- is nothing"
    assert [entity["label"] for entity in found[True]["entities"]] == ["PER"], (
        "constrained, the whole text is one name"
    )
