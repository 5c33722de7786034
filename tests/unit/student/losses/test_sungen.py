"""SunGen's weights of rows against finite differences of the outer loss, and on flipped labels."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.helpers.loss_targets import targets

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.meta import MetaReweightedLoss, SunGenLoss
from tutelage.student.losses.protocol import Targets

CLASSES, WIDTH = 3, 12


class Linear(torch.nn.Module):
    """A linear model on counts of tokens, or on each token."""

    def __init__(self, by_word: bool = False, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.classifier = torch.nn.Linear(WIDTH, CLASSES).double()
        self.by_word = by_word

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        tokens = torch.nn.functional.one_hot(input_ids, WIDTH).double()
        return SimpleNamespace(logits=self.classifier(tokens if self.by_word else tokens.sum(1)))


def batch(seed: int, rows: int, length: int = 4) -> dict[str, torch.Tensor]:
    ids = torch.randint(0, WIDTH, (rows, length), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def slopes(network: Linear, given: Any, taught: Targets, guide: Any, noisy: Targets) -> list[float]:
    """Change of the guide's reverse cross-entropy per share of a row in a step of rate 1."""
    matrix = network.classifier.weight.detach().clone()
    bias = network.classifier.bias.detach().clone()

    def outer(row: int, share: float) -> float:
        # The gradient of cross-entropy by hand: (p - target) times the counts of tokens.
        units = [
            (unit, weight)
            for unit, weight in enumerate(taught.weights.view(len(taught.ids), -1)[row].tolist())
            if weight
        ]
        total = sum(weight for _, weight in units)
        new, shift = matrix.clone(), bias.clone()
        for unit, weight in units:
            ids = given["input_ids"][row]
            tokens = torch.nn.functional.one_hot(ids, WIDTH).double()
            counts = tokens[unit] if network.by_word else tokens.sum(0)
            target = taught.hard[row, unit] if network.by_word else taught.hard[row]
            error = (matrix @ counts + bias).softmax(0) - target
            new -= share * weight / total * torch.outer(error, counts)
            shift -= share * weight / total * error
        loss, mass = 0.0, 0.0
        for row_of_guide, ids in enumerate(guide["input_ids"]):
            tokens = torch.nn.functional.one_hot(ids, WIDTH).double()
            for unit in range(len(ids) if network.by_word else 1):
                place = (row_of_guide, unit) if network.by_word else (row_of_guide,)
                weight = float(noisy.weights[place])
                counts = tokens[unit] if network.by_word else tokens.sum(0)
                p = (new @ counts + shift).softmax(0)
                loss += weight * 4 * (1 - float(p @ noisy.hard[place]))
                mass += weight
        return loss / mass

    width = 1e-5
    return [
        (outer(row, width) - outer(row, -width)) / (2 * width) for row in range(len(taught.ids))
    ]


def stepped(weights: list[float], slope: list[float], rate: float) -> list[float]:
    largest = max(map(abs, slope))
    return [
        min(max(weight - rate * one / largest, 0.0), 1.0)
        for weight, one in zip(weights, slope, strict=True)
    ]


def learnt(loss: SunGenLoss) -> dict[str, float]:
    state = loss.get_extra_state()
    return dict(zip(state["ids"], state["values"].tolist(), strict=True))


TEXTS = targets([0, 1, 2, 0, 1, 2], CLASSES)


def test_weights_move_along_finite_differences_of_the_outer_loss() -> None:
    loss, weights = SunGenLoss(rate=0.3), [1.0] * 6
    for seed in range(4):
        network, given, guide = Linear(seed=seed), batch(seed, 6), batch(10 + seed, 4)
        noisy = targets([0, 1, 2, 1], CLASSES, weights=[1, 0.5, 2, 1])
        slope = slopes(network, given, TEXTS, guide, noisy)
        assert min(slope) < 0 < max(slope)
        factors = loss.reweigh(network, given, TEXTS, guide, noisy)
        weights = stepped(weights, slope, 0.3)
        assert list(learnt(loss).values()) == pytest.approx(weights, abs=1e-6)
        mean = sum(weights) / 6
        assert factors.tolist() == pytest.approx([one / mean for one in weights], abs=1e-6)
    assert len(set(weights)) > 2


def test_words_count_by_their_row() -> None:
    words = targets(
        [[0, 1, -1, 2], [2, -1, -1, -1], [-1, -1, -1, -1], [1, 1, 0, 0]],
        CLASSES,
        weights=[[1, 0.25, 0, 0.1], [0.5, 0, 0, 0], [0, 0, 0, 0], [2, 2, 2, 2]],
    )
    network, given, guide = Linear(by_word=True), batch(3, 4), batch(4, 2)
    noisy = targets([[0, -1, 1, 1], [2, 2, -1, 0]], CLASSES)
    loss = SunGenLoss(rate=0.5)
    factors = loss.reweigh(network, given, words, guide, noisy)
    weights = stepped([1.0] * 4, slopes(network, given, words, guide, noisy), 0.5)
    assert list(learnt(loss).values()) == pytest.approx(weights, abs=1e-6)
    # A row without a unit is no part of the mean, and keeps its weight.
    assert (weights[2], factors[2]) == (1.0, 0.0)
    mass = words.weights.sum(1)
    assert float((factors * mass).sum() / mass.sum()) == pytest.approx(1)


def test_a_row_twice_in_a_batch_moves_twice() -> None:
    network, one, guide, noisy = Linear(), batch(1, 2), batch(2, 1), targets([0], CLASSES)
    ids = {name: value[[0, 1, 1]] for name, value in one.items()}
    loss, alone = SunGenLoss(rate=0.1), SunGenLoss(rate=0.1)
    loss.reweigh(network, ids, targets([1, 2, 2], CLASSES, ids="abb"), guide, noisy)
    alone.reweigh(network, one, targets([1, 2], CLASSES, ids="ab"), guide, noisy)
    assert learnt(alone)["b"] < 1
    assert 1 - learnt(loss)["b"] == pytest.approx(2 * (1 - learnt(alone)["b"]))


def test_flipped_labels_lose_their_weight_though_the_guide_has_as_many() -> None:
    network = Linear(seed=1)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.05)
    right = torch.arange(120) % CLASSES
    ids = (right * 4).unsqueeze(1) + torch.randint(
        0, 4, (120, 4), generator=torch.Generator().manual_seed(0)
    )
    flipped = torch.arange(120) % 5 == 0
    given = torch.where(flipped, (right + 1) % CLASSES, right)
    loss, order = SunGenLoss(), torch.Generator().manual_seed(2)
    for _ in range(120):
        drawn = torch.randperm(120, generator=order)
        parts = [
            (
                {"input_ids": ids[part], "attention_mask": torch.ones_like(ids[part])},
                targets(given[part].tolist(), CLASSES, ids=[str(row) for row in part.tolist()]),
            )
            for part in (drawn[:20], drawn[20:40])
        ]
        factors = loss.reweigh(network, *parts[0], *parts[1])
        losses = CrossEntropyLoss()(network(**parts[0][0]).logits, parts[0][1])
        optimiser.zero_grad()
        (losses * factors).mean().backward()
        optimiser.step()
    weights = torch.tensor([learnt(loss)[str(row)] for row in range(120)])
    assert weights[flipped].mean() < 0.4 < 0.8 < weights[~flipped].mean()


def test_its_weights_survive_a_checkpoint_of_plain_values() -> None:
    network, guide, noisy = Linear(), batch(2, 3), targets([0, 1, 2], CLASSES)
    holder = torch.nn.ModuleDict({"loss": SunGenLoss()})
    holder["loss"].reweigh(network, batch(1, 6), TEXTS, guide, noisy)
    file = io.BytesIO()
    torch.save(holder.state_dict(), file)
    file.seek(0)
    resumed = torch.nn.ModuleDict({"loss": SunGenLoss()})
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for seed in (3, 4):
        again, first = (
            loss["loss"].reweigh(network, batch(seed, 6), TEXTS, guide, noisy)
            for loss in (resumed, holder)
        )
        assert torch.equal(again, first)
        assert learnt(resumed["loss"]) == learnt(holder["loss"])


def test_a_guide_without_units_moves_nothing() -> None:
    network = Linear(by_word=True)
    taught = targets([[0, 1, 2, 0], [1, 1, 1, 1]], CLASSES)
    nothing = targets([[-1, -1, -1, -1]], CLASSES)
    loss = SunGenLoss()
    assert loss.reweigh(network, batch(1, 2), taught, batch(2, 1), nothing).tolist() == [1, 1]


def test_settings_in_their_ranges() -> None:
    with pytest.raises(ConfigError, match=r"loss.rate=0.0 must be above 0"):
        SunGenLoss(rate=0.0)
    with pytest.raises(ConfigError, match=r"Unknown loss\.parameters 'heads'"):
        SunGenLoss("heads")  # type: ignore[arg-type]
    assert isinstance(SunGenLoss(), MetaReweightedLoss)
