"""The student that did best on dev is the one that a run ends with, whole or resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.classification import NAMES
from tests.helpers.fitting import TEST, Fit, Killed, ScriptedMethod, build, run

from tutelage.callbacks.checkpoint import BestStudent
from tutelage.errors import RunError
from tutelage.records import Feedback, Growth
from tutelage.timeline import Position, Timeline

LINES = Timeline(20, 2, 1, 0, test_every_round=True)


class Misleading(ScriptedMethod):
    """Gives every row the label of the next class, from round ``since`` on."""

    def __init__(self, rounds: int, since: int) -> None:
        super().__init__(rounds)
        self._since = since

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        growth = super().next_rows(feedback, round)
        if round < self._since:
            return growth
        wrong = dict(zip(NAMES, (*NAMES[1:], NAMES[0]), strict=True))
        return replace(
            growth, rows=tuple(replace(row, target=wrong[row.target]) for row in growth.rows)
        )


def ended(
    folder: Path, encoder: Path, method: ScriptedMethod, keep_best: bool = True, **given: Any
) -> Fit:
    return run(
        build(folder, encoder, method, LINES, keep_best=keep_best, **given),
        resume=bool(given.get("resume")),
    )


def best_line(fit: Fit) -> dict[str, Any]:
    """The last of the lines that have the highest score on dev."""
    lines = fit.lines()
    return max(reversed(lines), key=lambda line: line["dev"][fit.module.task.monitor])


@pytest.mark.parametrize(
    "method",
    [Misleading(2, 1), Misleading(3, 2), ScriptedMethod(2)],
    ids=["from the first", "from the second", "never"],
)
def test_a_run_ends_with_the_student_of_its_best_stage(
    tmp_path: Path, encoder: Path, method: ScriptedMethod
) -> None:
    fit = ended(tmp_path, encoder, method)
    best, kept = best_line(fit), fit.growth.best_student
    assert kept is not None
    assert kept.stage is not None
    assert (kept.stage["stage"], kept.stage["round"]) == (best["stage"], best["round"])
    assert kept.stage["dev"] == best["dev"][fit.module.task.monitor]
    if isinstance(method, Misleading):
        assert best["stage"] != "final"
        assert best["test"] != fit.lines()[-1]["test"]
    # The numbers that are quoted, the predictions and the weights are that student's.
    assert fit.round_logger.after == {key: best["test"][key] for key in ("accuracy", "macro_f1")}
    after = fit.lines("predictions/test-after.jsonl")
    again = fit.module.predict(fit.data.test_dataloader(), "test")
    assert [line["predicted"] for line in after] == [one.predicted for one in again]
    assert len(after) == len(TEST)
    assert fit.round_logger.before == {
        key: fit.lines()[0]["test"][key] for key in ("accuracy", "macro_f1")
    }


def test_without_it_the_last_student_stays(tmp_path: Path, encoder: Path) -> None:
    fit = ended(tmp_path, encoder, Misleading(2, 1), keep_best=False)
    assert fit.growth.best_student is None
    assert fit.round_logger.after == {
        key: fit.lines()[-1]["test"][key] for key in ("accuracy", "macro_f1")
    }
    assert not list(tmp_path.rglob("best-*"))


@pytest.mark.parametrize("explode_at", [20, 22, 24])
def test_a_killed_run_ends_with_the_same_student(
    tmp_path: Path, encoder: Path, explode_at: int
) -> None:
    whole = ended(tmp_path / "whole", encoder, Misleading(2, 2))
    with pytest.raises(Killed):
        ended(tmp_path / "killed", encoder, Misleading(2, 2), explode_at=explode_at)
    resumed = ended(tmp_path / "killed", encoder, Misleading(2, 2), resume=True)
    assert resumed.round_logger.after == whole.round_logger.after
    the_same(resumed, whole)


class Dying(Misleading):
    """Is killed while it generates the texts of round ``at``.

    The stage before has ended, and no checkpoint contains it.
    """

    def __init__(self, at: int) -> None:
        super().__init__(2, 2)
        self._at = at

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        if round == self._at:
            raise Killed
        return super().next_rows(feedback, round)


def the_same(resumed: Fit, whole: Fit) -> None:
    assert resumed.growth.best_student is not None
    assert whole.growth.best_student is not None
    assert resumed.growth.best_student.state_dict() == whole.growth.best_student.state_dict()
    assert resumed.lines("predictions/test-after.jsonl") == whole.lines(
        "predictions/test-after.jsonl"
    )
    for ours, theirs in zip(resumed.module.parameters(), whole.module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_kill_between_a_stage_s_end_and_its_checkpoint_changes_nothing(
    tmp_path: Path, encoder: Path
) -> None:
    whole = ended(tmp_path / "whole", encoder, Misleading(2, 2))
    with pytest.raises(Killed):
        ended(tmp_path / "killed", encoder, Dying(2))
    the_same(ended(tmp_path / "killed", encoder, Misleading(2, 2), resume=True), whole)


def test_a_kill_at_the_very_end_changes_nothing(
    tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ended(tmp_path / "whole", encoder, Misleading(2, 1))

    def killed(keeper: BestStudent, network: torch.nn.Module) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(BestStudent, "restore", killed)
        with pytest.raises(Killed):
            ended(tmp_path / "killed", encoder, Misleading(2, 1))
    the_same(ended(tmp_path / "killed", encoder, Misleading(2, 1), resume=True), whole)


def offered(keeper: BestStudent, *scores: float) -> list[torch.nn.Module]:
    """Offers a network a score, one a round."""
    networks = []
    for round, score in enumerate(scores):
        torch.manual_seed(round)
        networks.append(torch.nn.Linear(2, 2))
        keeper.offer(score, Position("round", round, 0, 1), networks[-1])
    return networks


def test_of_equal_scores_the_later_is_kept_and_no_number_never(tmp_path: Path) -> None:
    keeper = BestStudent(tmp_path)
    networks = offered(keeper, 0.2, 0.5, 0.5, 0.4, float("nan"))
    assert keeper.stage == {"name": "after round 2", "stage": "round", "round": 2, "dev": 0.5}
    keeper.restore(networks[0])
    torch.testing.assert_close(networks[0].weight, networks[2].weight)


def test_weights_that_a_checkpoint_may_name_stay_and_older_ones_go(tmp_path: Path) -> None:
    keeper = BestStudent(tmp_path)
    offered(keeper, 0.1, 0.2)
    state = keeper.state_dict()
    networks = offered(keeper, 0.0, 0.0, 0.3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best-0001-round.pt",
        "best-0002-round.pt",
    ]
    resumed = BestStudent(tmp_path)
    resumed.load_state_dict(state)
    resumed.restore(networks[2])
    torch.testing.assert_close(networks[2].weight, networks[1].weight)


def test_a_full_disk_leaves_the_older_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = BestStudent(tmp_path)
    offered(keeper, 0.1)

    def full(state: Any, path: Path) -> None:
        path.write_text("half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(
            RunError, match=r"best-0000-final.pt could not be written: No space left.*resume=true"
        ):
            keeper.offer(0.2, Position("final", 0, 0, 1), torch.nn.Linear(2, 2))
    assert [path.name for path in tmp_path.iterdir()] == ["best-0000-round.pt"]
