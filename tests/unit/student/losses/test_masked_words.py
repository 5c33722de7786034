"""Masked words against a slow reference token by token, the draws, and a killed fit."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.helpers.classification import NAMES, make_text
from tests.helpers.fitting import Killed, ScriptedMethod, build, run
from tests.helpers.tiny_student import tiny_network, tiny_tokenizer
from transformers import AlbertConfig, AlbertModel

from tutelage.errors import ConfigError
from tutelage.student.freezing import freeze_encoder
from tutelage.student.losses.masked_words import MaskedWordsLoss

TEXTS = [make_text(name, 60 + n) for n in range(6) for name in NAMES]


def inputs(texts: list[str]) -> dict[str, torch.Tensor]:
    return dict(tiny_tokenizer()(texts, padding=True, return_tensors="pt"))


def prepared(network: Any, **settings: float) -> MaskedWordsLoss:
    loss = MaskedWordsLoss(**settings)
    loss.prepare(network, tiny_tokenizer())
    return loss


def test_it_is_its_formula(encoder: Path) -> None:
    network = tiny_network(encoder).eval()
    loss = prepared(network, weight=0.4, share=0.3)
    assert loss.projection is not None
    with torch.no_grad():
        loss.projection.weight.add_(torch.randn(16, 16) * 0.1)
    batches = [inputs(TEXTS[:5]), inputs(TEXTS[5:9])]
    torch.manual_seed(7)
    found = loss.on_texts(network, batches)
    torch.manual_seed(7)
    table = network.base_model.get_input_embeddings().weight.tolist()
    matrix = loss.projection.weight.tolist()
    values = []
    for batch in batches:
        seen, drawn = loss.masked(batch["input_ids"], batch["attention_mask"])
        states = network.base_model(
            input_ids=seen, attention_mask=batch["attention_mask"]
        ).last_hidden_state
        for row, column in drawn.nonzero().tolist():
            state = states[row, column].tolist()
            turned = [sum(w * h for w, h in zip(line, state, strict=True)) for line in matrix]
            scores = [sum(e * v for e, v in zip(own, turned, strict=True)) for own in table]
            most = max(scores)
            total = most + math.log(sum(math.exp(score - most) for score in scores))
            values.append(total - scores[int(batch["input_ids"][row, column])])
    assert found is not None
    assert len(values) > 10
    assert found.item() == pytest.approx(0.4 * sum(values) / len(values), rel=1e-4)


def test_tokens_are_masked_replaced_and_kept_in_their_shares(encoder: Path) -> None:
    tokenizer = tiny_tokenizer()
    loss = prepared(tiny_network(encoder))
    batch = inputs(TEXTS * 60)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    torch.manual_seed(3)
    seen, drawn = loss.masked(ids, mask)
    special = torch.tensor([one in tokenizer.all_special_ids for one in ids.flatten().tolist()])
    words = ~special.view_as(ids)
    assert not (drawn & ~words).any()
    assert torch.equal(seen[~drawn], ids[~drawn])
    assert drawn.sum() / words.sum() == pytest.approx(0.15, abs=0.01)
    now, then = seen[drawn], ids[drawn]
    hidden = now == tokenizer.mask_token_id
    assert hidden.float().mean() == pytest.approx(0.8, abs=0.03)
    # A random token may be the same by chance.
    assert (now == then).float().mean() == pytest.approx(0.1, abs=0.03)
    assert not set(now[~hidden].tolist()) & set(tokenizer.all_special_ids)
    torch.manual_seed(3)
    again, _ = loss.masked(ids, mask)
    assert torch.equal(again, seen)


def test_embeddings_encoder_and_projection_learn(encoder: Path) -> None:
    network = tiny_network(encoder).train()
    loss = prepared(network, share=0.5)
    found = loss.on_texts(network, [inputs(TEXTS)])
    assert found is not None
    found.backward()
    assert loss.projection is not None
    assert loss.projection.weight.grad is not None
    # Every word is a candidate, so each has a gradient.
    assert (network.base_model.get_input_embeddings().weight.grad.abs().sum(dim=1) > 0).all()
    assert network.classifier.weight.grad is None


def test_texts_without_words_teach_nothing(encoder: Path) -> None:
    network = tiny_network(encoder)
    assert prepared(network).on_texts(network, [inputs(["", ""])]) is None
    assert MaskedWordsLoss(weight=0.0).needs_texts is False


def test_a_new_student_has_a_new_projection(encoder: Path) -> None:
    loss = prepared(tiny_network(encoder))
    assert loss.projection is not None
    with torch.no_grad():
        loss.projection.weight.zero_()
    loss.start_anew()
    assert torch.equal(loss.projection.weight, torch.eye(16))


def test_embeddings_of_another_size_than_states() -> None:
    """ALBERT's embeddings are smaller than its states."""
    config = AlbertConfig(
        vocab_size=len(tiny_tokenizer()),
        embedding_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    encoder = AlbertModel(config)

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base_model = encoder

        def forward(self, **given: torch.Tensor) -> Any:
            return SimpleNamespace(logits=self.base_model(**given).last_hidden_state[:, 0])

    network = Network()
    loss = prepared(network, share=0.5)
    assert loss.projection is not None
    assert loss.projection.weight.shape == (8, 16)
    found = loss.on_texts(network, [inputs(TEXTS)])
    assert found is not None
    assert torch.isfinite(found)


def test_what_cannot_learn_words_is_refused(encoder: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.mask_token = None
    with pytest.raises(ConfigError, match=r"has no mask token\. Give a student\.model="):
        MaskedWordsLoss().prepare(tiny_network(encoder), tokenizer)
    frozen = tiny_network(encoder)
    freeze_encoder(frozen)
    with pytest.raises(ConfigError, match=r"Give student\.freeze_encoder=false, or loss="):
        prepared(frozen)
    prepared(frozen, weight=0.0)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"weight": -0.1}, "loss.weight=-0.1 must be"),
        ({"share": 0.0}, "loss.share=0.0 has to be"),
        ({"share": 1.0}, "loss.share=1.0 has to be"),
    ],
)
def test_bounds(values: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        MaskedWordsLoss(**values)


@pytest.mark.parametrize("unlabelled", [(), tuple(TEXTS)], ids=["rows alone", "with a pool"])
def test_a_killed_run_ends_alike(tmp_path: Path, encoder: Path, unlabelled: Any) -> None:
    def fitted(name: str, weight: float = 0.5, resume: bool = False, **given: Any) -> Any:
        network = tiny_network(encoder, head_dropout=0.1)
        fit = build(
            tmp_path / name,
            encoder,
            ScriptedMethod(2),
            loss=prepared(network, weight=weight),
            network=network,
            window="all",
            resume=resume,
            unlabelled=unlabelled,
            **given,
        )
        return run(fit, resume=resume)

    whole = fitted("whole")
    with pytest.raises(Killed):
        fitted("killed", explode_at=4)
    resumed = fitted("killed", resume=True)
    assert resumed.numbers() == whole.numbers()
    # Weights of the loss are part of the checkpoint, too.
    theirs = whole.module.state_dict()
    assert "loss.projection.weight" in theirs
    assert not torch.equal(theirs["loss.projection.weight"], torch.eye(16))
    for name, value in resumed.module.state_dict().items():
        assert torch.equal(value, theirs[name])
    plain = fitted("plain", weight=0.0)
    assert plain.numbers() != whole.numbers()
