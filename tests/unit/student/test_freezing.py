"""A frozen encoder keeps the states of each text, and only the head learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.fitting import Fit, Killed, ScriptedMethod, build, run
from tests.helpers.tiny_student import tiny_network, tiny_tokenizer

from tutelage.errors import ConfigError
from tutelage.student.checkpoint import new_tagger
from tutelage.student.freezing import freeze_encoder
from tutelage.student.losses.meta import MetaReweightedLoss
from tutelage.student.losses.protocol import Targets
from tutelage.student.observing import network_and_states
from tutelage.student.peers import PeerNetworks

TEXTS = ["animal dune quay", "tool", "food ridge shore tide 42"]


def inputs(texts: list[str], **options: Any) -> dict[str, torch.Tensor]:
    batch = tiny_tokenizer()(texts, padding=True, return_tensors="pt", **options)
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


def watched(network: Any) -> list[int]:
    """Lengths of the texts that the encoder's first layer reads from now on."""
    read: list[int] = []
    layer = next(part for part in network.base_model.modules() if "Layer" in type(part).__name__)
    layer.register_forward_pre_hook(lambda _, given: read.append(given[0].shape[1]))
    return read


@pytest.mark.parametrize("kind", ["mean", "normalized_mean", "first", "words"])
def test_outputs_are_those_of_the_encoder_and_each_text_is_read_once(
    encoder: Path, kind: str
) -> None:
    torch.manual_seed(1)
    network = (
        new_tagger(str(encoder), ["O", "B-X", "I-X"])
        if kind == "words"
        else tiny_network(encoder, kind)
    ).eval()
    batch, mask = inputs(TEXTS), inputs(TEXTS)["attention_mask"].bool()
    expected, states = network_and_states(network, batch)
    real = mask if kind == "words" else slice(None)

    freeze_encoder(network)
    read = watched(network)
    for _ in range(2):
        logits, kept = network_and_states(network, batch)
        torch.testing.assert_close(logits[real], expected[real])
        torch.testing.assert_close(kept[mask], states[mask])
    assert sorted(read) == sorted(mask.sum(1).tolist())

    # Beside other texts, under more padding: the same numbers to the last bit.
    alone = network_and_states(network, inputs(TEXTS[:1]))[1]
    more = network_and_states(network, inputs(TEXTS[:1], pad_to_multiple_of=32))[1]
    assert torch.equal(more[:, : alone.shape[1]], alone)
    assert not more[:, alone.shape[1] :].any()


def test_tokens_left_out_inside_a_text_make_another_text(encoder: Path) -> None:
    network = tiny_network(encoder).eval()
    batch = inputs(TEXTS[:1])
    holed = {**batch, "attention_mask": batch["attention_mask"].clone()}
    holed["attention_mask"][0, [1, -1]] = 0
    expected, states = network_and_states(network, holed)
    freeze_encoder(network)
    network(**batch)
    logits, kept = network_and_states(network, holed)
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(kept, states)


def test_embeddings_instead_of_ids_are_read_each_time(encoder: Path) -> None:
    network = tiny_network(encoder).eval()
    batch = inputs(TEXTS)
    vectors = network.base_model.get_input_embeddings()(batch["input_ids"])
    given = {"inputs_embeds": vectors, "attention_mask": batch["attention_mask"]}
    expected = network(**given).logits
    freeze_encoder(network)
    torch.testing.assert_close(network(**given).logits, expected)


def test_dropout_inside_the_encoder_is_off_in_training_too(encoder: Path) -> None:
    network = tiny_network(encoder)
    expected = network.eval()(**inputs(TEXTS)).logits
    freeze_encoder(network)
    torch.testing.assert_close(network.train()(**inputs(TEXTS)).logits, expected)


def test_a_loss_that_differentiates_twice_leaves_nothing_behind(encoder: Path) -> None:
    network = tiny_network(encoder)
    freeze_encoder(network)
    targets = Targets(
        torch.eye(3)[: len(TEXTS)],
        torch.eye(3)[: len(TEXTS)],
        torch.zeros(len(TEXTS)),
        torch.ones(len(TEXTS)),
        tuple("abc"),
        0.5,
    )
    factors = [
        MetaReweightedLoss().reweigh(network, inputs(TEXTS), targets, inputs(TEXTS), targets)
        for _ in range(2)
    ]
    assert torch.equal(*factors)
    network(**inputs(TEXTS)).logits.sum().backward()
    assert network.classifier.weight.grad.any()


def test_no_more_memory_than_given_and_the_oldest_text_goes_first(encoder: Path) -> None:
    network = tiny_network(encoder).eval()
    width = network.base_model.config.hidden_size
    first, second, third = (inputs([text]) for text in TEXTS)
    room = (first["input_ids"].shape[1] + third["input_ids"].shape[1]) * width * 4
    pooler = network.base_model.pooler is not None
    freeze_encoder(network, most_bytes=room + 2 * pooler * width * 4)
    read = watched(network)
    for batch in (first, second, first, third, first, second):
        network(**batch)
    # Room for the longest two: the second goes when the third comes, and is read again.
    assert read == [one["input_ids"].shape[1] for one in (first, second, third, second)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Fit:
    return frozen(tmp_path_factory.mktemp("whole"), encoder)


def frozen(folder: Path, encoder: Path, resume: bool = False, **given: Any) -> Fit:
    network = PeerNetworks([tiny_network(encoder, head_dropout=0.1, seed=one) for one in (1, 2)])
    freeze_encoder(network)
    fit = build(
        folder, encoder, ScriptedMethod(2), network=network, window="all", resume=resume, **given
    )
    return run(fit, resume=resume)


def test_only_the_heads_learn(whole: Fit, encoder: Path) -> None:
    for network, seed in zip(whole.module.network.networks, (1, 2), strict=True):
        before = tiny_network(encoder, head_dropout=0.1, seed=seed).state_dict()
        changed = {
            name
            for name, value in network.state_dict().items()
            if not torch.equal(value, before[name])
        }
        assert changed == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize("explode_at", [3, 6])
def test_a_killed_run_ends_with_the_same_student(
    whole: Fit, tmp_path: Path, encoder: Path, explode_at: int
) -> None:
    with pytest.raises(Killed):
        frozen(tmp_path, encoder, explode_at=explode_at)
    resumed = frozen(tmp_path, encoder, resume=True)
    assert resumed.numbers() == whole.numbers()
    ours, theirs = resumed.module.network.state_dict(), whole.module.network.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_a_network_without_an_encoder_of_its_own_is_refused() -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    with pytest.raises(ConfigError, match="BertModel has none"):
        freeze_encoder(BertModel(config))
