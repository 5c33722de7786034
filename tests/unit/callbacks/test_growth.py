"""The stages of a run under a real Trainer: their order, their rows, and resuming after a kill."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers.doubles import ScriptedTeacher
from tests.helpers.fitting import SHOTS, TEST, Fit, Killed, ScriptedMethod, build, run
from tests.helpers.tiny_student import tiny_network

from tutelage.errors import ConfigError, RunError
from tutelage.interruption import Interrupted, Interruption
from tutelage.records import Feedback, Outcome
from tutelage.selectors.protocol import EpochView, Step, Weighed
from tutelage.selectors.row_selection import EveryRow
from tutelage.teacher.base import Request
from tutelage.teacher.wrappers.budget import BudgetedTeacher
from tutelage.timeline import Position, Timeline

ROUND_TOKENS = 2 * 50
"""What a scripted round is billed: two prompts of 40 and two answers of 10."""


def counted(limit: int | None) -> BudgetedTeacher:
    def script(request: Request) -> str:
        return "y" * 10

    return BudgetedTeacher(ScriptedTeacher(script), limit)


def test_stages_follow_one_another_and_rows_are_trained_on(tmp_path: Path, encoder: Path) -> None:
    fit = run(build(tmp_path, encoder, ScriptedMethod(2)))
    assert [replace(position, steps_before=0) for position in fit.record.positions.values()] == [
        *(Position("start", 0, n, 2) for n in range(2)),
        *(Position("round", 1, n, 2) for n in range(2)),
        *(Position("round", 2, n, 2) for n in range(2)),
        Position("final", 3, 0, 1),
    ]
    gold = {f"gold-{shot.id}": 2 for shot in SHOTS}
    fresh = {round: {f"{round}-{n}": 1 for n in range(5)} for round in (1, 2)}
    alone = dict.fromkeys(gold, 1)
    expected = [
        alone,
        alone,
        gold | fresh[1],
        gold | fresh[1],
        gold | fresh[2],
        gold | fresh[2],
        gold | fresh[1] | fresh[2],
    ]
    assert [Counter(ids) for ids in fit.record.trained.values()] == expected
    assert fit.growth.stopped_by == "rounds"
    assert [(line["stage"], line["round"], line["epoch"]) for line in fit.lines()] == [
        ("start", 0, 1), ("round", 1, 3), ("round", 2, 5), ("final", 3, 6),
    ]  # fmt: skip
    assert [(line["accepted"], line["rejected"]) for line in fit.lines()] == [
        (3, 0),
        (8, 1),
        (13, 2),
        (13, 2),
    ]
    assert fit.reporter.stages[-1] == ("final", 3, (13, 2))
    assert ("predicting", 1) in fit.reporter.phases


def test_without_final_epochs_the_last_round_ends_it(tmp_path: Path, encoder: Path) -> None:
    fit = run(build(tmp_path, encoder, ScriptedMethod(1), Timeline(1, 1, 0, 0)))
    assert [position.stage for position in fit.record.positions.values()] == ["start", "round"]
    assert (fit.growth.stopped_by, len(fit.pool)) == ("rounds", 9)
    assert all(line["test"] for line in fit.lines())


def test_a_new_student_learns_the_final_stage(tmp_path: Path, encoder: Path) -> None:
    other = tiny_network(encoder, head_dropout=0.1, seed=7).state_dict()
    timeline = Timeline(1, 1, 1, 0)
    # At rate 0 every stage leaves the weights as they are.
    fit = run(
        build(tmp_path, encoder, ScriptedMethod(1), timeline, rate=0.0, new_weights=lambda: other)
    )
    final = fit.module.network.state_dict()
    assert all(torch.equal(final[name], value) for name, value in other.items())
    with pytest.raises(ConfigError, match="final_epochs=0 leaves it out"):
        build(
            tmp_path / "none",
            encoder,
            ScriptedMethod(1),
            Timeline(1, 1, 0, 0),
            new_weights=lambda: other,
        )


def retrained(folder: Path, encoder: Path, **given: Any) -> Fit:
    """A run each of whose rounds trains a new student on all rows."""
    start = tiny_network(encoder, head_dropout=0.1, seed=7).state_dict()
    timeline = Timeline(1, 2, 0, 0)
    return build(
        folder,
        encoder,
        ScriptedMethod(2),
        timeline,
        window="all",
        round_weights=lambda: start,
        **given,
    )


def test_each_round_trains_a_new_student(tmp_path: Path, encoder: Path) -> None:
    fit = run(retrained(tmp_path / "runs", encoder))
    # The last round by hand: the same start and rows, and nothing of the rounds before.
    again = retrained(tmp_path / "again", encoder)
    again.pool.append(fit.pool.rows[len(again.pool) :])
    again.module.network.load_state_dict(
        tiny_network(encoder, head_dropout=0.1, seed=7).state_dict()
    )
    again.module.steps = fit.growth.position.steps_before
    again.growth._move_to(Position("round", 2, 0, 2, 0, again.module.steps))
    first = fit.trainer.current_epoch - 2
    again.trainer.fit_loop.epoch_progress.current.processed = first
    again.trainer.fit_loop.epoch_progress.current.completed = first
    run(again)
    assert again.growth.stopped_by == fit.growth.stopped_by == "rounds"
    theirs = fit.module.network.state_dict()
    for name, value in again.module.network.state_dict().items():
        assert torch.equal(value, theirs[name])


def test_a_killed_run_of_new_students_ends_alike(tmp_path: Path, encoder: Path) -> None:
    whole = run(retrained(tmp_path / "whole", encoder))
    with pytest.raises(Killed):
        run(retrained(tmp_path / "killed", encoder, explode_at=4))
    resumed = run(retrained(tmp_path / "killed", encoder, resume=True), resume=True)
    assert resumed.numbers() == whole.numbers()


def test_the_student_before_predicts_the_rows_of_a_round(tmp_path: Path, encoder: Path) -> None:
    """The new student begins after the predictions that the next round follows."""
    kept, made = [], []
    fit = retrained(tmp_path, encoder)
    inner, start = fit.growth._collector.keep, fit.growth._round_weights
    assert start is not None

    def keep(outcomes: Any) -> None:
        kept.append(fit.module.network.state_dict()["classifier.weight"].clone())
        inner(outcomes)

    fit.growth._collector.keep = keep
    fit.growth._round_weights = lambda: made.append(len(kept)) or start()
    run(fit)
    assert made == [1, 2], "one new student per round, after its rows were predicted"
    assert not any(torch.equal(value, start()["classifier.weight"]) for value in kept)


def test_no_rounds_is_one_stage(tmp_path: Path, encoder: Path) -> None:
    fit = run(build(tmp_path, encoder, ScriptedMethod(0), Timeline(2, 1, 1, 0)))
    assert [position.stage for position in fit.record.positions.values()] == ["start", "start"]
    assert fit.method.feedbacks == []
    assert not (tmp_path / "feedback").exists()


def test_a_plateau_ends_growth(tmp_path: Path, encoder: Path) -> None:
    fit = run(build(tmp_path, encoder, ScriptedMethod(6), Timeline(1, 1, 1, 2), rate=0.0))
    assert fit.growth.stopped_by == "plateau"
    assert [line["round"] for line in fit.lines()] == [0, 1, 2, 3]
    assert fit.lines()[-1]["stage"] == "final"
    assert max(row.round for row in fit.pool.rows) == 2


def test_a_budget_ends_growth_before_a_round_that_would_not_be_whole(
    tmp_path: Path, encoder: Path
) -> None:
    teacher = counted(2 * ROUND_TOKENS + 30)
    fit = run(
        build(tmp_path, encoder, ScriptedMethod(6, teacher), Timeline(1, 1, 1, 0), budget=teacher)
    )
    assert fit.growth.stopped_by == "budget"
    assert [line["billed_tokens"] for line in fit.lines()] == [0, 100, 200, 200]
    assert max(row.round for row in fit.pool.rows) == 2
    assert fit.lines()[-1]["stage"] == "final"


def test_a_budget_that_runs_out_inside_a_round_keeps_the_rounds_before(
    tmp_path: Path, encoder: Path
) -> None:
    class Dearer(ScriptedMethod):
        """Its second round costs more than its first."""

        def next_rows(self, feedback: Any, round: int) -> Any:
            if round == 2:
                super().next_rows(feedback, round)
            return super().next_rows(feedback, round)

    teacher = counted(2 * ROUND_TOKENS + 30)
    fit = run(build(tmp_path, encoder, Dearer(6, teacher), Timeline(1, 1, 1, 0), budget=teacher))
    assert fit.growth.stopped_by == "budget"
    assert max(row.round for row in fit.pool.rows) == 1
    assert [line["stage"] for line in fit.lines()] == ["start", "round", "final"]


def test_a_budget_smaller_than_a_round_is_an_error_with_numbers(
    tmp_path: Path, encoder: Path
) -> None:
    class Sized(ScriptedMethod):
        round_settings = ("method.n_texts",)

    teacher = counted(50)
    with pytest.raises(
        ConfigError,
        match=r"budget.tokens=50 is smaller than one round: 50 tokens were billed .* 50 in all.*"
        r"fewer texts per round \(method.n_texts\)",
    ):
        run(build(tmp_path, encoder, Sized(2, teacher), budget=teacher))


def test_rounds_in_a_row_without_a_row_end_growth(tmp_path: Path, encoder: Path) -> None:
    """A round between them that brings rows begins the count anew."""
    lengths = Timeline(1, 1, 1, 0, stop_after_empty=2)
    method = ScriptedMethod(9, barren=(1, 3, 4, 5))
    fit = run(build(tmp_path, encoder, method, lengths))
    assert fit.growth.stopped_by == "nothing accepted"
    assert len(method.feedbacks) == 4
    assert fit.lines()[-1]["stage"] == "final"


def test_rounds_in_a_row_that_teach_nothing_end_growth(
    tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Outcome, "correct", True)
    for folder, limit, rounds in (("stops", 2, 2), ("goes on", 0, 4)):
        method = ScriptedMethod(4)
        lengths = Timeline(1, 1, 0, 0, stop_after_known=limit)
        fit = run(build(tmp_path / folder, encoder, method, lengths))
        assert len(method.feedbacks) == rounds
        assert fit.growth.stopped_by == ("nothing to learn" if limit else "rounds")


def test_the_count_of_empty_rounds_survives_a_resume(tmp_path: Path, encoder: Path) -> None:
    lengths = Timeline(1, 1, 0, 0, stop_after_empty=2)
    first = build(tmp_path, encoder, ScriptedMethod(1, barren=(1,)), lengths)
    run(first)
    state = first.growth.state_dict()
    again = build(tmp_path / "again", encoder, ScriptedMethod(9), lengths)
    again.growth.load_state_dict(state)
    assert again.growth.state_dict()["empty_rounds"] == [1, 0]


def test_a_round_that_gives_nothing_goes_by(tmp_path: Path, encoder: Path) -> None:
    fit = run(build(tmp_path, encoder, ScriptedMethod(2, barren=(1,)), Timeline(1, 1, 1, 0)))
    assert [len(one.outcomes) for one in fit.method.feedbacks] == [3, 0]
    assert [line["accepted"] for line in fit.lines()] == [3, 3, 8, 8]
    assert fit.lines()[1]["fresh"] is None


@pytest.mark.parametrize("wanted", [True, False])
def test_test_is_looked_at_where_its_numbers_are_quoted(
    tmp_path: Path, encoder: Path, wanted: bool
) -> None:
    fit = run(
        build(tmp_path, encoder, ScriptedMethod(1), Timeline(1, 1, 1, 0, test_every_round=wanted))
    )
    assert [bool(line["test"]) for line in fit.lines()] == [True, wanted, True]
    assert (
        len(fit.lines("predictions/test-before.jsonl"))
        == len(fit.lines("predictions/test-after.jsonl"))
        == len(TEST)
    )
    assert fit.round_logger.after == {
        key: fit.lines()[-1]["test"][key] for key in ("accuracy", "macro_f1")
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Fit:
    """The run that nothing disturbed."""
    return run(build(tmp_path_factory.mktemp("whole"), encoder, ScriptedMethod(2)))


@pytest.mark.parametrize("explode_at", [1, 3, 4, 6])
def test_a_killed_run_resumes_to_the_same_pool_and_numbers(
    whole: Fit, tmp_path: Path, encoder: Path, explode_at: int
) -> None:
    with pytest.raises(Killed):
        run(build(tmp_path / "killed", encoder, ScriptedMethod(2), explode_at=explode_at))
    began_anew = explode_at < 2  # before the first stage's end there is no checkpoint
    if began_anew:
        (tmp_path / "killed" / "pool" / "rows.jsonl").unlink()
    resumed = run(
        build(tmp_path / "killed", encoder, ScriptedMethod(2), resume=not began_anew),
        resume=not began_anew,
    )
    assert resumed.pool.digest() == whole.pool.digest()
    assert resumed.numbers() == whole.numbers()
    assert resumed.lines("predictions/test-after.jsonl") == whole.lines(
        "predictions/test-after.jsonl"
    )
    assert resumed.growth.stopped_by == whole.growth.stopped_by
    assert min(resumed.record.trained) == (0 if began_anew else explode_at - explode_at % 2)
    assert all(
        resumed.record.trained[epoch] == whole.record.trained[epoch]
        for epoch in resumed.record.trained
    )
    assert not list((tmp_path / "killed").rglob("*.part"))


def test_rows_and_lines_after_the_checkpoint_are_taken_back(
    whole: Fit, tmp_path: Path, encoder: Path
) -> None:
    """A kill between growth and checkpoint leaves rows missing from the checkpoint."""
    with pytest.raises(Killed):
        run(build(tmp_path / "killed", encoder, ScriptedMethod(2), explode_at=4))
    fit = build(tmp_path / "killed", encoder, ScriptedMethod(2), resume=True)
    fit.pool.append(ScriptedMethod(2).next_rows(Feedback(8, (), {}), 9).rows)
    with (tmp_path / "killed" / "metrics.jsonl").open("a", encoding="utf-8") as handle:
        handle.write('{"round": 9}\n{"rou')
    run(fit, resume=True)
    assert fit.pool.digest() == whole.pool.digest()
    assert fit.numbers() == whole.numbers()


def test_a_pool_that_was_altered_is_not_gone_on_with(tmp_path: Path, encoder: Path) -> None:
    with pytest.raises(Killed):
        run(build(tmp_path, encoder, ScriptedMethod(2), explode_at=3))
    rows = tmp_path / "pool" / "rows.jsonl"
    rows.write_text(
        rows.read_text(encoding="utf-8").replace("animal", "canimal", 1), encoding="utf-8"
    )
    with pytest.raises(RunError, match="was altered since"):
        run(build(tmp_path, encoder, ScriptedMethod(2), resume=True), resume=True)


def test_a_signal_ends_the_fit_between_batches(tmp_path: Path, encoder: Path) -> None:
    asked = Interruption()
    asked.asked = True
    fit = build(tmp_path, encoder, ScriptedMethod(2), interruption=asked)
    with pytest.raises(Interrupted):
        run(fit)
    assert len(fit.record.trained[0]) <= 4


@pytest.mark.parametrize("lengths", [(0, 1, 1, 0), (1, 0, 1, 0), (1, 1, -1, 0)])
def test_lengths_that_cannot_be(
    tmp_path: Path, encoder: Path, lengths: tuple[int, int, int, int]
) -> None:
    with pytest.raises(
        ConfigError, match=re.escape(f"start_epochs={lengths[0]}, round_epochs={lengths[1]}")
    ):
        build(tmp_path, encoder, ScriptedMethod(1), Timeline(*lengths))


class GoldStagesOnly(EveryRow):
    """Keeps nothing in a stage with generated rows."""

    needs = frozenset({"epoch"})

    def begin(self, view: EpochView) -> None:
        self._keeps = float(view.gold.all())

    def weigh(self, step: Step) -> Weighed:
        return Weighed(np.full(len(step.ids), self._keeps), {})


def test_a_stage_without_a_step_has_no_loss_whether_resumed_or_not(
    tmp_path: Path, encoder: Path
) -> None:
    def part(name: str, **more: Any) -> Fit:
        method = ScriptedMethod(2)
        return build(tmp_path / name, encoder, method, selector=GoldStagesOnly(), **more)

    whole = run(part("whole"))
    losses = [line["train_loss"] for line in whole.lines()]
    assert losses[0] > 0
    assert losses[1:] == [None, None, None]
    with pytest.raises(Killed):
        run(part("killed", explode_at=4))
    assert run(part("killed", resume=True), resume=True).numbers() == whole.numbers()
