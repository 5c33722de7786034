"""Every loss of conf/loss: instantiated from its file, in both shapes, with extreme values."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from tests.helpers.loss_targets import EXTREME, LossBatch, targets

from tutelage.student.losses.protocol import Targets, UnitLoss

FILES = sorted((Path(__file__).parents[4] / "conf" / "loss").glob("*.yaml"))


@pytest.fixture(params=FILES, ids=[path.stem for path in FILES])
def loss(request: pytest.FixtureRequest) -> UnitLoss:
    return instantiate(OmegaConf.load(request.param))


def test_there_is_a_file_for_each() -> None:
    assert {path.stem for path in FILES} >= {
        *(
            "cross_entropy",
            "soft_targets",
            "soft_mix",
            "generalised",
            "symmetric",
            "truncated",
            "early_learning",
            "meta",
            "sungen",
            "candidate_sets",
            "contrastive",
            "group_contrast",
        )
    }


def test_several_devices_share_the_losses_of_each_row_alone() -> None:
    divisible = {path.stem for path in FILES if instantiate(OmegaConf.load(path)).divisible}
    assert divisible == {
        *("cross_entropy", "soft_targets", "soft_mix", "candidate_sets", "generalised"),
        "symmetric",
    }


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_file_says_what_it_is_and_how_to_use_it(path: Path) -> None:
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    assert first.startswith("# ")
    commands = [line for line in rest if line.startswith("#   tutelage train ")]
    assert any(f" loss={path.stem}" in line for line in commands)


def test_extreme_logits_and_empty_tokens_give_finite_losses_and_gradients(loss: UnitLoss) -> None:
    for dtype in (torch.float64, torch.float32):
        logits = EXTREME.logits.to(dtype, copy=True).requires_grad_()
        cast = Targets(
            **{
                name: getattr(EXTREME.targets, name).to(dtype)
                for name in ("hard", "teacher", "off_label", "weights")
            },
            ids=EXTREME.targets.ids,
            progress=0.5,
        )
        for _ in range(3):  # fills the memory of losses with one
            losses = loss(logits, cast)
        assert losses.shape == cast.weights.shape
        assert losses.isfinite().all()
        losses.sum().backward()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


@pytest.mark.parametrize("hard", [[0, 2, 1], [[0, 2, 1], [1, 1, -1]]], ids=["texts", "words"])
def test_shapes_follow_the_weights(loss: UnitLoss, hard: list[int]) -> None:
    loss_batch = LossBatch(
        torch.zeros(*torch.tensor(hard).shape, 3, dtype=torch.float64, requires_grad=True),
        targets(hard, 3),
    )
    losses = loss(loss_batch.logits, loss_batch.targets)
    assert losses.shape == loss_batch.targets.weights.shape
    factors = loss.keep(losses.detach(), loss_batch.targets)
    assert factors.shape == losses.shape
    assert factors.dtype == losses.dtype
    assert set(factors.unique().tolist()) <= {0.0, 1.0}


def test_losses_are_not_weighted_so_words_may_weigh_what_they_like(loss: UnitLoss) -> None:
    logits = torch.randn(2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    even, other = targets([[0, 2, 1], [1, 1, -1]], 3, progress=0.5), deepcopy(loss)
    uneven = replace(even, weights=even.weights * torch.tensor([[0.1, 2.0, 0.5], [0.3, 1.0, 1.0]]))
    for _ in range(2):  # fills the memory of losses with one
        losses = loss(logits, even)
        assert torch.equal(other(logits, uneven), losses)
    assert torch.equal(other.keep(losses, uneven), loss.keep(losses, even))


def test_a_step_along_the_gradient_makes_the_target_likelier(loss: UnitLoss) -> None:
    logits = torch.tensor(
        [[0.3, -0.2, 0.1], [0.0, 0.5, 0.2]], dtype=torch.float64, requires_grad=True
    )
    taught = targets([1, 0], 3)
    loss(logits, taught).sum().backward()
    assert logits.grad is not None
    before, after = logits.detach().softmax(-1), (logits.detach() - 0.1 * logits.grad).softmax(-1)
    assert ((after - before) * taught.hard).sum(-1).min() > 0


def test_only_learnt_weights_ask_for_a_guide() -> None:
    losses = {path.stem: instantiate(OmegaConf.load(path)) for path in FILES}
    guides = {name: loss.guide_from for name, loss in losses.items() if loss.needs_guide}
    assert guides == {"meta": "given", "sungen": "rows"}


def test_a_loss_without_a_guide_cannot_reweigh() -> None:
    with pytest.raises(NotImplementedError):
        UnitLoss().reweigh(torch.nn.Identity(), {}, EXTREME.targets, {}, EXTREME.targets)
    with pytest.raises(NotImplementedError):
        UnitLoss().contrast(torch.nn.Identity(), {}, EXTREME.logits, EXTREME.targets)
    with pytest.raises(NotImplementedError):
        UnitLoss()(EXTREME.logits, EXTREME.targets)
