"""Effects of settings on whole runs with the scripted teacher and the tiny student."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import tiny
from tests.helpers.teachers import ASKS
from tests.helpers.tiny import accuracies, grow, lines

from tutelage.data.pool import Pool
from tutelage.errors import ConfigError, ReplayMiss


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def test_the_whole_command_line_ends_with_a_table_and_the_report(
    tutelage, overrides, workplace: Path
):
    ended = tutelage("train", *overrides, "ablation=no_review")
    assert ended.code == 0, ended.err
    assert "student after" in ended.out
    assert "tokens billed" in ended.out
    report = next(workplace.glob("outputs/files-evokd/*/report.html"))
    assert str(report.relative_to(workplace)) in ended.out
    assert read(report.parent, "manifest.json")["ablation"] == "no_review"
    assert {path.name for path in workplace.iterdir()} <= {
        "outputs",
        "replies.sqlite",
        "replies.sqlite-wal",
        "replies.sqlite-shm",
        "user-cache",
    }


def test_the_same_seed_and_cache_give_the_same_run_for_nothing(
    overrides, workplace: Path, monkeypatch
):
    asks = workplace / "asks"
    monkeypatch.setenv(ASKS, str(asks))
    first = grow(workplace / "first", overrides)
    paid = len(asks.read_text().splitlines())
    second = grow(workplace / "second", overrides)
    assert len(asks.read_text().splitlines()) == paid == first["requests"]["all"]
    for key in ("pool_hash", "before", "after", "rows", "rounds"):
        assert first[key] == second[key]
    assert accuracies(workplace / "first") == accuracies(workplace / "second")
    assert first["tokens"]["spent"] == first["tokens"]["billed"] == second["tokens"]["billed"] > 0
    assert second["tokens"]["spent"] == 0
    for name in (
        "student/model.safetensors",
        "predictions/test-after.jsonl",
        "feedback/round-002.jsonl",
    ):
        assert (workplace / "first" / name).read_bytes() == (
            workplace / "second" / name
        ).read_bytes()


def test_seed_0_is_a_seed_like_any_other(overrides, workplace: Path):
    zero, again, one = (
        grow(workplace / name, [*overrides, f"seed={seed}"])
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert zero["seed"] == 0
    assert zero["pool_hash"] == again["pool_hash"] != one["pool_hash"]
    assert accuracies(workplace / "a") == accuracies(workplace / "b") != accuracies(workplace / "c")


@pytest.mark.parametrize(("method", "gold"), [("shots", 7), ("supervised", 84)])
def test_the_floor_and_the_ceiling_ask_no_teacher(
    student, small_data, workplace: Path, monkeypatch, method, gold
):
    monkeypatch.setenv(ASKS, str(workplace / "asks"))
    base = tiny.scripted(student, small_data, workplace / "replies.sqlite")
    result = grow(workplace / "run", [*base, f"method={method}", "training.start_epochs=2"])
    assert result["gold_labels"]["shots"] == result["rows"]["accepted"] == gold
    assert result["tokens"]["billed"] == 0
    assert result["rounds"] == 0
    assert not (workplace / "asks").exists()
    assert not (workplace / "replies.sqlite").exists()
    card = (workplace / "run" / "student" / "README.md").read_text(encoding="utf-8")
    assert "Teacher: none." in card
    assert [row.source for row in Pool.open(workplace / "run" / "pool" / "rows.jsonl").rows] == [
        "gold"
    ] * gold


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache") / "replies.sqlite"


def test_a_recording_plays_the_run_again_without_an_engine(overrides, workplace: Path):
    recorded = grow(workplace / "recorded", [*overrides, "teacher.record=run.jsonl"])
    played = [word for word in overrides if not word.startswith(("teacher", "+teacher"))] + [
        "teacher=replay",
        "teacher.recording=run.jsonl",
    ]
    again = grow(workplace / "again", played)
    assert again["pool_hash"] == recorded["pool_hash"]
    assert again["tokens"]["billed"] == recorded["tokens"]["billed"]
    assert again["tokens"]["spent"] == 0
    assert accuracies(workplace / "again") == accuracies(workplace / "recorded")
    with pytest.raises(ReplayMiss) as missed:
        grow(workplace / "other", [*played, "seed=5"])
    assert "has no reply to request '" in str(missed.value)
    assert "run.jsonl" in str(missed.value)
    assert "the seed of the recorded run" in str(missed.value)
    status = read(workplace / "other", "status.json")
    assert status["state"] == "failed"
    assert status["error"] == str(missed.value)


def test_a_budget_below_one_round_is_an_error_that_names_both(overrides, workplace: Path):
    with pytest.raises(
        ConfigError,
        match=r"budget\.tokens=100 is smaller than one round: [\d,]+ tokens were billed .* "
        r"Raise it, or ask for fewer",
    ):
        grow(workplace / "run", [*overrides, "budget.tokens=100"])
    assert read(workplace / "run", "status.json")["state"] == "failed"


def test_a_budget_stops_before_the_round_that_would_pass_it(overrides, workplace: Path):
    whole = grow(workplace / "whole", [*overrides, "method.rounds=3"])
    costs = [line["billed_tokens"] for line in lines(workplace / "whole" / "metrics.jsonl")]
    limit = (
        costs[1] + max(costs[1] - costs[0], costs[2] - costs[1]) + 10
    )  # a round begins if the most expensive one so far fits
    stopped = grow(workplace / "stopped", [*overrides, "method.rounds=3", f"budget.tokens={limit}"])
    assert (whole["stopped_by"], stopped["stopped_by"]) == ("rounds", "budget")
    assert stopped["rounds"] == 2
    assert stopped["tokens"]["billed"] == costs[2] <= limit
    assert stopped["tokens"]["spent"] == 0
    assert [line[1] for line in accuracies(workplace / "stopped")][:3] == [
        line[1] for line in accuracies(workplace / "whole")
    ][:3]


def test_a_student_that_reads_its_first_token_runs(overrides, workplace: Path):
    result = grow(
        workplace / "run", [*overrides, "student.pooling=first", "training.start_epochs=1"]
    )
    assert result["rounds"] == 2


def test_selector_all_keeps_what_agreement_rejects(
    student, small_data, shared_cache, workplace: Path
):
    base = [*tiny.scripted(student, small_data, shared_cache), *tiny.EVOKD]
    grow(workplace / "all", [*base, "accept=scored"])
    grow(workplace / "agreed", [*base, "accept=agreement", "accept.min_confidence=0"])
    everything, agreed = (
        Pool.open(workplace / name / "pool" / "rows.jsonl") for name in ("all", "agreed")
    )
    assert any(row.accepted and row.target != row.asked for row in everything.rows if row.asked)
    assert all(row.target == row.asked for row in agreed.accepted() if row.asked)
    assert any(row.reason == "scored label is not the one asked for" for row in agreed.rows)


@pytest.mark.parametrize("option", ["vllm", "local", "server", "replay"])
def test_every_engine_is_built_from_its_configuration(option, overrides, workplace: Path, student):
    from tutelage.config.build_teacher import build_stack
    from tutelage.config.compose import compose_config

    if option == "replay":
        (workplace / "run.jsonl").write_text('{"recording": 1, "fingerprint": "label-writing:1"}\n')
    needs = {"replay": ["teacher.recording=run.jsonl"], "server": ["teacher.model=a-model"]}.get(
        option, [f"teacher.model={student}"]
    )
    stack = build_stack(
        compose_config([f"teacher={option}", *needs, "budget.tokens=5"]), workplace / "run"
    )
    try:
        assert stack.teacher.fingerprint
        assert stack.budget.left == 5
        assert (workplace / "user-cache" / "replies.sqlite").exists() is (option != "replay")
    finally:
        stack.close()


def test_a_run_that_dies_between_growth_and_checkpoint_grows_the_same_rows_again(
    overrides, workplace: Path, monkeypatch
):
    """The new rows are already in the pool's file, and must not be their own duplicates."""
    from tutelage.callbacks.feedback import FeedbackCollector

    whole = grow(workplace / "whole", overrides)
    kept: list[int] = []

    def dies(self: FeedbackCollector, outcomes: Any) -> None:
        kept.append(len(outcomes))
        if len(kept) == 2:
            raise MemoryError("killed")
        keep(self, outcomes)

    keep = FeedbackCollector.keep
    with monkeypatch.context() as patched:
        patched.setattr(FeedbackCollector, "keep", dies)
        with pytest.raises(MemoryError):
            grow(workplace / "cut", overrides)
    assert max(row.round for row in Pool.open(workplace / "cut" / "pool" / "rows.jsonl").rows) == 2
    again = grow(workplace / "cut", [*overrides, "resume=true"])
    assert again["pool_hash"] == whole["pool_hash"]
    assert again["tokens"]["billed"] == whole["tokens"]["billed"]
    assert again["after"] == whole["after"]
