"""Score, count and interval of the teacher cover the same texts, including unlabelled ones."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.ner_folders import build_ner_run
from tests.helpers.pages import Page
from tests.helpers.run_folders import build_run, write_json, write_jsonl

from tutelage.report.figures_teacher import teacher_reliability
from tutelage.report.html import write_report
from tutelage.report.intervals import entity_f1_interval, wilson_interval
from tutelage.report.summary import SummaryLine, summary_lines
from tutelage.report.teacher_alone import teacher_metrics, teacher_outcomes
from tutelage.runs.read import read_run

REFUSED = 30


def refused(folder: Path, *, written: bool = True) -> Path:
    """Return a copy of the folder in which the teacher failed on the first texts.

    With ``written`` false, as in older folders: failures have no line, but the NER score includes
    them.
    """
    path = folder / "teacher" / "evaluation.jsonl"
    lines: list[dict[str, Any]] = [
        json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()
    ]
    kept = ("id", "target", "text")
    failed = [
        {key: line[key] for key in kept if key in line} | {"error": "too long"}
        for line in lines[:REFUSED]
    ]
    write_jsonl(path, [*failed, *lines[REFUSED:]])
    run = read_run(folder)
    metrics = teacher_metrics(run.task, run.teacher)
    raw = (
        None
        if run.task.is_token_level
        else teacher_metrics(run.task, run.teacher, raw=True)[run.headline_metrics[0].key]
    )
    quoted = {metric.key: metrics[metric.key] for metric in run.headline_metrics}
    write_json(
        folder / "result.json",
        run.result | {"teacher": quoted | {"raw": raw, "tokens": 9, "failed": REFUSED}},
    )
    if not written:
        write_jsonl(path, lines[REFUSED:])
    return folder


def teacher_lines(folder: Path) -> list[SummaryLine]:
    return [
        line for line in summary_lines(read_run(folder)) if line.name.startswith("teacher alone")
    ]


def test_entities_of_refused_texts_are_missed_in_all_three(tmp_path: Path) -> None:
    folder = refused(build_ner_run(tmp_path / "run"))
    run, (line,) = read_run(folder), teacher_lines(folder)
    outcomes = teacher_outcomes(run.task, run.teacher)
    assert [one.predicted for one in outcomes[:REFUSED]] == ["[]"] * REFUSED
    assert line.scores is not None
    assert line.scores.value("f1_strict") == run.task.metrics(outcomes)["f1_strict"]
    assert (line.count, line.failed) == (40, REFUSED)
    assert line.interval == entity_f1_interval(outcomes)
    assert line.interval[0] < line.scores.value("f1_strict") < line.interval[1]


def test_a_refused_text_without_entities_is_not_right(tmp_path: Path) -> None:
    run = read_run(refused(build_ner_run(tmp_path / "run")))
    assert any(opinion.error and opinion.target == "[]" for opinion in run.teacher)
    right = sum(opinion.predicted == opinion.target for opinion in run.teacher[REFUSED:])
    assert teacher_metrics(run.task, run.teacher)["accuracy"] == right / 40


def test_a_refused_text_is_a_wrong_class_in_all_three(tmp_path: Path) -> None:
    folder = refused(build_run(tmp_path / "run"))
    run = read_run(folder)
    for line, raw in zip(teacher_lines(folder), (True, False), strict=True):
        views = [opinion.raw if raw else opinion.probabilities for opinion in run.teacher]
        right = sum(
            bool(view) and run.labels[view.index(max(view))] == one.target
            for view, one in zip(views, run.teacher, strict=True)
        )
        assert line.scores is not None
        assert line.scores.value("accuracy") == right / 90
        assert (line.count, line.failed) == (90, REFUSED)
        assert line.interval == wilson_interval(right / 90, 90)


@pytest.mark.parametrize("build", [build_run, build_ner_run])
def test_before_the_result_is_written_the_lines_give_the_same(tmp_path: Path, build: Any) -> None:
    folder = refused(build(tmp_path / "run"))
    done = {line.name: line for line in teacher_lines(folder)}
    for line in summary_lines(dataclasses.replace(read_run(folder), result={})):
        if line.name in done:
            expected = done.pop(line.name)
            assert (line.count, line.failed, line.interval) == (
                expected.count,
                expected.failed,
                expected.interval,
            )
    assert not done


def test_older_folders_have_no_interval_of_other_texts(tmp_path: Path) -> None:
    (line,) = teacher_lines(refused(build_ner_run(tmp_path / "run"), written=False))
    assert (line.count, line.failed, line.interval) == (40, REFUSED, None)


@pytest.mark.usefixtures("no_figures")
def test_the_page_says_how_many_failed(tmp_path: Path) -> None:
    text = Page(write_report(refused(build_run(tmp_path / "run"))).read_text(encoding="utf-8")).text
    assert "90 30 failed" in text
    assert "They count as wrong." in text
    assert (
        "They count as wrong."
        not in Page(write_report(build_run(tmp_path / "other")).read_text(encoding="utf-8")).text
    )


@pytest.mark.parametrize("build", [build_run, build_ner_run])
def test_the_reliability_is_of_what_was_answered(tmp_path: Path, build: Any) -> None:
    run = read_run(refused(build(tmp_path / "run")))
    figure = teacher_reliability(run)
    assert figure is not None
    title = next(
        title for axes in figure.axes if (title := axes.get_title("left")).startswith("Reliability")
    )
    assert run.task.is_token_level or title == "Reliability (60 answered test texts, 15 bins)"
    silent = dataclasses.replace(run, teacher=tuple(one for one in run.teacher if one.error))
    assert teacher_reliability(silent) is None


def test_a_failed_line_needs_no_answer_but_a_target(tmp_path: Path) -> None:
    folder = refused(build_ner_run(tmp_path / "run"))
    first = read_run(folder).teacher[0]
    assert (first.error, first.predicted, first.probabilities) == ("too long", "[]", ())
