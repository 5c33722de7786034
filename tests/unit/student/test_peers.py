"""Two networks in one student (``student.peers=2``): each learns its own way, the mean predicts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers.classification import TASK as TOPICS
from tests.helpers.classification import make_text
from tests.helpers.fitting import Fit, Killed, ScriptedMethod, build, run
from tests.helpers.ner import TYPES, marked
from tests.helpers.tiny_student import tiny_network, tiny_tokenizer
from transformers import AutoModelForSequenceClassification

from tutelage.config.build_student import build_student, new_weights
from tutelage.config.compose import compose_config
from tutelage.data.items import ItemEncoder
from tutelage.errors import DataError, StudentError
from tutelage.records import Row
from tutelage.selectors.dynamics import TrainingDynamics
from tutelage.selectors.protocol import Step, Weighed
from tutelage.selectors.row_selection import EveryRow
from tutelage.student.checkpoint import PEER, new_tagger, save_student
from tutelage.student.epoch_view import epoch_view
from tutelage.student.head_fitting import fit_head
from tutelage.student.inference import load
from tutelage.student.losses.early_learning import EarlyLearningLoss
from tutelage.student.losses.protocol import UnitLoss
from tutelage.student.module import StudentModule
from tutelage.student.network import MeanPooledForSequenceClassification
from tutelage.student.peers import PeerNetworks, mean_logits
from tutelage.student.schedule import RateSchedule
from tutelage.tasks.ner import NerTask
from tutelage.timeline import Timeline

TEXTS = ["animal dune quay", "tool", "food ridge shore tide 42"]


def pair(encoder: Path, pooling: str = "mean", head_dropout: float = 0.0) -> PeerNetworks:
    return PeerNetworks([tiny_network(encoder, pooling, head_dropout, seed) for seed in (1, 2)])


def without_dropout(network: Any) -> Any:
    for part in network.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    return network


def module_of(network: Any, task: Any = TOPICS, loss: Any = None) -> StudentModule:
    return StudentModule(
        network,
        task,
        loss or UnitLoss(),
        RateSchedule(),
        EveryRow(),
        batch_size=4,
        learning_rate=1e-3,
        head_learning_rate=1e-1,
        weight_decay=0.01,
    )


def inputs() -> dict[str, torch.Tensor]:
    batch = tiny_tokenizer()(TEXTS, padding=True, return_tensors="pt")
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


def test_the_prediction_is_the_mean_of_both_distributions(encoder: Path) -> None:
    network = pair(encoder).eval()
    each = [one(**inputs()).logits.softmax(-1) for one in network.networks]
    assert not torch.allclose(*each, atol=1e-3)
    for logits in (network(**inputs()).logits, module_of(network)(inputs())):
        torch.testing.assert_close(logits.softmax(-1), (each[0] + each[1]) / 2)
    alone = network.networks[0](**inputs()).logits
    assert mean_logits([alone]) is alone


def test_both_heads_have_the_head_s_rate_and_nothing_is_left_out(encoder: Path) -> None:
    network = pair(encoder)
    body, head = module_of(network).configure_optimizers().param_groups
    assert {id(value) for value in head["params"]} == {
        id(value) for one in network.networks for value in one.classifier.parameters()
    }
    assert len(body["params"]) + len(head["params"]) == len(list(network.parameters()))


class Apart(EveryRow):
    """Weights each row by 1 for the first network, and by 0 for the second."""

    def weigh(self, step: Step) -> Weighed:
        each = np.tile([1.0, 0.0], (len(step.ids), 1))
        return replace(super().weigh(step), weights=each.mean(axis=1), peer_weights=each)


@pytest.mark.parametrize("loss", [None, EarlyLearningLoss], ids=["plain", "with a memory"])
def test_each_network_learns_as_if_it_were_alone(tmp_path: Path, encoder: Path, loss: Any) -> None:
    def learnt(name: str, network: Any, **given: Any) -> Any:
        fit = build(
            tmp_path / name,
            encoder,
            ScriptedMethod(1),
            Timeline(2, 2, 0, 0),
            network=without_dropout(network),
            loss=loss and loss(),
            **given,
        )
        return run(fit).module

    both = learnt("both", pair(encoder))
    for number, seed in enumerate((1, 2)):
        alone = learnt(str(seed), tiny_network(encoder, seed=seed))
        for name, value in alone.network.state_dict().items():
            torch.testing.assert_close(both.network.networks[number].state_dict()[name], value)

    first = learnt("first", pair(encoder), selector=Apart())
    assert first.steps == both.steps
    for number, same in ((0, both.network), (1, pair(encoder))):
        for name, value in same.networks[number].state_dict().items():
            torch.testing.assert_close(first.network.networks[number].state_dict()[name], value)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Fit:
    """The run that nothing disturbed."""
    return dynamics(tmp_path_factory.mktemp("whole"), encoder)


def dynamics(folder: Path, encoder: Path, resume: bool = False, **given: Any) -> Fit:
    fit = build(
        folder,
        encoder,
        ScriptedMethod(2),
        network=pair(encoder, head_dropout=0.1),
        selector=TrainingDynamics(),
        loss=EarlyLearningLoss(),
        window="all",
        resume=resume,
        **given,
    )
    return run(fit, resume=resume)


@pytest.mark.parametrize("explode_at", [3, 4, 6])
def test_a_killed_run_ends_with_the_same_two_networks(
    whole: Fit, tmp_path: Path, encoder: Path, explode_at: int
) -> None:
    with pytest.raises(Killed):
        dynamics(tmp_path, encoder, explode_at=explode_at)
    resumed = dynamics(tmp_path, encoder, resume=True)
    assert resumed.pool.digest() == whole.pool.digest()
    assert resumed.numbers() == whole.numbers()
    assert resumed.lines("selection.jsonl") == whole.lines("selection.jsonl")
    ours, theirs = resumed.module.network.state_dict(), whole.module.network.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_the_two_networks_come_apart_and_weigh_rows_for_each_other(whole: Fit) -> None:
    first, second = whole.module.network.networks
    assert not torch.equal(first.classifier.weight, second.classifier.weight)
    past = whole.module.selector.state_dict()["past"]
    assert any(one[0][1] != one[1][1] for one in past.values())
    assert {len(one) for one in past.values()} == {2}
    weights = [
        weight for line in whole.lines("selection.jsonl") for weight in line["rows"].values()
    ]
    assert min(weights) < 1


@pytest.mark.parametrize("kind", ["texts", "words"])
def test_the_losses_of_each_network_are_those_it_has_alone(encoder: Path, kind: str) -> None:
    if kind == "texts":
        task: Any = TOPICS
        network = pair(encoder, head_dropout=0.5)
        targets = [(make_text(name, 7), name) for name in ("Animal", "Tool", "Food")]
    else:
        task = NerTask(TYPES)
        heads = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            heads.append(new_tagger(str(encoder), task.outputs))
        network = PeerNetworks(heads)
        given = (
            marked("amber birch met cedar", {"amber birch": "PER"}),
            marked("nothing was said"),
        )
        targets = [(one.text, str(one.label)) for one in given]
    rows = [
        Row(f"r{number}", text, target, "pool", 0, True)
        for number, (text, target) in enumerate(targets)
    ]
    items = ItemEncoder(task, tiny_tokenizer(), 32)

    def losses(one: Any, *needs: str) -> Any:
        return epoch_view(module_of(one, task), items.encode(rows), items.collate, needs={*needs})

    both = losses(network, "epoch", "peers")
    alone = [losses(one, "epoch", "peers") for one in network.networks]
    assert both.peer_losses is not None
    for number, one in enumerate(alone):
        assert one.peer_losses is None
        np.testing.assert_allclose(both.peer_losses[:, number], one.losses, rtol=1e-5)
    assert not np.allclose(both.peer_losses[:, 0], both.peer_losses[:, 1])
    plain = losses(network, "epoch")
    assert plain.peer_losses is None
    np.testing.assert_allclose(both.losses, plain.losses, rtol=1e-5)


def test_each_head_is_fitted_to_its_own_encoder(encoder: Path) -> None:
    names = ("Animal", "Tool", "Food", "Animal", "Tool", "Food")
    rows = [Row(f"r{n}", make_text(name, n), name, "pool", 0, True) for n, name in enumerate(names)]
    items = ItemEncoder(TOPICS, tiny_tokenizer(), 32)
    batches = [items.collate(enumerate(items.encode(rows)))]
    network, alone = pair(encoder), [tiny_network(encoder, seed=seed) for seed in (1, 2)]
    for other in (network.networks[1], alone[1]):
        with torch.no_grad():
            other.encoder.embeddings.word_embeddings.weight.mul_(2.0)
    for one in (network, *alone):
        fit_head(module_of(one), batches)
    heads = [one.classifier.weight for one in network.networks]
    assert not torch.allclose(*heads)
    for head, one in zip(heads, alone, strict=True):
        torch.testing.assert_close(head, one.classifier.weight)


@pytest.fixture
def saved(encoder: Path, tmp_path: Path) -> tuple[Path, PeerNetworks]:
    network = pair(encoder, "first").eval()
    save_student(tmp_path / "student", network, tiny_tokenizer(), 33)
    return tmp_path / "student", network


def test_there_and_back_and_each_with_plain_transformers(saved: tuple[Path, PeerNetworks]) -> None:
    folder, network = saved
    student = load(folder)
    assert isinstance(student.network, PeerNetworks)
    assert not student.network.training
    assert student.max_length == 33
    wanted = network(**inputs()).logits.softmax(-1).tolist()
    for record, row in zip(student.predict(TEXTS), wanted, strict=True):
        assert list(record["probabilities"].values()) == pytest.approx(row, abs=1e-4)
    for own, one in zip((folder, folder / PEER), network.networks, strict=True):
        plain = AutoModelForSequenceClassification.from_pretrained(own).eval()
        assert torch.equal(plain(**inputs()).logits, one(**inputs()).logits)


def test_mean_pooled_and_token_students_have_their_peers_too(encoder: Path, tmp_path: Path) -> None:
    save_student(tmp_path / "mean", pair(encoder), tiny_tokenizer(), 33)
    assert all(
        isinstance(one, MeanPooledForSequenceClassification)
        for one in load(tmp_path / "mean").network.networks
    )
    heads = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        heads.append(new_tagger(str(encoder), NerTask(TYPES).outputs))
    save_student(tmp_path / "tags", PeerNetworks(heads), tiny_tokenizer(), 33)
    found = load(tmp_path / "tags").predict(TEXTS)
    assert [sorted(record) for record in found] == [["entities", "text"]] * 3


def change(path: Path, **values: Any) -> None:
    found = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**found, **values}), encoding="utf-8")


SPOILT: dict[str, tuple[Callable[[Path], Any], type[Exception], str]] = {
    "the second is gone": (lambda folder: shutil.rmtree(folder / PEER), DataError, "no config"),
    "three": (
        lambda folder: change(folder / "tutelage.json", peers=3),
        StudentError,
        "peers is 3 and neither 1 nor 2",
    ),
    "true": (
        lambda folder: change(folder / "tutelage.json", peers=True),
        StudentError,
        "peers is True",
    ),
    "other classes": (
        lambda folder: change(
            folder / PEER / "config.json", id2label={"0": "Tool", "1": "Animal", "2": "Food"}
        ),
        StudentError,
        "its peer/ folder has other classes",
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_half_a_student_is_an_error(saved: tuple[Path, PeerNetworks], what: str) -> None:
    spoil, error, message = SPOILT[what]
    spoil(saved[0])
    with pytest.raises(error, match=message):
        load(saved[0])


def test_a_student_of_two_begins_with_the_one_it_would_be_and_another_head(encoder: Path) -> None:
    def built(peers: int) -> tuple[Any, Any]:
        config = compose_config([f"student.model={encoder}", f"student.peers={peers}", "seed=3"])
        module, _ = build_student(config, TOPICS)
        return module.network, new_weights(config, TOPICS)

    (single, _), (both, weights) = built(1), built(2)
    first, second = both.networks
    assert both.training
    assert torch.equal(first.classifier.weight, single.classifier.weight)
    assert not torch.equal(first.classifier.weight, second.classifier.weight)
    for name, value in first.encoder.state_dict().items():
        assert torch.equal(second.encoder.state_dict()[name], value)
    assert all(torch.equal(value, weights[name]) for name, value in both.state_dict().items())
