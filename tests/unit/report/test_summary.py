"""The numbers at the head of the report."""

from __future__ import annotations

import dataclasses

import pytest
from tests.run_folders import LABELS, build_run

from tutelage.errors import RunError
from tutelage.records import Outcome
from tutelage.report.runs import Run, read_run
from tutelage.report.summary import changed_outcomes, class_lines, outcome_scores, summary_lines, wilson_interval


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return read_run(build_run(tmp_path_factory.mktemp("runs") / "run"))


def outcome(key: str, target: str, predicted: str) -> Outcome:
    return Outcome(key, "text", target, predicted, (1.0,), "test", 0)


@pytest.mark.parametrize(("accuracy", "count"), [(0.0, 1), (0.5, 10), (0.733, 695), (1.0, 40)])
def test_wilson_agrees_with_its_formula(accuracy: float, count: int) -> None:
    z = 1.959963984540054
    share = round(accuracy * count) / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    assert wilson_interval(accuracy, count) == pytest.approx((centre - half, centre + half), abs=1e-12)


@pytest.mark.parametrize(("accuracy", "count"), [(0.5, 0), (1.1, 10)])
def test_wilson_refuses_what_is_no_share(accuracy: float, count: int) -> None:
    with pytest.raises(ValueError, match="has no interval"):
        wilson_interval(accuracy, count)


def test_outcomes_are_scored_by_class() -> None:
    scores = outcome_scores([outcome("1", "a", "a"), outcome("2", "a", "b"), outcome("3", "b", "b")], ("a", "b", "c"))
    assert scores.accuracy == pytest.approx(2 / 3)
    assert scores.per_class["a"].recall == 0.5
    assert scores.per_class["b"].f1 == pytest.approx(2 / 3)
    assert scores.per_class["c"].support == 0
    assert scores.macro_f1 == pytest.approx(4 / 9)


def test_the_result_is_quoted_with_its_intervals(run: Run) -> None:
    lines = {line.name: line for line in summary_lines(run)}
    after = lines["student after"]
    assert after.scores is not None
    assert after.scores.accuracy == run.result["after"]["accuracy"]
    assert after.count == 90
    assert after.low < after.scores.accuracy < after.high
    raw = lines["teacher alone, raw"].scores
    assert raw is not None
    assert raw.accuracy == 0.48


def test_without_a_result_the_latest_round_stands_in(run: Run) -> None:
    lines = summary_lines(dataclasses.replace(run, result={}, after=()))
    assert [line.name for line in lines][:2] == ["student before", "student so far (round 4)"]
    assert lines[1].scores == run.metrics[-1].test
    assert all(line.count == 90 for line in lines)


def test_an_impossible_accuracy_is_named(run: Run) -> None:
    broken = dataclasses.replace(run, result={"after": {"accuracy": 73.1, "macro_f1": 0.7}})
    with pytest.raises(RunError, match=r"result\.json.*73\.1"):
        summary_lines(broken)


def test_classes_come_worst_first(run: Run) -> None:
    lines = class_lines(run)
    assert {line.label for line in lines} == set(LABELS)
    f1 = [line.after.f1 for line in lines if line.after]
    assert f1 == sorted(f1)
    assert sum(line.support for line in lines) == 90


def test_changed_outcomes_are_paired_by_id(run: Run) -> None:
    before = (outcome("1", "a", "b"), outcome("2", "a", "a"), outcome("3", "a", "a"))
    after = (outcome("3", "a", "b"), outcome("1", "a", "a"), outcome("2", "a", "a"), outcome("9", "a", "a"))
    assert changed_outcomes(dataclasses.replace(run, before=before, after=after)) == (3, 1, 1)
    assert changed_outcomes(dataclasses.replace(run, after=())) is None
