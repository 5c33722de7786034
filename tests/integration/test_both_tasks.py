"""Methods, selectors, resuming, the run folder, the report and other verbs, for both tasks."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tests.helpers.documented import missing_and_unknown
from tests.helpers.multirun import command, environment, jobs, times
from tests.helpers.tasks import TaskSetup
from tests.helpers.tiny import accuracies, grow, lines
from tests.helpers.tiny_ner import EVOKD_NER, scripted_ner

from tutelage.data.pool import Pool
from tutelage.errors import TeacherError
from tutelage.records import Row
from tutelage.tasks.spans import read_spans, strict_tags

NAMED = "then left with Clara Dune near Port Ember"
"""A text with a person and a place known to the scripted teacher."""


HERE = {"train", "plan", "predict", "report"}
BESIDE = {
    "reproduce": "test_reproduce.py",
    "wandb-dashboard": "test_wandb.py",
    "tune-prompt": "../unit/test_tune_prompt.py",
    "advise": "../unit/advise/test_command.py",
    "label": "../unit/label/test_command.py",
    "audit": "test_audit.py",
    "review": "test_review.py",
    "guarantee": "test_guarantee.py",
    "export": "../unit/test_export.py",
    "push": "../unit/test_push.py",
    "serve-student": "../unit/test_serving.py",
}
"""Verbs of both tasks with tests in other files."""
WITHOUT_A_TASK = {"assets", "serve", "doctor"}


def test_every_verb_is_here_or_beside_or_knows_no_task(tutelage):
    listed = re.findall(r"^    ([a-z-]+)\b", tutelage("--help").out, re.MULTILINE)
    assert {*listed} == HERE | {*BESIDE} | WITHOUT_A_TASK


@pytest.fixture(scope="module")
def finished(kind: TaskSetup, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one finished EvoKD run with reference scores and report."""
    from tutelage.report.html import write_report

    folder = tmp_path_factory.mktemp("finished") / "run"
    grow(folder, [*kind.base(), *kind.evokd, "evaluate=full", "evaluate.supervised_epochs=10"])
    write_report(folder)
    return folder


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def rows(folder: Path) -> tuple[Row, ...]:
    return tuple(Pool.open(folder / "pool" / "rows.jsonl").rows)


def test_every_documented_file_is_there_and_no_other(finished: Path):
    assert missing_and_unknown(finished) == ([], [])
    assert not (finished / "checkpoints").exists()


def test_the_numbers_are_the_task_s_own(kind: TaskSetup, finished: Path):
    manifest, result = read(finished, "manifest.json"), read(finished, "result.json")
    first, second = (metric["key"] for metric in result["metrics"])
    assert manifest["task"] == kind.task
    assert manifest["metrics"] == result["metrics"]
    assert {first, second} == (
        {"f1_strict", "accuracy"} if kind.task == "ner" else {"accuracy", "macro_f1"}
    )
    for record in (result["before"], result["after"], result["supervised"], result["teacher"]):
        assert {first, second} <= set(record)
        assert all(0.0 <= record[key] <= 1.0 for key in (first, second))
    assert (result["teacher"]["raw"] is None) is (kind.task == "ner")
    assert result["teacher"]["failed"] == 0
    assert result["supervised"]["gold_labels"] == kind.pool
    measured = lines(finished / "metrics.jsonl")
    assert [line["round"] for line in measured] == [0, 1, 2, 3]
    assert set(result["after"]) - {first, second} == (
        {"f1_default"} if kind.task == "ner" else set()
    )
    assert result["after"] == {key: measured[-1]["test"][key] for key in result["after"]}
    assert result["teacher"][first] > 0.5, "the scripted teacher knows its words but for its slips"
    if kind.task == "ner":
        assert all(line["dev"]["f1_strict"] == line["dev"]["f1_default"] for line in measured), (
            "constrained tags read alike in both modes"
        )


def test_rows_keep_what_was_asked_and_every_rejection_its_reason(kind: TaskSetup, finished: Path):
    grown = [row for row in rows(finished) if row.source != "gold"]
    assert len(grown) == 28
    assert all(bool(row.reason) is not row.accepted for row in grown)
    for row in grown:
        if kind.task == "ner" and row.accepted:
            spans = read_spans(row.target)
            # A text about words that are not a name may have no entity.
            assert row.asked in {span.type for span in spans} or "no_name" in row.detail
            assert len(row.entity_confidence) == len(spans)
            assert spans[-1].end <= len(row.text.split(" "))
    for round in (1, 2):
        growth = read(finished, f"growth/round-{round:03d}.json")
        assert growth["asked"] == growth["answered"] + growth["failed"]
        assert ("names" in growth["seconds"]) is (kind.task == "ner")
        assert growth["rejected"] == sum(not row.accepted for row in grown if row.round == round)


def test_the_report_is_drawn(kind: TaskSetup, finished: Path):
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "entity F1" in page if kind.task == "ner" else "macro-F1" in page
    assert len(list((finished / "figures").glob("*.png"))) >= 5


def test_the_report_is_drawn_again_by_its_verb(kind: TaskSetup, finished: Path, tutelage):
    before = (finished / "report.html").read_text(encoding="utf-8")
    (finished / "report.html").unlink()
    ended = tutelage("report", str(finished))
    assert ended.code == 0, ended.err
    assert (finished / "report.html").read_text(encoding="utf-8") == before


def test_the_student_labels_texts(kind: TaskSetup, finished: Path, tutelage):
    ended = tutelage("predict", str(finished), NAMED)
    assert ended.code == 0, ended.err
    (said,) = [json.loads(line) for line in ended.out.splitlines()]
    assert said["text"] == NAMED
    if kind.task == "ner":
        assert said["entities"], "a student of this folder finds names"
        assert all(
            NAMED[entity["start"] : entity["end"]] == entity["text"] for entity in said["entities"]
        )
        assert {entity["label"] for entity in said["entities"]} <= {"PER", "LOC", "ORG"}
    else:
        assert sum(said["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_a_sweep_s_report_is_of_the_task_s_own_metric(kind: TaskSetup, workplace: Path, tutelage):
    overrides = [
        *kind.base(),
        "teacher.cache=none.sqlite",
        "training.start_epochs=15",
        "method=shots,supervised",
    ]
    ended = subprocess.run(
        command(*overrides),
        cwd=workplace,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (folder,) = times(workplace)
    assert [job["state"] for job in jobs(folder)] == ["done", "done"]
    first, _ = (metric["key"] for metric in read(folder, "0/result.json")["metrics"])
    with (folder / "tables" / "arms.csv").open(encoding="utf-8") as file:
        told = {row["arm"]: float(row[f"{first}_mean"]) for row in csv.DictReader(file)}
    measured = {
        name: read(folder, f"{number}/result.json")["after"][first]
        for number, name in enumerate(("shots", "supervised"))
    }
    assert told == measured
    assert told["supervised"] > 0
    assert ("entity F1" in (folder / "report.html").read_text(encoding="utf-8")) is (
        kind.task == "ner"
    )
    (folder / "tables" / "arms.csv").unlink()
    ended = tutelage("report", str(folder))
    assert ended.code == 0, ended.err
    assert (folder / "tables" / "arms.csv").is_file()


def test_a_plan_tells_what_a_round_asks(kind: TaskSetup, tutelage):
    ended = tutelage("plan", *kind.base(), *kind.evokd)
    assert ended.code == 0, ended.err
    flat = " ".join(ended.out.split())
    assert "14 generation" in flat
    assert "1 analysis" in flat
    assert ("14 names" in flat) is (kind.task == "ner")
    assert f"and {kind.gold} gold labels" in flat


@pytest.mark.parametrize("method", ["shots", "supervised"])
def test_the_floor_and_the_ceiling_ask_no_teacher(kind: TaskSetup, workplace: Path, method: str):
    result = grow(
        workplace / "run",
        [
            *kind.base(),
            "teacher.cache=none.sqlite",
            f"method={method}",
            "training.start_epochs=2",
        ],
    )
    assert result["rows"] == {
        "accepted": kind.gold if method == "shots" else kind.pool,
        "rejected": 0,
    }
    assert result["tokens"]["billed"] == result["rounds"] == 0
    assert not (workplace / "none.sqlite").exists()


@pytest.mark.parametrize("selector", ["scored", "agreement", "class_share"])
def test_each_selector_judges_what_was_labelled(kind: TaskSetup, workplace: Path, selector: str):
    short = [
        "training.start_epochs=1",
        "training.round_epochs=1",
    ]  # the asserted rows exist before the student trains on them
    grow(workplace / "run", [*kind.base(), *kind.evokd, *short, f"accept={selector}"])
    judged = [row for row in rows(workplace / "run") if row.distribution is not None]
    asked = {row.id: "O" if "no_name" in row.detail else row.asked for row in judged}
    agreed = {
        row.distribution.top == asked[row.id] for row in judged if row.accepted and row.distribution
    }
    reasons = {row.reason for row in judged if not row.accepted}
    assert len(judged) > 10
    if selector == "scored":
        assert agreed == {True, False}
        assert reasons == set()
    if selector == "agreement":
        assert agreed == {True}
        assert reasons == {"scored label is not the one asked for"}
    if selector == "class_share":
        assert reasons == {"not among the surest 50% of its class"}


@pytest.mark.parametrize(
    "name", ["no_analysis", "no_correct", "no_easy", "no_feedback", "no_review", "no_separation"]
)
def test_an_ablation_takes_away_its_one_thing(kind: TaskSetup, name: str, workplace: Path):
    folder = workplace / "run"
    # A value undoing the ablation is refused, so the override of the ablated setting is dropped.
    small = [
        word for word in kind.evokd if not (name == "no_easy" and word.startswith("method.n_easy"))
    ]
    review = [] if name == "no_review" else ["training.review_every=1"]
    # Train a little, for some correct and some wrong tags: an untrained encoder tags nothing.
    few = [
        "training.round_epochs=1",
        f"training.start_epochs={15 if kind.task == 'ner' else 1}",
    ]
    grow(folder, [*kind.base(), *small, *review, *few, f"ablation={name}"])
    growth = [read(folder, f"growth/round-{round:03d}.json") for round in (1, 2)]
    grown = [row for row in rows(folder) if row.source != "gold"]
    transcript = (folder / "teacher" / "transcript.jsonl").read_text()
    config = OmegaConf.load(folder / "config.yaml")
    assert any(record["analysis"] for record in growth) is (
        name not in ("no_analysis", "no_feedback")
    )
    assert ("Note: " in transcript) is (name not in ("no_analysis", "no_feedback"))
    assert ("gets these right" in transcript) is (
        name not in ("no_correct", "no_analysis", "no_feedback")
    )
    assert any(row.source == "hard" for row in grown) is (name != "no_feedback")
    assert any(row.source == "easy" for row in grown) is (name != "no_easy")
    assert any(row.distribution for row in grown) is (name != "no_separation")
    assert any(lines(folder / "feedback" / f"round-{round:03d}.jsonl") for round in (1, 2)) is (
        name != "no_feedback"
    )
    assert (config.training.review_every == 0) is (name == "no_review")
    if name == "no_feedback":
        shares = growth[0]["quota"].values()
        assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize(
    "overrides",
    [
        ["loss=soft_targets", "accept=class_share", "accept.weighted=true"],
        ["method.n_init=7"],
        ["method.n_confident=2", "method.class_report=true"],
        ["training.predict_then_train=false"],
        ["training.train_on=all", "training.final_epochs=0"],
        ["method.styles={tone:[polite,blunt],length:[short,'']}"],
        ["loss.label_smoothing=0.1", "student.schedule.shape=constant"],
    ],
    ids=str,
)
def test_the_settings_that_are_off_by_default_run(
    kind: TaskSetup, overrides: list[str], workplace: Path
):
    result = grow(
        workplace / "run", [*kind.base(), *kind.evokd, "training.start_epochs=1", *overrides]
    )
    assert result["rounds"] == 2
    assert result["rows"]["accepted"] > kind.gold


def test_growth_ends_on_a_plateau_and_the_dev_labels_are_counted(kind: TaskSetup, workplace: Path):
    rates = ["student.learning_rate=1e-9", "student.head_learning_rate=1e-9"]
    result = grow(
        workplace / "run",
        [*kind.base(), *kind.evokd, *rates, "method.rounds=4", "training.patience=1"],
    )
    assert result["stopped_by"] == "plateau"
    assert result["rounds"] < 4
    assert result["gold_labels"]["dev"] == kind.dev


def test_a_run_may_end_with_the_student_that_did_best_on_dev(kind: TaskSetup, workplace: Path):
    overrides = [
        *kind.base(),
        *kind.evokd,
        "evaluate.test_every_round=true",
        "training.final_epochs=0",
        "training.keep=best",
    ]
    result = grow(workplace / "run", overrides)
    stages = lines(workplace / "run" / "metrics.jsonl")
    steered = "f1_strict" if kind.task == "ner" else "macro_f1"
    best = max(reversed(stages), key=lambda line: line["dev"][steered])
    assert (result["kept"]["round"], result["kept"]["dev"]) == (best["round"], best["dev"][steered])
    assert all(result["after"][key] == best["test"][key] for key in result["after"])
    assert result["gold_labels"]["dev"] == kind.dev
    assert not (workplace / "run" / "checkpoints").exists()


@pytest.mark.parametrize("left", [5, 30])
def test_a_run_whose_engine_died_ends_as_the_undisturbed_one(
    kind: TaskSetup, finished: Path, workplace: Path, left: int
):
    whole, folder = read(finished, "result.json"), workplace / "run"
    overrides = [*kind.evokd, "teacher.cache=replies.sqlite"]
    computed = whole["requests"]["all"] - whole["requests"]["cached"]
    with pytest.raises(TeacherError, match="the engine died"):
        grow(folder, [*kind.base(dies_after=computed - left), *overrides])
    assert read(folder, "status.json")["state"] == "failed"
    again = grow(folder, [*kind.base(), *overrides, "resume=true"])
    for key in ("pool_hash", "before", "after", "rows", "rounds", "stopped_by"):
        assert again[key] == whole[key], key
    assert again["tokens"]["billed"] == whole["tokens"]["billed"]
    assert accuracies(folder) == accuracies(finished)


def test_the_teacher_is_measured_beside_a_method_that_never_asks_it(
    kind: TaskSetup, finished: Path, workplace: Path
):
    overrides = ["method=shots", "training.start_epochs=1", "evaluate.teacher=true"]
    result = grow(workplace / "run", [*kind.base(), *overrides])
    assert result["teacher"] == read(finished, "result.json")["teacher"]
    assert result["tokens"]["billed"] == 0, "measuring is not the run's price"


@pytest.mark.parametrize("constrained", [True, False])
def test_without_constraint_the_tags_are_read_as_they_come(
    ner_student: Path, ner_data: Path, workplace: Path, constrained: bool
):
    base = scripted_ner(ner_student, ner_data, workplace / "replies.sqlite")
    overrides = [
        "method=supervised",
        "training.start_epochs=15",
        f"task.constrained={str(constrained).lower()}",
    ]
    result = grow(workplace / "run", [*base, *overrides])
    (measured,) = lines(workplace / "run" / "metrics.jsonl")
    assert result["after"]["f1_strict"] > 0
    assert (measured["test"]["f1_strict"] == measured["test"]["f1_default"]) is constrained
    seen = [
        outcome["tags"] for outcome in lines(workplace / "run" / "predictions" / "test-after.jsonl")
    ]
    assert all(strict_tags(tags) == tags for tags in seen) is constrained
    assert read(workplace / "run", "student/config.json")["constrained_tags"] is constrained, (
        "predict reads raw texts in the same way"
    )


def test_a_teacher_that_extracts_is_asked_for_markings(
    ner_student: Path, ner_data: Path, workplace: Path
):
    base = [
        *scripted_ner(ner_student, ner_data, workplace / "replies.sqlite"),
        *EVOKD_NER,
        "method.rounds=1",
    ]
    result = grow(workplace / "run", [*base, "labelling=extract", "evaluate.teacher=true"])
    assert result["rows"]["accepted"] > 3
    assert result["teacher"]["failed"] == 0
    said = [line["request"] for line in lines(workplace / "run" / "teacher" / "transcript.jsonl")]
    assert any(request.get("json_schema") for request in said)
