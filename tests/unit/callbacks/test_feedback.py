"""What the next round is aimed by, and what of it is exported."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.classification import MIXED, NAMES, TASK, outcome
from tests.helpers.fitting import ScriptedMethod, build, run

from tutelage.callbacks.feedback import FeedbackCollector
from tutelage.records import as_dicts, outcome_from_dict
from tutelage.runs.folder import RunFolder
from tutelage.timeline import Timeline


def collector(folder: Path, predict_then_train: bool = True) -> FeedbackCollector:
    return FeedbackCollector(TASK, ScriptedMethod(1), RunFolder(folder), predict_then_train)


def test_only_the_mistakes_are_exported(tmp_path: Path) -> None:
    given = collector(tmp_path).feedback(MIXED.outcomes, 1)
    assert given.outcomes == MIXED.outcomes
    assert given.per_class == TASK.scores(MIXED.outcomes)
    assert given.round == 0
    written = RunFolder(tmp_path).read_lines("feedback/round-001.jsonl")
    assert [line["id"] for line in written] == [one.id for one in MIXED.wrong]
    assert written[0].keys() == as_dicts([MIXED.wrong[0]])[0].keys()
    assert outcome_from_dict(written[0]) == MIXED.wrong[0]
    assert set(written[0]) >= {"text", "target", "predicted", "probabilities", "source"}


def test_no_mistakes_leave_an_empty_file(tmp_path: Path) -> None:
    collector(tmp_path).feedback([outcome(name, name, 1) for name in NAMES], 2)
    assert (tmp_path / "feedback" / "round-002.jsonl").read_text(encoding="utf-8") == ""


def test_what_was_kept_before_training_comes_first(tmp_path: Path) -> None:
    before, after = [outcome("Tool", "Food", 1)], [outcome("Tool", "Tool", 1)]
    first, second = collector(tmp_path), collector(tmp_path, predict_then_train=False)
    for one in (first, second):
        one.keep(before)
    assert first.feedback(after, 2).outcomes == tuple(before)
    assert second.feedback(after, 2).outcomes == tuple(after)
    resumed = collector(tmp_path)
    resumed.load_state_dict(first.state_dict())
    assert resumed.feedback(after, 2).outcomes == tuple(before)


@pytest.mark.parametrize("predict_then_train", [True, False])
def test_feedback_is_from_before_or_after_training(
    tmp_path: Path, encoder: Path, predict_then_train: bool
) -> None:
    fit = run(
        build(
            tmp_path,
            encoder,
            ScriptedMethod(2),
            Timeline(3, 3, 0, 0),
            predict_then_train=predict_then_train,
            rate=5e-2,
        )
    )
    start, aimed = fit.method.feedbacks
    assert {one.source for one in start.outcomes} == {"gold"}
    before, after = fit.record.before[1], fit.record.after[1]
    assert {one.source for one in aimed.outcomes} == {"hard"}
    assert [one.probabilities for one in before] != [one.probabilities for one in after]
    assert [(one.id, one.probabilities) for one in aimed.outcomes] == [
        (one.id, one.probabilities) for one in (before if predict_then_train else after)
    ]
    for round, given in ((1, start), (2, aimed)):
        assert [line["id"] for line in fit.lines(f"feedback/round-{round:03d}.jsonl")] == [
            one.id for one in given.wrong
        ]
