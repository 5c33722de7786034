"""The numbers at the head of the report."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.helpers.ner_folders import TYPES, build_ner_run
from tests.helpers.run_folders import LABELS, build_run

from tutelage.errors import RunError
from tutelage.records import Label, Outcome
from tutelage.report.intervals import (
    DRAWS,
    entity_f1_interval,
    macro_f1_interval,
    wilson_interval,
)
from tutelage.report.summary import (
    changed_outcomes,
    class_lines,
    error_lines,
    outcome_scores,
    summary_lines,
)
from tutelage.runs.read import Run, read_run
from tutelage.tasks.classification import ClassificationTask
from tutelage.tasks.spans import Span, write_spans


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
    half = (
        z / (1 + z * z / count) * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    )
    assert wilson_interval(accuracy, count) == pytest.approx(
        (centre - half, centre + half), abs=1e-12
    )


@pytest.mark.parametrize(("accuracy", "count"), [(0.5, 0), (1.1, 10)])
def test_wilson_refuses_what_is_no_share(accuracy: float, count: int) -> None:
    with pytest.raises(ValueError, match="has no interval"):
        wilson_interval(accuracy, count)


def test_outcomes_are_scored_by_class(run: Run) -> None:
    asked = dataclasses.replace(
        run, task=ClassificationTask([Label(name, name, "") for name in "abc"])
    )
    scores = outcome_scores(
        asked, [outcome("1", "a", "a"), outcome("2", "a", "b"), outcome("3", "b", "b")]
    )
    assert scores.value("accuracy") == pytest.approx(2 / 3)
    assert scores.per_class["a"].recall == 0.5
    assert scores.per_class["b"].f1 == pytest.approx(2 / 3)
    assert scores.per_class["c"].support == 0
    # As in result.json, over classes with examples or predictions: c has neither.
    assert scores.value("macro_f1") == pytest.approx(2 / 3)


def test_the_result_is_quoted_with_its_intervals(run: Run) -> None:
    lines = {line.name: line for line in summary_lines(run)}
    after = lines["student after"]
    assert after.scores is not None
    assert after.scores.value("accuracy") == run.result["after"]["accuracy"]
    assert after.count == 90
    assert after.interval is not None
    assert after.interval[0] < after.scores.value("accuracy") < after.interval[1]
    raw = lines["teacher alone, raw"].scores
    assert raw is not None
    assert raw.value("accuracy") == 0.48


def test_the_majority_class_comes_last_recorded_or_counted(run: Run) -> None:
    targets = [outcome.target for outcome in run.after]
    most = max(map(targets.count, targets)) / len(targets)
    # An older folder has no record of it.
    assert "majority" not in run.result
    *_, counted = summary_lines(run)
    assert counted.name == "majority class"
    assert counted.count == len(targets)
    assert counted.interval is None
    assert counted.scores is not None
    assert counted.scores.value("accuracy") == pytest.approx(most)
    told = {**run.result, "majority": {"accuracy": 0.88, "macro_f1": 0.47, "label": "ham"}}
    *_, recorded = summary_lines(dataclasses.replace(run, result=told))
    assert recorded.scores is not None
    assert recorded.scores.values == {"accuracy": 0.88, "macro_f1": 0.47}


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
    after = (
        outcome("3", "a", "b"),
        outcome("1", "a", "a"),
        outcome("2", "a", "a"),
        outcome("9", "a", "a"),
    )
    assert changed_outcomes(dataclasses.replace(run, before=before, after=after)) == (3, 1, 1)
    assert changed_outcomes(dataclasses.replace(run, after=())) is None


@pytest.fixture(scope="module")
def ner(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return read_run(build_ner_run(tmp_path_factory.mktemp("runs") / "run"))


def marking(key: str, gold: list[Span], said: list[Span]) -> Outcome:
    return Outcome(key, "a b c d", write_spans(gold), write_spans(said), (0.5,), "test", 0)


def test_entities_are_quoted_with_their_intervals(ner: Run) -> None:
    lines = {line.name: line for line in summary_lines(ner)}
    assert list(lines) == ["student before", "student after", "supervised ceiling", "teacher alone"]
    for name in ("student before", "student after", "supervised ceiling", "teacher alone"):
        line = lines[name]
        assert line.scores is not None
        assert line.interval is not None
        assert line.count == len(ner.after)
        assert 0.0 <= line.interval[0] < line.scores.value("f1_strict") < line.interval[1] <= 1.0
    after = lines["student after"].scores
    assert after is not None
    assert after.values == ner.result["after"]


def test_the_default_mode_is_read_or_worked_out(ner: Run) -> None:
    # An I- tag without a B- begins an entity in the default mode only.
    loose = [
        dataclasses.replace(one, tags=("I-PER",) * len(one.text.split(" "))) for one in ner.after
    ]
    lines = {
        line.name: line for line in summary_lines(dataclasses.replace(ner, after=tuple(loose)))
    }
    assert lines["student after"].further["f1_default"] == ner.task.metrics(loose)["f1_default"]
    expected = ner.task.metrics(ner.before)["f1_default"]
    assert lines["student before"].further["f1_default"] == expected
    assert ner.metrics[0].test is not None
    assert lines["student before"].further == {
        "f1_default": ner.metrics[0].test.value("f1_default")
    }
    told = {**ner.result, "after": {**ner.result["after"], "f1_default": 0.125}}
    assert {line.name: line for line in summary_lines(dataclasses.replace(ner, result=told))}[
        "student after"
    ].further == {"f1_default": 0.125}


def test_a_classification_has_no_default_mode(run: Run) -> None:
    assert all(line.further == {} for line in summary_lines(run))


def test_without_rounds_the_student_stands_there_once(ner: Run) -> None:
    lines = summary_lines(dataclasses.replace(ner, result={**ner.result, "rounds": 0}))
    assert [line.name for line in lines] == ["student", "supervised ceiling", "teacher alone"]


def test_without_outcomes_entity_f1_has_no_interval(ner: Run) -> None:
    lines = summary_lines(
        dataclasses.replace(ner, result={}, before=(), after=(), supervised=(), teacher=())
    )
    assert [(line.name, line.interval, line.count) for line in lines] == [
        ("student before", None, ner.manifest["data"]["test"]),
        (f"student so far (round {ner.metrics[-1].round})", None, ner.manifest["data"]["test"]),
    ]


def test_the_bootstrap_of_entity_f1_is_seeded_and_sane() -> None:
    one, other = Span(0, 1, "PER"), Span(2, 4, "LOC")
    mixed = [
        marking(
            str(number), [one, other], [one] if number % 2 else [one, other._replace(type="PER")]
        )
        for number in range(60)
    ]
    low, high = entity_f1_interval(mixed)
    assert (low, high) == entity_f1_interval(mixed)
    assert low < 2 * 60 / (120 + 90) < high
    assert high - low < 0.1
    assert entity_f1_interval([marking("1", [one], [one])] * 5) == (1.0, 1.0)
    assert entity_f1_interval([marking("1", [], [])] * 5) == (0.0, 0.0)
    with pytest.raises(ValueError, match="no outcomes"):
        entity_f1_interval([])


def test_entity_types_and_errors_before_and_after(ner: Run) -> None:
    assert {line.label for line in class_lines(ner)} == set(TYPES)
    entities = sum(outcome.target.count("[") - 1 for outcome in ner.after)
    assert sum(line.support for line in class_lines(ner)) == entities
    errors = {line.kind: line for line in error_lines(ner)}
    assert list(errors) == ["type", "boundary", "type and boundary", "missed", "invented"]
    for when in ("before", "after"):
        counted = ner.metrics[0 if when == "before" else -1].test
        assert counted is not None
        assert {
            kind: getattr(line, when) for kind, line in errors.items() if getattr(line, when)
        } == counted.errors
    assert sum(line.before or 0 for line in errors.values()) > 0


def test_a_classification_has_no_errors_by_kind(run: Run) -> None:
    assert error_lines(run) == ()


def test_the_interval_of_macro_f1_is_that_of_resampled_texts() -> None:
    pairs = ["aa", "aa", "ab", "bb", "bc", "cc", "ca", "dd"]
    outcomes = [
        Outcome(str(index), "", gold, said, (1.0,), "test", 0)
        for index, (gold, said) in enumerate(pairs * 6)
    ]
    task = ClassificationTask([Label(name, name, name) for name in "abcd"])
    rng = np.random.default_rng(3)
    slow = [
        task.metrics([outcomes[one] for one in rng.integers(0, 48, 48)])["macro_f1"]
        for _ in range(DRAWS)
    ]
    found = macro_f1_interval(outcomes)
    assert found == macro_f1_interval(outcomes)
    assert found == pytest.approx(np.percentile(slow, (2.5, 97.5)), abs=0.02)
    assert macro_f1_interval([outcomes[0]] * 5) == (1.0, 1.0)
    with pytest.raises(ValueError, match="no interval"):
        macro_f1_interval([])
