"""Students of the families in conf/student, with tiny random encoders of each architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.classification import NAMES, make_text
from tests.helpers.classification import TASK as TOPICS
from tests.helpers.ner import TYPES, marked
from tests.helpers.tiny_student import tiny_tokenizer
from tests.helpers.tokenizer_kinds import byte_level_bpe, hugging_face
from transformers import (
    AutoModel,
    BertConfig,
    DebertaV2Config,
    ModernBertConfig,
    PretrainedConfig,
    RobertaConfig,
)

from tutelage.config.build_student import build_student
from tutelage.config.compose import compose_config
from tutelage.data.items import ItemEncoder
from tutelage.records import Row
from tutelage.student.checkpoint import load_tokenizer, save_student
from tutelage.student.contrastive_start import PairTraining, start_by_pairs
from tutelage.student.head_fitting import fit_head, last_layers
from tutelage.student.loading import load_student
from tutelage.student.observing import logits_and_states
from tutelage.student.schedule import RateSchedule
from tutelage.tasks.ner import NerTask

# DeBERTa of transformers is compiled by torch when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
TAGS = NerTask(TYPES)
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "pad_token_id": 0,
}


def deberta(words: int) -> PretrainedConfig:
    """With the options of the published DeBERTa-v3 models."""
    return DebertaV2Config(
        vocab_size=words,
        **SIZES,
        relative_attention=True,
        position_buckets=16,
        max_relative_positions=-1,
        pos_att_type=["p2c", "c2p"],
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        position_biased_input=False,
        type_vocab_size=0,
        pooler_hidden_size=16,
        max_position_embeddings=64,
    )


def modernbert(words: int) -> PretrainedConfig:
    tokens = {"cls_token_id": 2, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3}
    return ModernBertConfig(
        vocab_size=words, **SIZES, **tokens, max_position_embeddings=64, local_attention=8
    )


FAMILIES: dict[str, Callable[[int], PretrainedConfig]] = {
    "bert": lambda words: BertConfig(vocab_size=words, **SIZES, max_position_embeddings=64),
    # Positions begin after that of padding.
    "roberta": lambda words: RobertaConfig(vocab_size=words, **SIZES, max_position_embeddings=66),
    "deberta": deberta,
    "modernbert": modernbert,
}
TASKS = {"classification": TOPICS, "ner": TAGS}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Name of the family, and the folder of an encoder."""
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    AutoModel.from_config(FAMILIES[request.param](len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return request.param, folder


def student_of(family: tuple[str, Path], task: str, *overrides: str) -> Any:
    name, folder = family
    data = ["task=ner", "data=wikigold"] if task == "ner" else []
    config = compose_config(
        [*data, f"student={name}_{task}", f"student.model={folder}", *overrides]
    )
    return build_student(config, TASKS[task])


def batch_of(task: str, tokenizer: Any) -> Any:
    texts = [
        marked("amber birch met cedar at dune", {"amber birch": "PER", "dune": "LOC"}),
        marked("the ember grove club left fjord", {"ember grove club": "ORG", "fjord": "LOC"}),
        marked("nothing was said of it"),
    ]
    rows = (
        [Row(one.id, one.text, str(one.label), "pool", 0, True) for one in texts]
        if task == "ner"
        else [
            Row(f"r{n}", make_text(NAMES[n % 3], n), NAMES[n % 3], "pool", 0, True)
            for n in range(6)
        ]
    )
    reader = ItemEncoder(TASKS[task], tokenizer, 32)
    return reader.collate(enumerate(reader.encode(rows)))


def loss_of(module: Any, batch: Any) -> torch.Tensor:
    logits = module(batch).log_softmax(-1)
    return -(batch["targets"] * logits).sum(-1).mul(batch["weights"]).sum()


CHOICES = {
    "as shipped": [],
    "fitted": ["student.head=fitted"],
    "frozen": ["student.freeze_encoder=true"],
    "frozen and fitted": ["student.freeze_encoder=true", "student.head=fitted"],
    "mean": ["student.pooling=mean", "student.head=fitted"],
    "frozen mean": ["student.pooling=normalized_mean", "student.freeze_encoder=true"],
}


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("task", TASKS)
def test_a_student_learns_and_is_saved_and_loaded(
    family: Any, tmp_path: Path, task: str, choice: str
) -> None:
    if task == "ner" and "mean" in choice:
        choice = choice.replace("mean", "as shipped").replace("frozen as shipped", "frozen")
    module, tokenizer = student_of(family, task, *CHOICES[choice])
    batch = batch_of(task, tokenizer)
    logits, states = logits_and_states(module.eval(), batch)
    assert states.shape == (*batch["input_ids"].shape, 16)
    assert logits.shape == batch["targets"].shape
    if "fitted" in choice:
        before = float(loss_of(module, batch).detach())
        fit_head(module, [batch])
        assert float(loss_of(module, batch).detach()) < before

    # A step moves the head, and the encoder unless it is frozen.
    module.train()
    (head,) = last_layers(module.network)
    encoder = {name: value.clone() for name, value in module.network.base_model.named_parameters()}
    weight = head.weight.detach().clone()
    optimizer = module.configure_optimizers()
    loss_of(module, batch).backward()
    optimizer.step()
    moved = {
        name
        for name, value in module.network.base_model.named_parameters()
        if not torch.equal(encoder[name], value)
    }
    assert not torch.equal(weight, head.weight)
    assert bool(moved) == ("frozen" not in choice)

    # Padding, other texts and saving change nothing.
    module.eval()
    save_student(tmp_path / "student", module.network, tokenizer, 32)
    loaded, reader, length = load_student(tmp_path / "student")
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    mask = batch["attention_mask"].bool() if task == "ner" else slice(None)
    with torch.no_grad():
        expected = module.network(**given).logits
        torch.testing.assert_close(
            loaded(**given).logits[mask], expected[mask], atol=1e-5, rtol=1e-4
        )
        width = int(batch["attention_mask"][0].sum())
        alone = loaded(**{name: value[:1, :width] for name, value in given.items()}).logits[0]
        beside = expected[0, :width] if task == "ner" else expected[0]
        torch.testing.assert_close(alone, beside, atol=1e-5, rtol=1e-4)
    assert length == 32
    words = ["amber", "birch"]
    texts = (words,) if task == "ner" else ("amber birch",)
    options = {"is_split_into_words": True} if task == "ner" else {}
    assert reader(*texts, **options)["input_ids"] == tokenizer(*texts, **options)["input_ids"]


@pytest.mark.parametrize("task", TASKS)
def test_two_networks_suit_every_family(family: Any, task: str) -> None:
    module, tokenizer = student_of(family, task, "student.peers=2")
    loss_of(module, batch_of(task, tokenizer)).backward()
    heads = last_layers(module.network)
    assert len(heads) == 2
    assert all(value.grad is not None for head in heads for value in head.parameters())


@pytest.mark.parametrize("pooling", ["first", "normalized_mean"])
def test_a_contrastive_start_suits_every_family(family: Any, pooling: str) -> None:
    module, tokenizer = student_of(family, "classification", f"student.pooling={pooling}")
    rows = [
        Row(f"r{n}", make_text(NAMES[n % 3], n), NAMES[n % 3], "pool", 0, True) for n in range(6)
    ]
    reader = ItemEncoder(TOPICS, tokenizer, 32)
    weights = {name: value.clone() for name, value in module.network.state_dict().items()}
    training = PairTraining(2, 4, 1e-3, 0.0, RateSchedule(), first_token=pooling == "first")
    start_by_pairs(module, reader.encode(rows), reader.collate, training, seed=1)
    moved = {
        name
        for name, value in module.network.state_dict().items()
        if not torch.equal(weights[name], value)
    }
    assert moved
    assert all(name.startswith(module.network.base_model_prefix) for name in moved)


def test_words_of_a_byte_level_tokenizer_keep_their_spaces(tmp_path: Path) -> None:
    """ModernBERT's has no class of its own, and ignores the option."""
    hugging_face(byte_level_bpe()).save_pretrained(tmp_path)
    FAMILIES["modernbert"](500).save_pretrained(tmp_path)
    words = ["play", "music"]
    for head, expected in (("token", ["Ġplay", "Ġmusic"]), ("sequence", ["play", "Ġmusic"])):
        tokenizer = load_tokenizer(str(tmp_path), head=head)  # type: ignore[arg-type]
        ids = (
            tokenizer(words, is_split_into_words=True)["input_ids"]
            if head == "token"
            else tokenizer(" ".join(words))["input_ids"]
        )
        assert tokenizer.convert_ids_to_tokens(ids) == expected
        tokenizer.save_pretrained(tmp_path / head)
    # As prediction loads it.
    from transformers import AutoTokenizer

    again = AutoTokenizer.from_pretrained(tmp_path / "token")
    ids = again(words, is_split_into_words=True)["input_ids"]
    assert again.convert_ids_to_tokens(ids) == ["Ġplay", "Ġmusic"]
