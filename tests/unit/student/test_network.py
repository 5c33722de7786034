"""Mean pooling over the real tokens, followed by a head."""

from __future__ import annotations

from pathlib import Path

import torch
from tests.helpers.tiny_student import tiny_network, tiny_tokenizer


def test_padding_changes_nothing(encoder: Path) -> None:
    network = tiny_network(encoder).eval()
    tokenizer = tiny_tokenizer()
    alone = tokenizer(["animal dune"], return_tensors="pt")
    padded = tokenizer(
        ["animal dune", "tool quay ridge shore tide vale wharf"], padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        one = network(input_ids=alone["input_ids"], attention_mask=alone["attention_mask"]).logits
        both = network(
            input_ids=padded["input_ids"], attention_mask=padded["attention_mask"]
        ).logits
        no_mask = network(input_ids=alone["input_ids"]).logits
    torch.testing.assert_close(both[:1], one)
    torch.testing.assert_close(no_mask, one)
    assert both.shape == (2, 3)


def test_the_pool_is_the_mean_of_the_real_tokens(encoder: Path) -> None:
    network = tiny_network(encoder).eval()
    batch = tiny_tokenizer()(["animal dune", "tool"], padding=True, return_tensors="pt")
    mask = batch["attention_mask"]
    with torch.no_grad():
        hidden = network.encoder(
            input_ids=batch["input_ids"], attention_mask=mask
        ).last_hidden_state
        pooled = torch.stack(
            [row[kept.bool()].mean(0) for row, kept in zip(hidden, mask, strict=True)]
        )
        torch.testing.assert_close(
            network(input_ids=batch["input_ids"], attention_mask=mask).logits,
            network.classifier(pooled),
            rtol=1e-5,
            atol=1e-6,
        )


def test_an_empty_row_gives_numbers(encoder: Path) -> None:
    network = tiny_network(encoder).eval()
    with torch.no_grad():
        logits = network(
            input_ids=torch.zeros(1, 2, dtype=torch.long),
            attention_mask=torch.zeros(1, 2, dtype=torch.long),
        ).logits
    assert torch.isfinite(logits).all()


def test_head_dropout_is_off_in_evaluation(encoder: Path) -> None:
    network = tiny_network(encoder, head_dropout=0.9)
    batch = tiny_tokenizer()(["animal dune"], return_tensors="pt")

    def run() -> torch.Tensor:
        logits: torch.Tensor = network(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits.detach()
        return logits

    network.eval()
    torch.testing.assert_close(run(), run())
    network.train()
    assert not torch.allclose(run(), run())
