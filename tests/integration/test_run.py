"""Whole runs with the scripted teacher and the tiny student: what they write, and that the settings do what they say."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tests import tiny
from tests.teachers import ASKS
from tests.tiny import accuracies, grow, lines

from tutelage.data.pool import Pool
from tutelage.errors import ConfigError, ReplayMiss
from tutelage.records import outcome_from_dict

DOCUMENT = Path(__file__).parents[2] / "docs" / "run-folder.md"


@pytest.fixture(scope="module")
def finished(student: Path, small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one run with everything beside it."""
    from tutelage.report.html import write_report

    base = tmp_path_factory.mktemp("finished")
    grow(base / "run", [*tiny.scripted(student, small_data, base / "replies.sqlite"), *tiny.EVOKD, "evaluate=full"])
    write_report(base / "run")
    return base / "run"


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def keys_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for inner in value.values() for key in keys_of(inner)}
    return {key for inner in value for key in keys_of(inner)} if isinstance(value, list) else set()


def documented() -> dict[str, str]:
    """What docs/run-folder.md says of each file, by name; "NNN" stands for a number."""
    found: dict[str, str] = {}
    for cells in re.findall(r"^\| (`.*`) \| (.*) \|$", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", cells[0]):
            found["predictions/" + name if name.startswith("test-") else name] = cells[1]
    return found


def test_every_documented_file_is_there_and_no_other(finished: Path):
    patterns = {re.escape(name).replace("NNN", r"\d{3}").replace(r"\*", r"[\w-]+") for name in documented()}
    there = [str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()]
    # The ceiling's own run lies inside, in the same form.
    for pattern in patterns - {"checkpoints/"}:
        assert any(re.match(pattern, name) for name in there), f"{pattern} is documented and not there"
    unknown = [name for name in there if not name.startswith("supervised/") and not any(re.match(pattern, name) for pattern in patterns)]
    assert not unknown, f"{unknown} are not in docs/run-folder.md"
    assert not (finished / "checkpoints").exists()


@pytest.mark.parametrize(
    "name", ["manifest.json", "status.json", "result.json", "metrics.jsonl", "growth/round-NNN.json", "teacher/evaluation.jsonl"]
)
def test_a_file_has_every_key_that_its_document_names(finished: Path, name: str):
    path = finished / name.replace("NNN", "001")
    there = keys_of(lines(path) if name.endswith("jsonl") else json.loads(path.read_text()))
    said = {key for part in re.findall(r"`(\{.*?\})`", documented()[name]) for key in re.findall(r'"(\w+)"', part)}
    values = {"running", "done", "interrupted", "failed"}
    assert said
    assert said - values <= there


def test_the_numbers_that_are_quoted_are_those_of_the_files(finished: Path):
    result, metrics = read(finished, "result.json"), lines(finished / "metrics.jsonl")
    pool = Pool.open(finished / "pool" / "rows.jsonl")
    assert result["pool_hash"] == pool.digest()
    assert result["rows"] == {"accepted": len(pool.accepted()), "rejected": len(pool) - len(pool.accepted())}
    assert [line["round"] for line in metrics] == [0, 1, 2, 3]
    assert [line["stage"] for line in metrics] == ["start", "round", "round", "final"]
    assert result["rounds"] == 2
    assert result["stopped_by"] == "rounds"
    assert result["seed"] == 1
    assert metrics[-1]["accepted"] == result["rows"]["accepted"]
    assert metrics[-1]["rejected"] == result["rows"]["rejected"]
    assert metrics[-1]["billed_tokens"] == result["tokens"]["billed"]
    assert [line["billed_tokens"] for line in metrics] == sorted(line["billed_tokens"] for line in metrics)
    for when, line in (("before", metrics[0]), ("after", metrics[-1])):
        outcomes = [outcome_from_dict(record) for record in lines(finished / "predictions" / f"test-{when}.jsonl")]
        accuracy = sum(outcome.correct for outcome in outcomes) / len(outcomes)
        assert len(outcomes) == 42
        assert result[when]["accuracy"] == line["test"]["accuracy"] == accuracy
        assert result[when]["macro_f1"] == line["test"]["macro_f1"]
        assert all(math.isclose(sum(outcome.probabilities), 1.0, abs_tol=1e-4) for outcome in outcomes)
    assert sum(score["support"] for score in metrics[0]["dev"]["per_class"].values()) == 28
    tokens = result["tokens"]
    assert tokens["billed"] == tokens["billed_prompt"] + tokens["billed_completion"] == tokens["spent"]


def test_asked_is_answered_and_failed_and_nothing_is_lost(finished: Path):
    pool = Pool.open(finished / "pool" / "rows.jsonl")
    for round in (1, 2):
        growth, rows = read(finished, f"growth/round-{round:03d}.json"), pool.of_round(round)
        assert growth["asked"] == growth["answered"] + growth["failed"]
        assert sum(growth["quota"].values()) == len(rows) == 14
        assert growth["rejected"] == sum(not row.accepted for row in rows)
        assert growth["analysis"]
        assert "It gets these" in growth["prompt"]
        assert {row.source for row in rows} == {"hard", "easy"}
        assert all(bool(row.reason) is not row.accepted for row in rows)
        assert all(row.distribution is not None for row in rows if row.accepted)
        assert lines(finished / "metrics.jsonl")[round]["fresh"]["count"] == sum(row.accepted for row in rows)
    assert {row.source for row in pool.of_round(0)} == {"gold"}
    assert any(not row.accepted for row in pool.rows), "the scripted teacher slips, so something must have been rejected"
    transcript = lines(finished / "teacher" / "transcript.jsonl")
    asked = sum(read(finished, f"growth/round-{round:03d}.json")["asked"] for round in (1, 2))
    assert len(transcript) == asked  # what is measured beside the run, the teacher alone, is not the run's
    assert asked == read(finished, "result.json")["requests"]["all"]


def test_feedback_holds_the_mistakes_that_a_round_was_aimed_at(finished: Path):
    rounds = [lines(finished / "feedback" / f"round-{round:03d}.jsonl") for round in (1, 2)]
    outcomes = [outcome_from_dict(record) for records in rounds for record in records]
    assert outcomes
    assert not any(outcome.correct for outcome in outcomes)
    assert "It gets these wrong" in "".join(read(finished, f"growth/round-{round:03d}.json")["prompt"] for round in (1, 2))


def test_the_manifest_says_what_the_run_was_made_of(finished: Path):
    manifest = read(finished, "manifest.json")
    assert manifest["seed"] == 1
    assert manifest["method"] == "evokd"
    assert manifest["teacher"]["fingerprint"] == "label-writing:1"
    assert [label["word"] for label in manifest["labels"]] == sorted(tiny.WORDS.values())
    assert {split: manifest["data"][split] for split in ("pool", "dev", "test")} == {"pool": 84, "dev": 28, "test": 42}
    assert manifest["gold_labels"] == {"shots": 7, "dev": 0, "calibration": 0}
    assert manifest["packages"]["torch"]
    assert re.fullmatch(r"[0-9a-f]{16}", manifest["config_hash"])


def test_the_status_of_a_finished_run(finished: Path):
    status = read(finished, "status.json")
    assert (status["state"], status["error"], status["resume_command"]) == ("done", "", "")
    assert datetime.fromisoformat(status["started"]) <= datetime.fromisoformat(status["updated"])


def test_the_arms_beside_the_student(finished: Path):
    result, evaluation = read(finished, "result.json"), lines(finished / "teacher" / "evaluation.jsonl")
    assert result["supervised"]["gold_labels"] == 84
    assert len(evaluation) == 42
    right = sum(
        line["target"] == sorted(tiny.WORDS.values())[line["probabilities"].index(max(line["probabilities"]))] for line in evaluation
    )
    assert result["teacher"]["accuracy"] == right / 42
    assert result["teacher"]["accuracy"] > 0.6, "the scripted teacher knows the words"
    assert result["teacher"]["tokens"] > 0
    assert all(math.isclose(sum(line["probabilities"]), 1.0, abs_tol=1e-4) for line in evaluation)


def test_the_report_and_the_figures_are_drawn(finished: Path):
    assert (finished / "report.html").stat().st_size > 50_000
    assert {path.stem for path in (finished / "figures").glob("*.png")} >= {"learning-by-round", "learning-by-tokens", "confusion-matrix"}


def test_the_student_s_folder_gives_the_predictions_of_the_run(finished: Path):
    import torch

    from tutelage.student.checkpoint import load_student

    network, tokenizer, max_length = load_student(finished / "student")
    assert max_length == 32
    for record in lines(finished / "predictions" / "test-after.jsonl")[:5]:
        batch = tokenizer([record["text"]], truncation=True, max_length=max_length, return_tensors="pt")
        with torch.no_grad():
            row = network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.softmax(-1)[0].tolist()
        assert row == pytest.approx(record["probabilities"], abs=1e-4)
        assert network.config.id2label[row.index(max(row))] == record["predicted"]


def test_predict_labels_texts_and_files(finished: Path, tutelage, workplace: Path):
    texts = ["play some music", "will it rain, or snow", 'book "a table"']
    ended = tutelage("predict", str(finished), *texts)
    assert ended.code == 0, ended.err
    records = [json.loads(line) for line in ended.out.splitlines()]
    assert [record["text"] for record in records] == texts
    assert all(record["label"] in tiny.WORDS.values() and set(record["probabilities"]) == set(tiny.WORDS.values()) for record in records)
    assert all(record["confidence"] == max(record["probabilities"].values()) for record in records)
    (workplace / "texts.txt").write_text("\n".join(texts) + "\n\n")
    tiny.write_jsonl(workplace / "texts.jsonl", [{"sentence": text} for text in texts])
    (workplace / "texts.csv").write_text('id,text\n1,play some music\n2,"will it rain, or snow"\n3,"book ""a table"""\n')
    for name, more in (("texts.txt", ()), ("texts.jsonl", ("--text-column", "sentence")), ("texts.csv", ())):
        ended = tutelage("predict", str(finished / "student"), "--file", name, "--output", "labels.jsonl", *more)
        assert (ended.code, ended.out) == (0, ""), ended.err
        assert lines(workplace / "labels.jsonl") == records


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nowhere.txt", None, "--file nowhere.txt does not exist"),
        ("texts.csv", b"id,txet\n1,hello\n", "Unknown column 'text'. Did you mean 'txet'?"),
        ("texts.jsonl", b'{"text": "a"}\n{"text": \n', "texts.jsonl, line 2: not JSON"),
        ("texts.jsonl", b'["a"]\n', "texts.jsonl, line 1"),
        ("texts.txt", b"caf\xe9\n", "texts.txt is not UTF-8"),
        ("texts.txt", b"\n", "There is nothing to label"),
    ],
)
def test_predict_says_what_is_wrong_with_a_file(finished: Path, tutelage, workplace: Path, name, content, said):
    if content is not None:
        (workplace / name).write_bytes(content)
    ended = tutelage("predict", str(finished), "--file", name)
    assert ended.code == 3
    assert said in ended.err


def test_the_whole_command_line_ends_with_a_table_and_the_report(tutelage, overrides, workplace: Path):
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


def test_the_same_seed_and_cache_give_the_same_run_for_nothing(overrides, workplace: Path, monkeypatch):
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
    for name in ("student/model.safetensors", "predictions/test-after.jsonl", "feedback/round-002.jsonl"):
        assert (workplace / "first" / name).read_bytes() == (workplace / "second" / name).read_bytes()


def test_seed_0_is_a_seed_like_any_other(overrides, workplace: Path):
    zero, again, one = (grow(workplace / name, [*overrides, f"seed={seed}"]) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert zero["seed"] == 0
    assert zero["pool_hash"] == again["pool_hash"] != one["pool_hash"]
    assert accuracies(workplace / "a") == accuracies(workplace / "b") != accuracies(workplace / "c")


@pytest.mark.parametrize(("method", "gold"), [("shots", 7), ("supervised", 84)])
def test_the_floor_and_the_ceiling_ask_no_teacher(student, small_data, workplace: Path, monkeypatch, method, gold):
    monkeypatch.setenv(ASKS, str(workplace / "asks"))
    base = tiny.scripted(student, small_data, workplace / "replies.sqlite")
    result = grow(workplace / "run", [*base, f"method={method}", "method.training.start_epochs=2"])
    assert result["gold_labels"]["shots"] == result["rows"]["accepted"] == gold
    assert result["tokens"]["billed"] == 0
    assert result["rounds"] == 0
    assert not (workplace / "asks").exists()
    assert not (workplace / "replies.sqlite").exists()
    assert [row.source for row in Pool.open(workplace / "run" / "pool" / "rows.jsonl").rows] == ["gold"] * gold


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache") / "replies.sqlite"


@pytest.mark.parametrize("name", ["no_analysis", "no_correct", "no_easy", "no_feedback", "no_review", "no_separation"])
def test_an_ablation_takes_away_its_one_thing(name, student, small_data, shared_cache, workplace: Path):
    folder = workplace / "run"
    # A value on the command line wins over the ablation's, so the one that it changes is left out.
    small = [word for word in tiny.EVOKD if not (name == "no_easy" and word.startswith("method.n_easy"))]
    review = [] if name == "no_review" else ["method.training.review_every=1"]
    few = ["method.training.start_epochs=1", "method.training.round_epochs=1"]  # so that there are mistakes
    grow(folder, [*tiny.scripted(student, small_data, shared_cache), *small, *review, *few, f"ablation={name}"])
    growth = [read(folder, f"growth/round-{round:03d}.json") for round in (1, 2)]
    grown = [row for row in Pool.open(folder / "pool" / "rows.jsonl").rows if row.source != "gold"]
    transcript = (folder / "teacher" / "transcript.jsonl").read_text()
    config = OmegaConf.load(folder / "config.yaml")
    assert any(record["analysis"] for record in growth) is (name not in ("no_analysis", "no_feedback"))
    assert ("Note: " in transcript) is (name not in ("no_analysis", "no_feedback"))
    assert ("gets these right" in transcript) is (name not in ("no_correct", "no_analysis", "no_feedback"))
    assert any(row.source == "hard" for row in grown) is (name != "no_feedback")
    assert any(row.source == "easy" for row in grown) is (name != "no_easy")
    assert any(row.distribution for row in grown) is (name != "no_separation")
    assert bool(lines(folder / "feedback" / "round-001.jsonl")) is (name != "no_feedback")
    assert (config.method.training.review_every == 0) is (name == "no_review")
    if name == "no_feedback":
        assert len(set(growth[0]["quota"].values())) == 1


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
    assert "holds no reply to request '" in str(missed.value)
    assert "run.jsonl" in str(missed.value)
    assert "seed it was recorded with" in str(missed.value)
    status = read(workplace / "other", "status.json")
    assert status["state"] == "failed"
    assert status["error"] == str(missed.value)


def test_a_budget_below_one_round_is_an_error_that_names_both(overrides, workplace: Path):
    with pytest.raises(
        ConfigError, match=r"budget\.tokens=100 is smaller than one round: [\d,]+ tokens were billed .* Raise it, or ask for fewer"
    ):
        grow(workplace / "run", [*overrides, "budget.tokens=100"])
    assert read(workplace / "run", "status.json")["state"] == "failed"


def test_a_budget_stops_before_the_round_that_would_pass_it(overrides, workplace: Path):
    whole = grow(workplace / "whole", [*overrides, "method.rounds=3"])
    costs = [line["billed_tokens"] for line in lines(workplace / "whole" / "metrics.jsonl")]
    limit = costs[2] + 10
    stopped = grow(workplace / "stopped", [*overrides, "method.rounds=3", f"budget.tokens={limit}"])
    assert (whole["stopped_by"], stopped["stopped_by"]) == ("rounds", "budget")
    assert stopped["rounds"] == 2
    assert stopped["tokens"]["billed"] == costs[2] <= limit
    assert stopped["tokens"]["spent"] == 0
    assert [line[1] for line in accuracies(workplace / "stopped")][:3] == [line[1] for line in accuracies(workplace / "whole")][:3]


def test_growth_ends_on_a_plateau_and_the_dev_labels_are_counted(overrides, workplace: Path):
    rates = ["student.learning_rate=1e-9", "student.head_learning_rate=1e-9"]
    result = grow(workplace / "run", [*overrides, *rates, "method.rounds=4", "method.training.patience=1"])
    assert result["stopped_by"] == "plateau"
    assert result["rounds"] < 4
    assert result["gold_labels"]["dev"] == 28


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        (["calibration=none"], 0),
        (["calibration=contextual"], 0),
        (["calibration=batch"], 0),
        (["calibration=batch", "calibration.prior=estimated"], 0),
        (["calibration=batch", "calibration.prior=[0.4,0.1,0.1,0.1,0.1,0.1,0.1]"], 0),
        (["calibration=temperature"], 28),
    ],
    ids=str,
)
def test_every_calibration_runs_and_its_labels_are_counted(words, labels, student, small_data, shared_cache, workplace: Path):
    base = [*tiny.scripted(student, small_data, shared_cache), *tiny.EVOKD, "method.rounds=1", "method.training.start_epochs=1"]
    result = grow(workplace / "run", [*base, *words])
    assert result["gold_labels"]["calibration"] == labels
    assert read(workplace / "run", "manifest.json")["gold_labels"] == result["gold_labels"]
    assert result["rows"]["accepted"] > 7


def test_selector_all_keeps_what_agreement_rejects(student, small_data, shared_cache, workplace: Path):
    base = [*tiny.scripted(student, small_data, shared_cache), *tiny.EVOKD]
    grow(workplace / "all", [*base, "selector=all"])
    grow(workplace / "agreed", [*base, "selector=agreement", "selector.min_confidence=0"])
    everything, agreed = (Pool.open(workplace / name / "pool" / "rows.jsonl") for name in ("all", "agreed"))
    assert any(row.accepted and row.target != row.asked for row in everything.rows if row.asked)
    assert all(row.target == row.asked for row in agreed.accepted() if row.asked)
    assert any(row.reason == "scored label is not the one asked for" for row in agreed.rows)


@pytest.mark.parametrize(
    "words",
    [
        ["task.targets=soft", "selector.weighted=true"],
        ["method.n_init=7"],
        ["method.confident_wrong=true", "method.class_report=true"],
        ["method.training.predict_then_train=false"],
        ["method.training.train_on=all", "method.training.final_epochs=0"],
        ["method.styles={tone:[polite,blunt],length:[short,'']}"],
        ["student.pooling=first"],
        ["loss.label_smoothing=0.1", "student.schedule.shape=constant"],
    ],
    ids=str,
)
def test_the_settings_that_are_off_by_default_run(words, student, small_data, shared_cache, workplace: Path):
    base = [*tiny.scripted(student, small_data, shared_cache), *tiny.EVOKD, "method.training.start_epochs=1"]
    result = grow(workplace / "run", [*base, *words])
    assert result["rounds"] == 2
    assert result["rows"]["accepted"] > 7


@pytest.mark.parametrize("option", ["vllm", "local", "server", "replay"])
def test_every_engine_is_built_from_its_configuration(option, overrides, workplace: Path, student):
    from tutelage.compose import compose_config
    from tutelage.parts import build_stack

    if option == "replay":
        (workplace / "run.jsonl").write_text('{"recording": 1, "fingerprint": "label-writing:1"}\n')
    needs = {"replay": ["teacher.recording=run.jsonl"], "server": ["teacher.model=a-model"]}.get(option, [f"teacher.model={student}"])
    stack = build_stack(compose_config([f"teacher={option}", *needs, "budget.tokens=5"]), workplace / "run")
    try:
        assert stack.teacher.fingerprint
        assert stack.budget.left == 5
        assert (workplace / "user-cache" / "replies.sqlite").exists() is (option != "replay")
    finally:
        stack.close()
