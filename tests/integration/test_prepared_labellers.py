"""Whole runs, plans and resumes of labellers that ask before the first label, and the probe."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.helpers.tiny import EVOKD, grow, lines, scripted

from tutelage.config.compose import compose_config
from tutelage.errors import ConfigError, TeacherError
from tutelage.plan import plan
from tutelage.report.html import write_report

BOOSTED = ("labelling=boosted", "labelling.learners=3", "shots=2")
PREDICTIVE = ("labelling.demonstrations=predictive", "shots=2", "labelling.max_demonstrations=7")
SHORT = ("method=full_pool", "training.start_epochs=1")
LABELLERS = pytest.mark.parametrize("labeller", [BOOSTED, PREDICTIVE], ids=["boosted", "scored"])
TEACHER = "teacher._target_=tests.helpers.teachers.ImpressionableTeacher"
SHOTS, TEXTS = 14, 84
BEFORE = {BOOSTED: 3 * (1 + SHOTS), PREDICTIVE: SHOTS * SHOTS}
EACH, MOST = {BOOSTED: 2, PREDICTIVE: 1}, {BOOSTED: 3, PREDICTIVE: 1}
"""Requests per text: of three rules one is no better than guessing, which no plan knows."""


@pytest.fixture
def base(student: Path, small_data: Path, tmp_path: Path) -> list[str]:
    return [*scripted(student, small_data, tmp_path / "replies.sqlite"), TEACHER]


@LABELLERS
def test_a_run_asks_before_its_first_label_and_a_plan_counts_it(
    base: list[str],
    small_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    labeller: tuple[str, ...],
) -> None:
    own = [*base, *SHORT, *labeller]
    assert plan(compose_config(own)) == 0
    planned = " ".join(capsys.readouterr().out.split())
    result = grow(tmp_path / "run", own)
    assert result["requests"]["all"] == BEFORE[labeller] + EACH[labeller] * TEXTS
    counts = " ".join(re.findall(r"requests (\d+ \w+(?:, \d+ \w+)*) cost", planned))
    assert sum(map(int, re.findall(r"\d+", counts))) == BEFORE[labeller] + MOST[labeller] * TEXTS
    billed = float(planned.split("the run")[-1].split("about ")[1].split(" ")[0].replace(",", ""))
    # Before there are rules a longer one stands in for each.
    low = 0.15 if labeller is BOOSTED else 0.9
    assert low * billed <= result["tokens"]["billed"] <= 1.1 * billed
    rows = lines(tmp_path / "run" / "pool" / "rows.jsonl")
    gold = {row["text"]: row["label"] for row in lines(small_data / "train.jsonl")}
    labelled = [row for row in rows if row["source"] == "pool"]
    assert len(labelled) == TEXTS
    assert sum(row["target"] == gold[row["text"]] for row in labelled) > 0.5 * TEXTS

    # Nothing is asked twice, and the same replies give the same rows.
    again = grow(tmp_path / "again", own)
    assert again["pool_hash"] == result["pool_hash"]
    assert again["tokens"] == {**result["tokens"], "spent": 0}


@LABELLERS
@pytest.mark.parametrize("dies", ["while it prepares", "after it"])
def test_a_run_whose_teacher_died_ends_as_one_that_was_never_disturbed(
    base: list[str], tmp_path: Path, labeller: tuple[str, ...], dies: str
) -> None:
    evokd = [*base, *labeller, *EVOKD, "method=evokd", "calibration=batch"]
    whole = grow(tmp_path / "whole", evokd)
    killed = [one.replace("replies.sqlite", "others.sqlite") for one in evokd]
    count = BEFORE[labeller] // 2 if dies == "while it prepares" else BEFORE[labeller] + 30
    with pytest.raises(TeacherError, match="the engine died"):
        grow(tmp_path / "killed", [*killed, f"+teacher.dies_after={count}"])
    again = grow(tmp_path / "killed", [*killed, f"resume={tmp_path / 'killed'}"])
    assert again["pool_hash"] == whole["pool_hash"]
    assert again["tokens"]["billed"] == whole["tokens"]["billed"]
    assert again["after"] == whole["after"]


@LABELLERS
def test_a_budget_that_ends_before_the_first_label_is_an_error(
    base: list[str], tmp_path: Path, labeller: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError, match=r"budget\.tokens is (spent|smaller)"):
        grow(tmp_path / "run", [*base, *SHORT, *labeller, "budget.tokens=40"])


def test_dev_labels_that_rules_are_learnt_from_are_counted(base: list[str], tmp_path: Path) -> None:
    result = grow(tmp_path / "run", [*base, *SHORT, *BOOSTED, "labelling.with_dev=true"])
    assert result["gold_labels"] == {"shots": 14, "dev": 0, "calibration": 28}


def test_boosting_is_for_classes(base: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"labelling=boosted labels whole texts, and task=ner"):
        grow(tmp_path / "run", ["task=ner", "data=wikigold", "labelling=boosted", *base[2:]])


def test_written_and_real_texts_are_told_apart_where_a_run_has_both(
    base: list[str], tmp_path: Path
) -> None:
    evokd = [*base, *EVOKD, "method=evokd", "method.n_hard=28", "method.n_easy=28"]
    result = grow(tmp_path / "evokd", evokd)
    told = result["written_or_real"]
    accepted = [row for row in lines(tmp_path / "evokd" / "pool" / "rows.jsonl") if row["accepted"]]
    written = {row["text"] for row in accepted if row["source"] in ("init", "easy", "hard")}
    assert told["written"] == len(written) >= 20
    assert told["real"] == TEXTS
    # The scripted teacher throws words together.
    assert told["interval"][0] > 0.5
    assert result["seconds"]["written or real"] >= 0
    page = write_report(tmp_path / "evokd").read_text(encoding="utf-8")
    assert "<h2>Written or real</h2>" in page
    assert f"<b>{100 * told['balanced_accuracy']:.1f} %</b>" in page

    off = grow(tmp_path / "off", [*evokd, "evaluate.written_or_real=false"])
    pool = grow(tmp_path / "pool", [*base, *SHORT])
    assert off["written_or_real"] is pool["written_or_real"] is None
    assert json.loads((tmp_path / "pool" / "result.json").read_text())["written_or_real"] is None
    assert off["after"] == result["after"]
