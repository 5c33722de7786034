"""A finished run leaves every file of docs/reference/run-folder.md, and a usable student."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import tiny
from tests.helpers.documented import documented, missing_and_unknown
from tests.helpers.tiny import grow, lines

from tutelage.data.pool import Pool
from tutelage.records import outcome_from_dict


@pytest.fixture(scope="module")
def finished(student: Path, small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one finished run with reference scores and report."""
    from tutelage.report.html import write_report

    base = tmp_path_factory.mktemp("finished")
    grow(
        base / "run",
        [
            *tiny.scripted(student, small_data, base / "replies.sqlite"),
            *tiny.EVOKD,
            "evaluate=full",
        ],
    )
    write_report(base / "run")
    return base / "run"


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def keys_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for inner in value.values() for key in keys_of(inner)}
    return {key for inner in value for key in keys_of(inner)} if isinstance(value, list) else set()


def test_every_documented_file_is_there_and_no_other(finished: Path):
    assert missing_and_unknown(finished) == ([], [])
    assert not (finished / "checkpoints").exists()
    card = (finished / "student" / "README.md").read_text(encoding="utf-8")
    assert read(finished, "manifest.json")["config_hash"] in card
    assert "## Limits" in card


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "status.json",
        "result.json",
        "metrics.jsonl",
        "growth/round-NNN.json",
        "teacher/evaluation.jsonl",
    ],
)
def test_a_file_has_every_key_that_its_document_names(finished: Path, name: str):
    path = finished / name.replace("NNN", "001")
    there = keys_of(lines(path) if name.endswith("jsonl") else json.loads(path.read_text()))
    said = {
        key
        for part in re.findall(r"`(\{.*?\})`", documented()[name])
        for key in re.findall(r'"(\w+)"', part)
    }
    values = {"running", "done", "interrupted", "failed"}
    # Null in this run, which has no pool: tests/unit/student/test_written_or_real.py has them.
    values |= {"balanced_accuracy", "interval", "written", "real"}
    assert said
    assert said - values <= there


def test_the_numbers_that_are_quoted_are_those_of_the_files(finished: Path):
    result, metrics = read(finished, "result.json"), lines(finished / "metrics.jsonl")
    pool = Pool.open(finished / "pool" / "rows.jsonl")
    assert result["pool_hash"] == pool.digest()
    assert result["rows"] == {
        "accepted": len(pool.accepted()),
        "rejected": len(pool) - len(pool.accepted()),
    }
    assert [line["round"] for line in metrics] == [0, 1, 2, 3]
    assert [line["stage"] for line in metrics] == ["start", "round", "round", "final"]
    assert result["rounds"] == 2
    assert result["stopped_by"] == "rounds"
    assert result["seed"] == 1
    assert metrics[-1]["accepted"] == result["rows"]["accepted"]
    assert metrics[-1]["rejected"] == result["rows"]["rejected"]
    assert metrics[-1]["billed_tokens"] == result["tokens"]["billed"]
    assert [line["billed_tokens"] for line in metrics] == sorted(
        line["billed_tokens"] for line in metrics
    )
    for when, line in (("before", metrics[0]), ("after", metrics[-1])):
        outcomes = [
            outcome_from_dict(record)
            for record in lines(finished / "predictions" / f"test-{when}.jsonl")
        ]
        accuracy = sum(outcome.correct for outcome in outcomes) / len(outcomes)
        assert len(outcomes) == 42
        assert result[when]["accuracy"] == line["test"]["accuracy"] == accuracy
        assert result[when]["macro_f1"] == line["test"]["macro_f1"]
        assert all(
            math.isclose(sum(outcome.probabilities), 1.0, abs_tol=1e-4) for outcome in outcomes
        )
    assert sum(score["support"] for score in metrics[0]["dev"]["per_class"].values()) == 28
    tokens = result["tokens"]
    assert (
        tokens["billed"] == tokens["billed_prompt"] + tokens["billed_completion"] == tokens["spent"]
    )


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
        assert lines(finished / "metrics.jsonl")[round]["fresh"]["count"] == sum(
            row.accepted for row in rows
        )
    assert {row.source for row in pool.of_round(0)} == {"gold"}
    assert any(not row.accepted for row in pool.rows), (
        "the scripted teacher slips, so something must have been rejected"
    )
    transcript = lines(finished / "teacher" / "transcript.jsonl")
    asked = sum(read(finished, f"growth/round-{round:03d}.json")["asked"] for round in (1, 2))
    assert len(transcript) == asked  # requests of the teacher alone do not count for the run
    assert asked == read(finished, "result.json")["requests"]["all"]


def test_feedback_holds_the_mistakes_that_a_round_was_aimed_at(finished: Path):
    rounds = [lines(finished / "feedback" / f"round-{round:03d}.jsonl") for round in (1, 2)]
    outcomes = [outcome_from_dict(record) for records in rounds for record in records]
    assert outcomes
    assert not any(outcome.correct for outcome in outcomes)
    assert "It gets these wrong" in "".join(
        read(finished, f"growth/round-{round:03d}.json")["prompt"] for round in (1, 2)
    )


def test_the_manifest_says_what_the_run_was_made_of(finished: Path):
    manifest = read(finished, "manifest.json")
    assert manifest["seed"] == 1
    assert manifest["method"] == "evokd"
    assert manifest["teacher"]["fingerprint"] == "label-writing:1"
    assert [label["word"] for label in manifest["labels"]] == sorted(tiny.WORDS.values())
    assert {split: manifest["data"][split] for split in ("pool", "dev", "test")} == {
        "pool": 84,
        "dev": 28,
        "test": 42,
    }
    assert manifest["gold_labels"] == {"shots": 7, "dev": 0, "calibration": 0}
    assert manifest["packages"]["torch"]
    assert re.fullmatch(r"[0-9a-f]{16}", manifest["config_hash"])


def test_the_status_of_a_finished_run(finished: Path):
    status = read(finished, "status.json")
    assert (status["state"], status["error"], status["resume_command"]) == ("done", "", "")
    assert datetime.fromisoformat(status["started"]) <= datetime.fromisoformat(status["updated"])


def test_the_arms_beside_the_student(finished: Path):
    result, evaluation = (
        read(finished, "result.json"),
        lines(finished / "teacher" / "evaluation.jsonl"),
    )
    assert result["supervised"]["gold_labels"] == 84
    assert len(evaluation) == 42
    right = sum(
        line["target"]
        == sorted(tiny.WORDS.values())[line["probabilities"].index(max(line["probabilities"]))]
        for line in evaluation
    )
    assert result["teacher"]["accuracy"] == right / 42
    assert result["teacher"]["accuracy"] > 0.6, "the scripted teacher knows the words"
    assert result["teacher"]["tokens"] > 0
    assert all(math.isclose(sum(line["probabilities"]), 1.0, abs_tol=1e-4) for line in evaluation)


def test_the_report_and_the_figures_are_drawn(finished: Path):
    assert (finished / "report.html").stat().st_size > 50_000
    assert {path.stem for path in (finished / "figures").glob("*.png")} >= {
        "learning-by-round",
        "learning-by-tokens",
        "confusion-matrix",
    }


def test_the_student_s_folder_gives_the_predictions_of_the_run(finished: Path):
    import torch

    from tutelage.student.loading import load_student

    network, tokenizer, max_length = load_student(finished / "student")
    assert max_length == 32
    for record in lines(finished / "predictions" / "test-after.jsonl")[:5]:
        batch = tokenizer(
            [record["text"]], truncation=True, max_length=max_length, return_tensors="pt"
        )
        with torch.no_grad():
            row = (
                network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
                .logits.softmax(-1)[0]
                .tolist()
            )
        assert row == pytest.approx(record["probabilities"], abs=1e-4)
        assert network.config.id2label[row.index(max(row))] == record["predicted"]


def test_predict_labels_texts_and_files(finished: Path, tutelage, workplace: Path):
    texts = ["play some music", "will it rain, or snow", 'book "a table"']
    ended = tutelage("predict", str(finished), *texts)
    assert ended.code == 0, ended.err
    records = [json.loads(line) for line in ended.out.splitlines()]
    assert [record["text"] for record in records] == texts
    assert all(
        record["label"] in tiny.WORDS.values()
        and set(record["probabilities"]) == set(tiny.WORDS.values())
        for record in records
    )
    assert all(record["confidence"] == max(record["probabilities"].values()) for record in records)
    (workplace / "texts.txt").write_text("\n".join(texts) + "\n\n")
    tiny.write_jsonl(workplace / "texts.jsonl", [{"sentence": text} for text in texts])
    (workplace / "texts.csv").write_text(
        'id,text\n1,play some music\n2,"will it rain, or snow"\n3,"book ""a table"""\n'
    )
    for name, more in (
        ("texts.txt", ()),
        ("texts.jsonl", ("--text-column", "sentence")),
        ("texts.csv", ()),
    ):
        ended = tutelage(
            "predict", str(finished / "student"), "--file", name, "--output", "labels.jsonl", *more
        )
        assert (ended.code, ended.out) == (0, ""), ended.err
        found = lines(workplace / "labels.jsonl")
        # A file's rows are numbered, so that results can be joined; a blank line is a row, too.
        assert [one.pop("row") for one in found] == list(range(1, len(found) + 1))
        assert found[:3] == records
        assert [one["label"] for one in found[3:]] == [None] * (name == "texts.txt")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nowhere.txt", None, "--file nowhere.txt does not exist"),
        ("texts.csv", b"id,txet\n1,hello\n", "Unknown column 'text'. Did you mean 'txet'?"),
        ("texts.jsonl", b'{"text": "a"}\n{"text": \n', "texts.jsonl:2: not JSON"),
        ("texts.jsonl", b'["a"]\n', "texts.jsonl:1"),
        ("texts.txt", b"caf\xe9\n", "texts.txt is not utf-8"),
        ("texts.txt", b"\n", "texts.txt is empty"),
    ],
)
def test_predict_says_what_is_wrong_with_a_file(
    finished: Path, tutelage, workplace: Path, name, content, said
):
    if content is not None:
        (workplace / name).write_bytes(content)
    ended = tutelage("predict", str(finished), "--file", name)
    assert ended.code == 3
    assert said in ended.err
