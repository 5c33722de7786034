"""The student under a real Trainer: outcomes, learning rates, and a NaN loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from tests.helpers.classification import NAMES, TASK
from tests.helpers.fitting import DEV, TEST, Killed, ScriptedMethod, build, run
from tests.helpers.tiny_student import tiny_network

from tutelage.errors import StudentError
from tutelage.records import Feedback
from tutelage.selectors.llkd import LLKD
from tutelage.selectors.protocol import Step, Weighed
from tutelage.selectors.row_selection import EveryRow
from tutelage.student.losses.contrastive import ContrastiveLoss
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.meta import MetaReweightedLoss
from tutelage.student.losses.protocol import Targets, UnitLoss
from tutelage.student.losses.robust import TruncatedLoss
from tutelage.student.module import StudentModule
from tutelage.student.schedule import RateSchedule
from tutelage.timeline import Position, Timeline


class Nan(UnitLoss):
    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        return logits.sum(-1) * float("nan")


def student(encoder: Path, pooling: str = "mean") -> StudentModule:
    network = tiny_network(encoder, pooling)
    return StudentModule(
        network,
        TASK,
        UnitLoss(),
        RateSchedule(),
        EveryRow(),
        batch_size=4,
        learning_rate=1e-3,
        head_learning_rate=1e-1,
        weight_decay=0.01,
    )


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
    assert sorted(one.id for one in fit.module.outcomes["test"]) == sorted(
        example.id for example in TEST
    )


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
        factors = [
            schedule.factor(position.progress(batch, len(rates))) for batch in range(len(rates))
        ]
        assert rates == [pytest.approx((1e-2 * factor, 3e-2 * factor)) for factor in factors]
    assert fit.record.rates[2][0] == pytest.approx((5e-4, 1.5e-3))  # a new stage warms up again


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_the_head_has_its_own_rate_and_nothing_is_left_out(encoder: Path, pooling: str) -> None:
    module = student(encoder, pooling)
    body, head = module.configure_optimizers().param_groups
    assert (body["lr"], head["lr"], body["weight_decay"]) == (1e-3, 1e-1, 0.01)
    assert {id(value) for value in head["params"]} == {
        id(value) for value in module.network.classifier.parameters()
    }
    assert len(body["params"]) + len(head["params"]) == len(list(module.network.parameters()))
    assert len({id(value) for value in (*body["params"], *head["params"])}) == len(
        list(module.parameters())
    )


def test_a_loss_that_is_no_number_names_what_to_lower(tmp_path: Path, encoder: Path) -> None:
    fit = build(tmp_path, encoder, ScriptedMethod(1), rate=0.5, loss=Nan())
    with pytest.raises(
        StudentError,
        match=r"became nan in round 0, epoch 0, batch 0\. Lower student\.learning_rate "
        r"\(now 0\.5\) or student\.head_learning_rate \(now 1\.5\)",
    ):
        run(fit)


def test_a_student_without_a_number_left_is_told_though_a_selector_would_leave_its_rows_out(
    tmp_path: Path, encoder: Path
) -> None:
    fit = build(tmp_path, encoder, ScriptedMethod(1), rate=0.5, selector=LLKD(student_gate=False))
    with torch.no_grad():
        fit.module.network.classifier.weight.fill_(float("nan"))
    with pytest.raises(
        StudentError,
        match=r"The student's loss became nan in round 0, epoch 0, batch 0\. Lower student\.",
    ):
        run(fit)


def test_a_student_can_learn(tmp_path: Path, encoder: Path) -> None:
    fit = run(build(tmp_path, encoder, ScriptedMethod(0), Timeline(30, 1, 0, 0), rate=1e-2))
    (line,) = fit.lines()
    assert line["fresh"] == {
        "accuracy": 1.0,
        "count": 3,
    }  # the three shots; a random encoder learns no more from them
    assert line["train_loss"] < 0.1


def test_it_stands_at_the_start(encoder: Path) -> None:
    module: Any = student(encoder)
    assert module.position == Position("start", 0, 0, 1)
    assert module.outcomes == {}


class Half:
    """Keeps every other row of a batch, with weight 2, and records its inputs."""

    stage = "train"
    needs: frozenset[str] = frozenset()
    state: list[int]

    def __init__(
        self,
        normaliser: str = "kept",
        refill: bool = False,
        none: bool = False,
        watches: bool = True,
    ) -> None:
        self.normaliser, self.refill, self._none, self.watches = normaliser, refill, none, watches
        self.state = []

    def begin(self, view: Any) -> None:
        raise AssertionError("it needs nothing")

    def weigh(self, step: Step) -> Weighed:
        self.state.append(len(step.ids))
        assert np.isnan(step.probabilities).any() != self.watches or not self.refill
        weights = np.array(
            [0.0 if index % 2 or self._none else 2.0 for index in range(len(step.ids))]
        )
        return Weighed(weights, {"kept": int((weights > 0).sum())})

    def state_dict(self) -> dict[str, Any]:
        return {"state": list(self.state)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = list(state["state"])


def test_rows_that_the_selector_leaves_out_teach_nothing_and_the_mean_is_divided_as_it_says(
    tmp_path: Path, encoder: Path
) -> None:
    fit = build(tmp_path, encoder, ScriptedMethod(0), Timeline(1, 1, 0, 0))
    data, module = fit.data, fit.module
    data.trainer = fit.trainer
    fit.trainer.datamodule = data
    module.trainer = fit.trainer
    batch = next(iter(data.train_dataloader()))
    logits = torch.randn(
        len(batch["index"]), len(NAMES), generator=torch.Generator().manual_seed(0)
    )
    rows = torch.tensor([2.0] + [0.0] * (len(logits) - 1))
    one = torch.nn.functional.cross_entropy(logits, batch["targets"], reduction="none")[0]

    def step(weights: torch.Tensor) -> torch.Tensor | None:
        return module._step_loss(batch, [(logits, None)], weights[:, None], 0.0)

    for normaliser, wanted in (
        ("weights", one),
        ("kept", 2 * one),
        ("batch", 2 * one / len(logits)),
    ):
        module.selector = Half(normaliser)  # type: ignore[assignment]
        torch.testing.assert_close(step(rows), wanted)
    assert step(torch.zeros(len(logits))) is None


class Scale(UnitLoss):
    """1 for every unit, so the mean loss is the scale of a step; optionally with a guide."""

    def __init__(self, guided: bool) -> None:
        super().__init__()
        self.needs_guide, self._meta = guided, MetaReweightedLoss()
        self.factors: list[torch.Tensor] = []

    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        return torch.ones_like(targets.weights)

    def reweigh(self, *arguments: Any) -> torch.Tensor:
        self.factors.append(self._meta.reweigh(*arguments))
        return self.factors[-1]


@pytest.mark.parametrize("normaliser", ["kept", "batch", "weights"])
def test_a_guided_step_is_as_large_as_one_without_a_guide_whatever_the_selector_kept(
    tmp_path: Path, encoder: Path, normaliser: str
) -> None:
    fit = build(tmp_path, encoder, ScriptedMethod(1), Timeline(1, 1, 0, 0))
    fit.pool.append(fit.method.next_rows(Feedback(1, (), {}), 1).rows)
    data, module = fit.data, fit.module
    fit.trainer.datamodule = data  # type: ignore[attr-defined]
    data.trainer = module.trainer = fit.trainer
    module.selector = Half(normaliser)  # type: ignore[assignment]
    guided, plain, harmful = Scale(True), Scale(False), 0
    for batch in data.train_dataloader():
        logits = module(batch).detach()
        for given in ([0.9, 0.2, 0.0, 0.5], [1.0, 0.0, 1.0, 1.0], [0.1, 0.8, 0.4, 0.3]):
            rows, scales = torch.tensor(given)[: len(logits)], []
            for module.loss in (plain, guided):
                scales.append(module._step_loss(batch, [(logits, None)], rows[:, None], 0.0))
            factors = guided.factors[-1]
            assert not factors[rows == 0].any()
            if scales[1] is not None:
                torch.testing.assert_close(scales[1], scales[0])
                harmful += int((factors[rows > 0] == 0).sum())
    assert harmful, "some kept rows get the factor 0"


def test_a_contrastive_loss_sees_the_states_of_the_same_pass_and_moves_the_encoder(
    tmp_path: Path, encoder: Path
) -> None:
    fit = build(tmp_path, encoder, ScriptedMethod(0), Timeline(1, 1, 0, 0))
    data, module = fit.data, fit.module
    data.trainer = fit.trainer
    module.network.eval()
    module.loss = ContrastiveLoss(0.5)
    batch = next(iter(data.train_dataloader()))
    # Two rows of one class, and others to tell them from.
    batch["targets"] = torch.eye(len(NAMES))[[0, 0, *[1] * (len(batch["targets"]) - 2)]]
    [(logits, features)] = module._passes(batch)
    assert features is not None
    torch.testing.assert_close(logits, module(batch))
    states = module.network.encoder(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
    ).last_hidden_state
    for row, length in enumerate(batch["attention_mask"].sum(1).tolist()):
        torch.testing.assert_close(features[row], states[row, :length].mean(0))
    module.trainer, fit.trainer.datamodule = fit.trainer, data  # type: ignore[attr-defined]
    rows = torch.ones(len(logits))
    total = module._step_loss(batch, [(logits, features)], rows[:, None], 0.0)
    assert total is not None
    taught = module._targets(batch, (), 0.0)
    compared = module.loss.contrast(module.network, batch, features, taught)
    wanted = module.loss(logits, taught) + compared
    torch.testing.assert_close(total, wanted.mean())
    # The head's loss alone would reach the encoder too.
    compared.sum().backward()
    weights = [value.grad for value in module.network.encoder.parameters()]
    assert any(grad is not None and grad.any() for grad in weights)
    module.loss = CrossEntropyLoss()
    assert module._passes(batch)[0][1] is None


class Noting(CrossEntropyLoss):
    """Records the progress of the stage at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.progress: list[float] = []

    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        self.progress.append(targets.progress)
        return super().forward(logits, targets)


def test_a_loss_knows_the_place_inside_an_epoch(tmp_path: Path, encoder: Path) -> None:
    loss = Noting()
    run(build(tmp_path, encoder, ScriptedMethod(1), Timeline(1, 2, 0, 0), loss=loss))
    # A batch of shots; then two epochs of three batches.
    assert loss.progress == pytest.approx([0, 0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])


def test_a_stage_of_one_epoch_comes_to_leave_units_out(tmp_path: Path, encoder: Path) -> None:
    class Counting(TruncatedLoss):
        dropped: ClassVar[list[int]] = []

        def keep(self, losses: torch.Tensor, targets: Targets) -> torch.Tensor:
            factors = super().keep(losses, targets)
            self.dropped.append(int((factors == 0).sum()))
            return factors

    run(build(tmp_path, encoder, ScriptedMethod(1), Timeline(1, 1, 0, 0), loss=Counting(0.5, 0.5)))
    # The batch of shots, then batches of 4, 4 and 3 at 0, 1/3 and 2/3 of the stage.
    assert len(Counting.dropped) == 4
    assert Counting.dropped[:2] == [0, 0]
    assert all(Counting.dropped[2:])


def test_a_batch_of_which_nothing_is_kept_makes_no_step(tmp_path: Path, encoder: Path) -> None:
    fit = build(
        tmp_path,
        encoder,
        ScriptedMethod(1),
        Timeline(2, 2, 0, 0),
        rate=0.1,
        selector=Half(none=True),
    )
    before = {name: value.clone() for name, value in fit.module.network.state_dict().items()}
    run(fit)
    assert fit.module.steps == 0
    assert all(
        torch.equal(before[name], value) for name, value in fit.module.network.state_dict().items()
    )
    assert fit.lines()[0]["train_loss"] is None
    assert {(str(line["kept"]), line["steps"]) for line in fit.lines("selection.jsonl")} == {
        ("{}", 0)
    }


def test_kept_rows_are_gathered_until_a_batch_is_full(tmp_path: Path, encoder: Path) -> None:
    fit = run(
        build(
            tmp_path, encoder, ScriptedMethod(1), Timeline(2, 4, 0, 0), selector=Half(refill=True)
        )
    )
    # 3 shots per epoch give one batch of 3 with 2 kept rows: a batch of 4 is full after two epochs.
    # Then 5 rows and 6 shots (each shot twice): batches of 4, 4 and 3 keep 2 rows each, so two
    # batches make a step; 4 epochs of 3 batches are 12.
    assert fit.module.steps == 1 + 6
    assert sum(fit.module.selector.state) == 2 * 3 + 4 * 11  # type: ignore[attr-defined]


@pytest.mark.parametrize("watches", [True, False])
def test_a_refilled_batch_costs_no_pass_over_what_is_left_out_unless_the_selector_watches(
    tmp_path: Path, encoder: Path, watches: bool
) -> None:
    fit = build(
        tmp_path,
        encoder,
        ScriptedMethod(0),
        Timeline(4, 4, 0, 0),
        selector=Half(refill=True, watches=watches),
    )
    seen: list[int] = []
    fit.module.network.register_forward_hook(
        lambda module, _inputs, output: seen.append(len(output.logits)) if module.training else None
    )
    run(fit)
    # 4 epochs with one batch of 3 and 2 kept rows: two steps of 4.
    assert fit.module.steps == 2
    assert sorted(seen) == ([3, 3, 3, 3, 4, 4] if watches else [4, 4])


def test_a_stage_ends_when_its_updates_are_made(tmp_path: Path, encoder: Path) -> None:
    fit = run(build(tmp_path, encoder, ScriptedMethod(1), Timeline(50, 50, 50, 0, False, 5, 7, 4)))
    assert fit.module.steps == 5 + 7 + 4
    assert [(stage, round) for stage, round, _ in fit.reporter.stages] == [
        ("start", 0),
        ("round", 1),
        ("final", 2),
    ]
    positions = list(fit.record.positions.values())
    # 1, 3 and 2 batches per epoch: the last one of a stage may be cut short.
    assert [
        sum(one.stage == stage for one in positions) for stage in ("start", "round", "final")
    ] == [5, 3, 2]
    assert all(line["dev"] for line in fit.lines())
    assert sorted(one.id for one in fit.module.outcomes["dev"]) == sorted(
        example.id for example in DEV
    )


@pytest.mark.parametrize("refill", [False, True])
def test_updates_and_the_selector_s_state_survive_a_resume(
    tmp_path: Path, encoder: Path, refill: bool
) -> None:
    timeline = Timeline(3, 9, 9, 0, False, 0, 7, 4)
    whole = run(
        build(
            tmp_path / "whole", encoder, ScriptedMethod(2), timeline, selector=Half(refill=refill)
        )
    )
    killed = build(
        tmp_path / "killed",
        encoder,
        ScriptedMethod(2),
        timeline,
        selector=Half(refill=refill),
        explode_at=8,
    )
    with pytest.raises(Killed):
        run(killed)
    again = run(
        build(
            tmp_path / "killed",
            encoder,
            ScriptedMethod(2),
            timeline,
            selector=Half(refill=refill),
            resume=True,
        ),
        resume=True,
    )
    assert again.numbers() == whole.numbers()
    assert again.lines("selection.jsonl") == whole.lines("selection.jsonl")
    assert again.module.steps == whole.module.steps
    assert again.module.selector.state == whole.module.selector.state  # type: ignore[attr-defined]
    for name, value in whole.module.network.state_dict().items():
        assert torch.equal(value, again.module.network.state_dict()[name])
