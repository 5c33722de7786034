"""Whole runs, plans and resumes with an ensemble of two teachers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.tiny import EVOKD, grow, lines, scripted

from tutelage.config.compose import compose_config
from tutelage.data.pool import Pool
from tutelage.errors import ConfigError, TeacherError
from tutelage.plan import plan

SECOND = "tests.helpers.teachers.SecondTeacher"
TWO = (
    "labelling=ensemble",
    "labelling.orders=1",
    f"labelling.teachers.second._target_={SECOND}",
)
SHORT = ("method=full_pool", "training.start_epochs=1")


@pytest.fixture
def base(student: Path, small_data: Path, tmp_path: Path) -> list[str]:
    return scripted(student, small_data, tmp_path / "replies.sqlite")


def labelled(folder: Path) -> dict[str, Any]:
    rows = Pool.open(folder / "pool" / "rows.jsonl").rows
    return {row.text: row.distribution for row in rows if row.distribution}


def test_labels_are_the_mean_of_what_each_teacher_says_alone(
    base: list[str], tmp_path: Path
) -> None:
    both = grow(tmp_path / "both", [*base, *SHORT, *TWO])
    alone = grow(tmp_path / "first", [*base, *SHORT, "labelling.demonstrations=fixed"])
    other = grow(tmp_path / "second", [*base, f"teacher._target_={SECOND}", *SHORT])

    together, first, second = (labelled(tmp_path / name) for name in ("both", "first", "second"))
    assert together.keys() == first.keys() == second.keys()
    apart = 0.0
    for text, found in together.items():
        pair = [first[text].probabilities, second[text].probabilities]
        mean = [sum(own) / 2 for own in zip(*pair, strict=True)]
        assert found.probabilities == pytest.approx(mean, abs=2e-6)
        entropies = [-sum(p * math.log(p) for p in own if p) for own in (mean, *pair)]
        gap = (entropies[0] - sum(entropies[1:]) / 2) / math.log(len(mean))
        assert found.disagreement == pytest.approx(gap, abs=2e-6)
        apart = max(apart, gap)
    assert apart > 0.001

    # Each teacher is billed as it is alone, and its replies are in the cache under its own name.
    assert both["tokens"]["billed"] == alone["tokens"]["billed"] + other["tokens"]["billed"]
    assert both["requests"]["all"] == alone["requests"]["all"] + other["requests"]["all"]
    assert (both["requests"]["cached"], alone["tokens"]["spent"], other["tokens"]["spent"]) == (
        0,
        0,
        0,
    )


def test_the_folder_names_every_teacher(base: list[str], tmp_path: Path) -> None:
    result = grow(tmp_path / "run", [*base, *SHORT, *TWO, "evaluate.teacher=true"])
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())["teacher"]
    assert manifest["fingerprint"] == "label-writing:1"
    assert manifest["others"] == {
        "second": {"engine": "SecondTeacher", "model": "", "fingerprint": "label-writing:2"}
    }
    asked = [
        line["request"].get("teacher", "")
        for line in lines(tmp_path / "run" / "teacher" / "transcript.jsonl")
    ]
    assert asked.count("second") == asked.count("") > 0
    # The teacher alone is the ensemble too.
    assert result["teacher"]["tokens"] > 0
    assert result["teacher"]["failed"] == 0


@pytest.mark.parametrize("dies", ["the first", "the second"])
def test_a_run_whose_teacher_died_ends_as_one_that_was_never_disturbed(
    base: list[str], tmp_path: Path, dies: str
) -> None:
    evokd = [*base, *TWO, *EVOKD, "method=evokd", "calibration=batch"]
    whole = grow(tmp_path / "whole", evokd)
    killed = [one.replace("replies.sqlite", "others.sqlite") for one in evokd]
    setting = "+teacher" if dies == "the first" else "labelling.teachers.second"
    with pytest.raises(TeacherError, match="the engine died"):
        grow(tmp_path / "killed", [*killed, f"{setting}.dies_after=20"])
    again = grow(tmp_path / "killed", [*killed, f"resume={tmp_path / 'killed'}"])
    assert again["pool_hash"] == whole["pool_hash"]
    for name in ("billed", "billed_prompt", "billed_completion"):
        assert again["tokens"][name] == whole["tokens"][name]
    assert again["requests"]["all"] == whole["requests"]["all"]
    assert again["after"] == whole["after"]


def test_a_budget_counts_both(base: list[str], tmp_path: Path) -> None:
    on_demand = ["method=llkd_on_demand", "method.first=8", "method.rounds=3", "method.n_texts=4"]
    short = ["training.start_epochs=1", "training.round_epochs=1"]
    alone = grow(tmp_path / "alone", [*base, *on_demand, *short])
    assert alone["stopped_by"] == "rounds"
    limit = f"budget.tokens={2 * alone['tokens']['billed']}"
    both = grow(tmp_path / "both", [*base, *TWO, *on_demand, *short, limit])
    assert both["stopped_by"] == "budget"


@pytest.mark.parametrize("orders", [1, 2])
def test_a_plan_counts_the_requests_and_tokens_of_both(
    base: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], orders: int
) -> None:
    two = [*TWO, f"labelling.orders={orders}"]
    assert plan(compose_config([*base, *SHORT, *two])) == 0
    planned = " ".join(capsys.readouterr().out.split())
    result = grow(tmp_path / "run", [*base, *SHORT, *two])
    assert f"requests {result['requests']['all']} labelling" in planned
    billed = float(planned.split("cost about ")[1].split(" ")[0].replace(",", ""))
    assert billed == pytest.approx(result["tokens"]["billed"], rel=0.05)


def test_a_recording_of_each_replays_the_run(base: list[str], tmp_path: Path) -> None:
    recorded = grow(tmp_path / "one", [*base, *SHORT, *TWO, f"teacher.record={tmp_path}/r.jsonl"])
    replay = [one for one in base if not one.startswith("teacher")]
    again = grow(
        tmp_path / "two",
        [
            *replay,
            *SHORT,
            "labelling=ensemble",
            "labelling.orders=1",
            "teacher=replay",
            f"teacher.recording={tmp_path}/r.jsonl",
            f"labelling.teachers.second.recording={tmp_path}/r-second.jsonl",
        ],
    )
    assert again["pool_hash"] == recorded["pool_hash"]
    assert again["tokens"]["billed"] == recorded["tokens"]["billed"]
    assert again["tokens"]["spent"] == 0


def test_the_same_teacher_twice_is_refused(base: list[str], tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"labelling\.teachers\.twin is the same teacher as teacher \(label-writing:1\)",
    ):
        grow(tmp_path / "run", [*base, *SHORT, *TWO, "labelling.teachers.twin.delay=0.0"])
