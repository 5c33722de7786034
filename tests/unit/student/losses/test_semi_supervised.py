"""Mixup on kept units and two views of those left out, against a slow reference unit by unit."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.helpers.fitting import Killed, ScriptedMethod, build, run
from tests.helpers.loss_targets import targets

from tutelage.errors import ConfigError
from tutelage.selectors.protocol import Step, Weighed
from tutelage.selectors.row_selection import EveryRow
from tutelage.student.losses.semi_supervised import SemiSupervisedLoss
from tutelage.timeline import Timeline

TEXTS, WORDS = [0, 2, 1, 1, 0], [[0, -1, 1], [2, 2, -1], [1, 0, 0]]


class Reader(torch.nn.Module):
    """Mean (or, for words, each) of a table's rows at the visible tokens, under a linear head."""

    def __init__(self, by_word: bool) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(3)
        self.table = torch.nn.Parameter(torch.randn(9, 4, generator=rng))
        self.classifier = torch.nn.Linear(4, 3)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.randn(3, 4, generator=rng))
            self.classifier.bias.copy_(torch.randn(3, generator=rng))
        self.config = SimpleNamespace(num_labels=3)
        self.by_word, self.masks = by_word, list[torch.Tensor]()

    def states(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states = self.table[input_ids] * mask.unsqueeze(-1)
        return states if self.by_word else states.sum(1) / mask.sum(1, keepdim=True)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        self.masks.append(attention_mask)
        return SimpleNamespace(logits=self.classifier(self.states(input_ids, attention_mask)))


def batch_for(hard: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """Targets with every second row of weight 0, and their batch; no two rows weigh the same."""
    whole, numbers = targets(hard, 3), torch.arange(len(hard)).double()
    ids = torch.arange(len(hard) * 3).view(-1, 3) % 9

    def weighed(rows: torch.Tensor) -> torch.Tensor:
        return whole.weights * (rows if whole.weights.ndim == 1 else rows.unsqueeze(1))

    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "weights": weighed(1 + numbers),
    }
    weights = weighed((numbers % 2 == 0).double() * (0.5 + numbers))
    return targets(hard, 3, weights=weights.tolist(), progress=0.15), batch


def logs_of(network: Reader, state: list[float]) -> list[float]:
    weight, bias = network.classifier.weight.tolist(), network.classifier.bias.tolist()
    logits = [
        sum(w * x for w, x in zip(row, state, strict=True)) + b
        for row, b in zip(weight, bias, strict=True)
    ]
    total = math.log(sum(math.exp(value) for value in logits))
    return [value - total for value in logits]


@pytest.mark.parametrize("hard", [TEXTS, WORDS])
@pytest.mark.parametrize(("mixup", "consistency"), [(0.7, 0.0), (0.0, 1.3), (0.7, 1.3)])
def test_it_is_its_formula(hard: Any, mixup: float, consistency: float) -> None:
    taught, batch = batch_for(hard)
    network = Reader(taught.weights.ndim == 2)
    first = network(batch["input_ids"], batch["attention_mask"]).logits
    loss = SemiSupervisedLoss(mixup, consistency, hidden=0.4, warmup=0.3)
    torch.manual_seed(11)
    found = loss.beside(network, batch, first, taught)
    assert found is not None

    # The same draws: tokens, then the share, then the partners.
    torch.manual_seed(11)
    hides = torch.rand(batch["attention_mask"].shape) < 0.4
    hides[:, 0] = False
    assert torch.equal(network.masks[-1], (~hides).long())
    assert hides.any()
    second = network.states(batch["input_ids"], (~hides).long())
    units = [tuple(one) for one in taught.weights.nonzero().tolist()]
    left = [
        tuple(one) for one in ((batch["weights"] > 0) & (taught.weights == 0)).nonzero().tolist()
    ]
    assert units
    assert left
    label = {unit: int(taught.hard[unit].argmax()) for unit in units}
    # Shares of the units in their means.
    kept, all_kept = taught.weights, float(taught.weights.sum())
    given, all_left = batch["weights"], sum(float(batch["weights"][unit]) for unit in left)
    expected = 0.0
    if mixup:
        share = float(torch.distributions.Beta(4.0, 4.0).sample())
        share = max(share, 1 - share)
        partners = [units[index] for index in torch.randperm(len(units)).tolist()]
        for unit, partner in zip(units, partners, strict=True):
            own, other = second[unit].tolist(), second[partner].tolist()
            logs = logs_of(
                network,
                [share * a + (1 - share) * b for a, b in zip(own, other, strict=True)],
            )
            value = share * logs[label[unit]] + (1 - share) * logs[label[partner]]
            expected -= mixup * value * float(kept[unit]) / all_kept
    if consistency:
        for unit in units:
            log = logs_of(network, second[unit].tolist())[label[unit]]
            expected -= consistency * log * float(kept[unit]) / all_kept
        for unit in left:
            p = first[unit].log_softmax(-1).tolist()
            q = logs_of(network, second[unit].tolist())
            both = sum((math.exp(a) - math.exp(b)) * (a - b) / 2 for a, b in zip(p, q, strict=True))
            expected += consistency * both * float(given[unit]) / all_left
    # At half of the warm-up everything counts half.
    assert found.item() == pytest.approx(expected / 2, rel=1e-5)


def test_labels_left_out_teach_nothing() -> None:
    taught, batch = batch_for(TEXTS)
    other = targets([0, 0, 1, 2, 0], 3, weights=taught.weights.tolist(), progress=1.0)
    taught = targets(TEXTS, 3, weights=taught.weights.tolist(), progress=1.0)
    gradients = []
    for one in (taught, other):
        network = Reader(by_word=False)
        torch.manual_seed(5)
        found = SemiSupervisedLoss().beside(
            network, batch, network(batch["input_ids"], batch["attention_mask"]).logits, one
        )
        assert found is not None
        found.backward()
        gradients.append(network.table.grad)
    assert torch.equal(*gradients)
    # Their tokens are learnt from all the same.
    alone = batch["input_ids"][1]
    assert gradients[0][alone].abs().sum() > 0


@pytest.mark.parametrize(
    ("changes", "progress"),
    [({"mixup": 0.0, "consistency": 0.0}, 0.9), ({}, 0.0)],
)
def test_nothing_costs_no_pass(changes: dict[str, float], progress: float) -> None:
    taught, batch = batch_for(TEXTS)
    taught = targets(TEXTS, 3, weights=taught.weights.tolist(), progress=progress)
    network = Reader(by_word=False)
    first = torch.zeros(5, 3)
    assert SemiSupervisedLoss(**changes).beside(network, batch, first, taught) is None
    assert not network.masks


class KeepsGold(EveryRow):
    """Leaves all generated rows out, in report of it."""

    def weigh(self, step: Step) -> Weighed:
        return Weighed(step.gold.astype(float), {})


@pytest.mark.parametrize("consistency", [0.0, 1.0])
def test_a_batch_without_a_kept_row_steps_for_consistency_alone(
    tmp_path: Path, encoder: Path, consistency: float
) -> None:
    """The rows of the round are left out, and the shots repeat in the start stage alone."""

    class KeepsNothing(KeepsGold):
        def weigh(self, step: Step) -> Weighed:
            return Weighed(step.gold * 0.0, {})

    fit = run(
        build(
            tmp_path,
            encoder,
            ScriptedMethod(1),
            Timeline(1, 1, 0, 0),
            loss=SemiSupervisedLoss(1.0, consistency, warmup=0.0),
            selector=KeepsNothing(),
        )
    )
    assert bool(fit.module.steps) == bool(consistency)
    assert not fit.module.learnt, "no label was learnt"


def test_a_killed_run_ends_alike(tmp_path: Path, encoder: Path) -> None:
    def fitted(name: str, resume: bool = False, **given: Any) -> Any:
        fit = build(
            tmp_path / name,
            encoder,
            ScriptedMethod(2),
            loss=SemiSupervisedLoss(),
            selector=KeepsGold(),
            window="all",
            resume=resume,
            **given,
        )
        return run(fit, resume=resume)

    whole = fitted("whole")
    with pytest.raises(Killed):
        fitted("killed", explode_at=4)
    resumed = fitted("killed", resume=True)
    assert resumed.numbers() == whole.numbers()
    theirs = whole.module.network.state_dict()
    for name, value in resumed.module.network.state_dict().items():
        assert torch.equal(value, theirs[name])


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"mixup": -1.0}, "loss.mixup=-1.0 and loss.consistency=1.0 must be"),
        ({"hidden": 1.0}, "loss.hidden=1.0 must be"),
        ({"alpha": 0.0}, "loss.alpha=0.0 must be"),
        ({"warmup": 1.5}, "loss.warmup=1.5 must be"),
    ],
)
def test_bounds(values: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        SemiSupervisedLoss(**values)


def test_a_head_without_a_last_layer_is_refused() -> None:
    taught, batch = batch_for(TEXTS)
    network = Reader(by_word=False)
    network.config.num_labels = 4
    with pytest.raises(ConfigError, match=r"mixes what a linear head reads"):
        SemiSupervisedLoss(warmup=0.0).beside(network, batch, torch.zeros(5, 3), taught)


def test_gathering_leaves_nothing_out_to_learn_from(tmp_path: Path, encoder: Path) -> None:
    gathering = KeepsGold()
    gathering.refill = True
    with pytest.raises(ConfigError, match=r"select\.refill=true gathers"):
        build(tmp_path, encoder, ScriptedMethod(1), loss=SemiSupervisedLoss(), selector=gathering)
    build(
        tmp_path / "mixup",
        encoder,
        ScriptedMethod(1),
        loss=SemiSupervisedLoss(consistency=0.0),
        selector=gathering,
    )
