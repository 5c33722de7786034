"""Meta-reweighting against double backward and finite differences, and on flipped labels."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.helpers.loss_targets import targets
from tests.helpers.tiny_student import tiny_network

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.meta import MetaReweightedLoss
from tutelage.student.losses.protocol import Targets

CLASSES = 3


class Tiny(torch.nn.Module):
    """Embeddings → tanh layer → dropout → head, over the mean of the tokens or over each."""

    def __init__(self, by_word: bool = False, dropout: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = torch.nn.Sequential(
            torch.nn.Embedding(12, 5), torch.nn.Linear(5, 5), torch.nn.Tanh()
        )
        self.dropout = torch.nn.Dropout(dropout)
        self.classifier = torch.nn.Linear(5, CLASSES)
        self.by_word = by_word
        self.double()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        hidden = self.encoder(input_ids)
        mask = attention_mask.unsqueeze(-1)
        pooled = hidden if self.by_word else (hidden * mask).sum(1) / mask.sum(1)
        return SimpleNamespace(logits=self.classifier(self.dropout(pooled)))


def batch(seed: int, rows: int, length: int = 4) -> dict[str, torch.Tensor]:
    ids = torch.randint(0, 12, (rows, length), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def unit_losses(
    network: torch.nn.Module,
    parameters: dict[str, torch.Tensor],
    given: dict[str, Any],
    taught: Targets,
) -> torch.Tensor:
    return CrossEntropyLoss()(
        torch.func.functional_call(network, parameters, (), given).logits, taught
    )


def row_losses(losses: torch.Tensor, taught: Targets) -> torch.Tensor:
    if losses.dim() == 1:
        return losses
    means = [
        (row * weights).sum() / (weights.sum() if weights.any() else 1)
        for row, weights in zip(losses, taught.weights, strict=True)
    ]
    return torch.stack(means)


def reference(
    network: torch.nn.Module,
    which: str,
    rate: float,
    given: Any,
    taught: Targets,
    guide: Any,
    gold: Targets,
) -> list[float]:
    """Ren et al., algorithm 1: a graph through the step, and the derivative by each row's share."""
    names = [
        name
        for name, _ in network.named_parameters()
        if which == "all" or name.startswith("classifier")
    ]
    parameters = {name: value for name, value in network.named_parameters() if name in names}
    shares = torch.zeros(len(taught.ids), dtype=torch.float64, requires_grad=True)
    weighted = (shares * row_losses(unit_losses(network, parameters, given, taught), taught)).sum()
    gradients = torch.autograd.grad(
        weighted, list(parameters.values()), create_graph=True, materialize_grads=True
    )
    stepped = {
        name: value - rate * gradient
        for (name, value), gradient in zip(parameters.items(), gradients, strict=True)
    }
    after = (unit_losses(network, stepped, guide, gold) * gold.weights).sum() / gold.weights.sum()
    factors = (-torch.autograd.grad(after, shares)[0]).clamp(min=0)
    mass = taught.weights.view(len(factors), -1).sum(1)
    return (factors * mass.sum() / (factors * mass).sum()).tolist()


TEXTS = targets([0, 1, 2, 0, 1, 2], CLASSES)
WORDS = targets(
    [[0, 1, -1, 2], [2, -1, -1, -1], [1, 1, 0, 0]],
    CLASSES,
    weights=[[1, 0.25, 0, 0.1], [0.5, 0, 0, 0], [2, 2, 2, 2]],
)


@pytest.mark.parametrize("which", ["head", "all"])
@pytest.mark.parametrize("rate", [1.0, 0.01])
def test_it_is_the_gradient_through_a_virtual_step_of_whatever_rate(
    which: Any, rate: float
) -> None:
    network, given, guide, gold = (
        Tiny(),
        batch(1, 6),
        batch(2, 3),
        targets([0, 1, 2], CLASSES, weights=[1, 0.5, 2]),
    )
    factors = MetaReweightedLoss(which).reweigh(network, given, TEXTS, guide, gold)
    assert 0 < int((factors > 0).sum()) < 6
    assert factors.tolist() == pytest.approx(
        reference(network, which, rate, given, TEXTS, guide, gold), rel=1e-9
    )
    assert float(factors.mean()) == pytest.approx(1)


@pytest.mark.parametrize("which", ["head", "all"])
def test_words_count_by_the_mean_of_their_row(which: Any) -> None:
    network, given, guide = Tiny(by_word=True), batch(3, 3), batch(4, 2)
    gold = targets([[0, -1, 1, 1], [2, 2, -1, 0]], CLASSES)
    factors = MetaReweightedLoss(which).reweigh(network, given, WORDS, guide, gold)
    assert factors.shape == (3,)
    assert factors.tolist() == pytest.approx(
        reference(network, which, 1.0, given, WORDS, guide, gold), rel=1e-9
    )


def test_finite_differences_agree() -> None:
    network, given, guide, gold = (
        Tiny(seed=4),
        batch(5, 6),
        batch(6, 3),
        targets([2, 1, 0], CLASSES),
    )
    values = dict(network.named_parameters())

    def after(row: int, share: float) -> float:
        gradients = torch.autograd.grad(
            unit_losses(network, values, given, TEXTS)[row], list(values.values())
        )
        stepped = {
            name: value - share * gradient
            for (name, value), gradient in zip(values.items(), gradients, strict=True)
        }
        return float(unit_losses(network, stepped, guide, gold).mean().detach())

    helps = torch.tensor(
        [max(0.0, (after(row, -1e-5) - after(row, 1e-5)) / 2e-5) for row in range(6)]
    )
    factors = MetaReweightedLoss("all").reweigh(network, given, TEXTS, guide, gold)
    assert factors.tolist() == pytest.approx((helps / helps.mean()).tolist(), abs=1e-4)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("which", ["head", "all"])
def test_a_real_encoder(encoder: Path, attention: str, which: Any) -> None:
    network = tiny_network(encoder, head_dropout=0.2).double().train()
    network.encoder.set_attn_implementation(attention)
    given, guide = batch(1, 3, 6), batch(2, 3, 6)
    given["attention_mask"][1, 4:] = 0
    taught, gold = targets([0, 1, 2], CLASSES), targets([0, 2, 1], CLASSES)
    factors = MetaReweightedLoss(which).reweigh(network, given, taught, guide, gold)
    network.eval()
    network.encoder.set_attn_implementation(
        "eager"
    )  # fused attention has no second derivative for the reference
    assert factors.tolist() == pytest.approx(
        reference(network, which, 1.0, given, taught, guide, gold), rel=1e-5, abs=1e-7
    )


def test_flipped_labels_weigh_less() -> None:
    network, optimiser = (made := Tiny(seed=1)), torch.optim.Adam(made.parameters(), lr=0.05)
    right = torch.arange(72) % CLASSES
    ids = (right * 4).unsqueeze(1) + torch.randint(
        0, 4, (72, 4), generator=torch.Generator().manual_seed(0)
    )
    whole = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    given, guide = (
        {name: value[part] for name, value in whole.items()} for part in (slice(60), slice(60, 72))
    )
    flipped = torch.arange(60) % 5 == 0
    taught = targets(torch.where(flipped, (right[:60] + 1) % CLASSES, right[:60]).tolist(), CLASSES)
    gold = targets(right[60:].tolist(), CLASSES)
    for _ in range(5):
        optimiser.zero_grad()
        CrossEntropyLoss()(network(**given).logits, taught).mean().backward()
        optimiser.step()
    for which in ("head", "all"):
        factors = MetaReweightedLoss(which).reweigh(network, given, taught, guide, gold)
        assert factors[flipped].mean() < 0.3 * factors[~flipped].mean()


def test_the_network_is_left_as_it_was_and_dropout_is_off() -> None:
    network = Tiny(dropout=0.5).train()
    network.encoder.eval()
    loss, arguments = (
        MetaReweightedLoss("all"),
        (batch(1, 6), TEXTS, batch(2, 2), targets([0, 1], CLASSES)),
    )
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    first = loss.reweigh(network, *arguments)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.tolist() == loss.reweigh(network, *arguments).tolist()
    assert not first.requires_grad
    assert [
        network.training,
        network.encoder.training,
        network.encoder[1].training,
        network.dropout.training,
    ] == [True, False, False, True]
    assert all(value.grad is None for value in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_mode_comes_back_after_an_error() -> None:
    network = Tiny().train()
    with pytest.raises(KeyError):
        MetaReweightedLoss().reweigh(network, {}, TEXTS, batch(2, 2), targets([0, 1], CLASSES))
    assert network.training


def test_rows_that_all_harm_get_nothing() -> None:
    network, one = Tiny(), batch(1, 1)
    twice = {name: value.repeat(2, 1) for name, value in one.items()}
    gold = targets([0], CLASSES)
    assert MetaReweightedLoss().reweigh(
        network, twice, targets([1, 2], CLASSES), one, gold
    ).tolist() == [0, 0]
    assert MetaReweightedLoss().reweigh(
        network, twice, targets([0, 0], CLASSES), one, gold
    ).tolist() == pytest.approx([1, 1])
    assert MetaReweightedLoss().reweigh(
        network, twice, targets([0, 1], CLASSES), one, gold
    ).tolist() == pytest.approx([2, 0])


def test_rows_without_units_take_no_part() -> None:
    network, given, guide = Tiny(by_word=True), batch(1, 3), batch(2, 1)
    taught = targets([[0, 1, 2, 0], [-1, -1, -1, -1], [0, 0, 1, 1]], CLASSES)
    factors = MetaReweightedLoss().reweigh(
        network, given, taught, guide, targets([[0, 1, 2, 0]], CLASSES)
    )
    assert factors[1] == 0
    assert float(factors.sum()) == pytest.approx(2)


def test_a_guide_without_units_helps_nobody() -> None:
    network = Tiny(by_word=True)
    factors = MetaReweightedLoss().reweigh(
        network, batch(3, 3), WORDS, batch(2, 1), targets([[-1, -1, -1, -1]], CLASSES)
    )
    assert factors.tolist() == [0, 0, 0]


def test_frozen_parameters_take_no_part() -> None:
    network, rest = Tiny(), (batch(1, 6), TEXTS, batch(2, 3), targets([0, 1, 2], CLASSES))
    head = MetaReweightedLoss("head").reweigh(network, *rest)
    network.encoder.requires_grad_(False)
    assert MetaReweightedLoss("all").reweigh(network, *rest).tolist() == head.tolist()
    network.requires_grad_(False)
    with pytest.raises(
        ConfigError, match=r"loss\.parameters=head: Tiny has no such trainable parameter"
    ):
        MetaReweightedLoss().reweigh(network, *rest)


def test_unknown_parameters() -> None:
    with pytest.raises(
        ConfigError, match=r"Unknown loss\.parameters 'heads'. Did you mean 'head'\?"
    ):
        MetaReweightedLoss("heads")  # type: ignore[arg-type]
