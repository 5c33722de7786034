"""The student under a real Trainer: outcomes, rates, and a loss that is no number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.classroom import NAMES, TASK
from tests.fits import DEV, TEST, ScriptedMethod, build, run
from tests.tiny_student import tiny_network

from tutelage.callbacks.growth import Timeline
from tutelage.errors import StudentError
from tutelage.student.module import StudentModule
from tutelage.student.schedule import Position, RateSchedule


class Nan(torch.nn.Module):
    def forward(self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return logits.sum() * float("nan")


def student(encoder: Path, pooling: str = "mean") -> StudentModule:
    network = tiny_network(encoder, pooling)
    return StudentModule(network, TASK, torch.nn.Identity(), RateSchedule(), learning_rate=1e-3, head_learning_rate=1e-1, weight_decay=0.01)


def test_outcomes_of_dev_and_fresh_are_collected(tmp_path: Path, encoder: Path) -> None:
    fit = run(build(tmp_path, encoder, ScriptedMethod(1), Timeline(1, 2, 0, 0)))
    dev, fresh = fit.module.outcomes["dev"], fit.module.outcomes["fresh"]
    assert sorted(one.id for one in dev) == sorted(example.id for example in DEV)
    assert {one.source for one in dev} == {"dev"}
    assert sorted(one.id for one in fresh) == [f"1-{n}" for n in range(5)]
    assert {(one.source, one.round) for one in fresh} == {("hard", 1)}
    gold = {example.id: example.label for example in DEV}
    for one in (*dev, *fresh):
        assert one.predicted == NAMES[one.probabilities.index(max(one.probabilities))]
        assert sum(one.probabilities) == pytest.approx(1, abs=1e-5)
        assert gold.get(one.id, one.target) == one.target
    assert sorted(one.id for one in fit.module.outcomes["test"]) == sorted(example.id for example in TEST)


def test_lightning_s_own_test_loop_works_too(tmp_path: Path, encoder: Path) -> None:
    fit = run(build(tmp_path, encoder, ScriptedMethod(0), Timeline(1, 1, 0, 0)))
    predicted = list(fit.module.outcomes["test"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit.trainer, "reload_dataloaders_every_n_epochs", 1, raising=False)
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit.trainer.test(fit.module, datamodule=fit.data, verbose=False)
    assert fit.module.outcomes["test"] == predicted


def test_predict_leaves_training_as_it_was(tmp_path: Path, encoder: Path) -> None:
    fit = run(build(tmp_path, encoder, ScriptedMethod(0), Timeline(1, 1, 0, 0)))
    for training in (True, False):
        fit.module.train(training)
        first = list(fit.module.predict(fit.data.test_dataloader(), "test"))
        assert fit.module.training is training
        assert first == list(fit.module.predict(fit.data.test_dataloader(), "test"))
        assert not fit.module(next(iter(fit.data.test_dataloader()))).is_inference()


def test_rates_follow_the_place_in_the_stage(tmp_path: Path, encoder: Path) -> None:
    fit = run(build(tmp_path, encoder, ScriptedMethod(1), Timeline(2, 2, 0, 0), rate=1e-2))
    schedule = RateSchedule()
    for epoch, rates in fit.record.rates.items():
        position = fit.record.positions[epoch]
        factors = [schedule.factor(position.progress(batch, len(rates))) for batch in range(len(rates))]
        assert rates == [pytest.approx((1e-2 * factor, 3e-2 * factor)) for factor in factors]
    assert fit.record.rates[2][0] == pytest.approx((5e-4, 1.5e-3))  # a new stage warms up again


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_the_head_has_its_own_rate_and_nothing_is_left_out(encoder: Path, pooling: str) -> None:
    module = student(encoder, pooling)
    body, head = module.configure_optimizers().param_groups
    assert (body["lr"], head["lr"], body["weight_decay"]) == (1e-3, 1e-1, 0.01)
    assert {id(value) for value in head["params"]} == {id(value) for value in module.network.classifier.parameters()}
    assert len(body["params"]) + len(head["params"]) == len(list(module.network.parameters()))
    assert len({id(value) for value in (*body["params"], *head["params"])}) == len(list(module.parameters()))


def test_a_loss_that_is_no_number_names_what_to_lower(tmp_path: Path, encoder: Path) -> None:
    fit = build(tmp_path, encoder, ScriptedMethod(1), rate=0.5, loss=Nan())
    with pytest.raises(StudentError, match=r"became nan in round 0, epoch 0, batch 0. Lower student.learning_rate \(now 0.5\) or "
                                           r"student.head_learning_rate \(now 1.5\)"):  # fmt: skip
        run(fit)


def test_a_student_can_learn(tmp_path: Path, encoder: Path) -> None:
    fit = run(build(tmp_path, encoder, ScriptedMethod(0), Timeline(30, 1, 0, 0), rate=1e-2))
    (line,) = fit.lines()
    assert line["fresh"] == {"accuracy": 1.0, "count": 3}  # its three shots; a random encoder learns no more from so few
    assert line["train_loss"] < 0.1


def test_it_stands_at_the_start(encoder: Path) -> None:
    module: Any = student(encoder)
    assert module.position == Position("start", 0, 0, 1)
    assert module.outcomes == {}
