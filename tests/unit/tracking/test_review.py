"""The parts of a run's folder shown for review."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tests.helpers.run_folders import build_run
from tests.helpers.tiny import lines

from tutelage.runs.read import Run, read_run
from tutelage.tracking.review import (
    AXES,
    COLUMNS,
    curves,
    group_of,
    mistakes,
    pool_version,
    summary,
    tags,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return read_run(build_run(tmp_path_factory.mktemp("review") / "run"))


def test_a_line_s_curves_have_every_axis_and_every_number_of_it(run: Run) -> None:
    first, second = lines(run.folder / "metrics.jsonl")[:2]
    shown = curves({**first, "fresh": {"accuracy": 0.75, "count": 4}})
    assert {name: shown[name] for name in AXES} == {
        "round": 0,
        "samples": first["accepted"],
        "billed_tokens": 0,
    }
    assert shown["dev/accuracy"] == first["dev"]["accuracy"]
    assert shown["test/macro_f1"] == first["test"]["macro_f1"]
    assert {name.partition("/")[2] for name in shown if name.startswith("dev_f1/")} == set(
        run.labels
    )
    assert (shown["seconds/growth"], shown["train/loss"], shown["fresh/accuracy"]) == (
        11.0,
        first["train_loss"],
        0.75,
    )
    # A stage not measured on test has no value in this curve, instead of a zero.
    assert not any(
        name.startswith(("test", "train", "fresh"))
        for name in curves({**second, "test": None, "train_loss": None})
    )


def test_a_mistake_stands_beside_what_was_written_from_it_and_then_for_its_class(run: Run) -> None:
    aimed = {one.text: one for one in run.feedback_for(2)}
    shown = [dict(zip(COLUMNS, line, strict=True)) for line in mistakes(run, 2, 10_000)]
    assert {line["mistake"] for line in shown} == set(aimed)
    assert any(line["written for"] == "this mistake" for line in shown)
    by_text = {row.text: row for row in run.rows if row.round == 2}
    for line in shown:
        mistake = aimed[line["mistake"]]
        assert (line["right"], line["predicted"], line["confidence"]) == (
            mistake.target,
            mistake.predicted,
            mistake.confidence,
        )
        row = by_text.get(line["next text"])
        if row is not None:
            assert line["written for"] == (
                "this mistake" if mistake.id in row.parents else "its class"
            )
            assert (line["next target"], line["kept"], line["reason"]) == (
                row.target,
                row.accepted,
                row.reason,
            )
            assert mistake.id in row.parents or row.asked == mistake.target
    assert len(mistakes(run, 2, 5)) == 5


def test_a_version_of_the_pool_is_its_first_rows_whatever_came_after(run: Run) -> None:
    path = run.folder / "pool" / "rows.jsonl"
    first = b"".join(path.read_bytes().splitlines(keepends=True)[:9])
    assert pool_version(path, 9, 10**6) == {
        "rows": 9,
        "bytes": len(first),
        "sha256": hashlib.sha256(first).hexdigest(),
    }
    assert pool_version(path, 9, 100)["sha256"] is None


def test_the_summary_names_the_optimised_metric(run: Run) -> None:
    result = run.result
    for metric in (None, "macro_f1"):
        shown = summary(run, metric)
        assert (shown["metric"], shown["score"]) == (
            metric or "accuracy",
            result["after"][metric or "accuracy"],
        )
    assert (shown["before/accuracy"], shown["after/accuracy"]) == (
        result["before"]["accuracy"],
        result["after"]["accuracy"],
    )
    assert (shown["tokens/billed"], shown["share_of_data/unique"], shown["state"]) == (
        result["tokens"]["billed"],
        0.25,
        "done",
    )
    assert None not in shown.values()


def test_tags_and_the_group_of_a_single_run_and_of_a_sweep_s_job(tmp_path: Path, run: Run) -> None:
    found = tags(
        {
            **run.manifest,
            "selectors": {"acquire": "badge", "accept": "none", "select": "llkd"},
            "ablation": "no_easy",
            "student": {"model": "models/MiniLM/"},
        }
    )
    assert found == [
        "task:classification",
        "data:synthetic",
        "method:evokd",
        "acquire:badge",
        "select:llkd",
        "ablation:no_easy",
        "student:MiniLM",
    ]
    assert group_of(tmp_path / "outputs" / "mine" / "now", "mine") == "mine"
    sweep = tmp_path / "multirun_sweeps" / "seeds" / "2026-01-01_00-00-00"
    (sweep / "jobs").mkdir(parents=True)
    assert group_of(sweep / "3", "mine") == "seeds/2026-01-01_00-00-00"


def test_entities_are_written_out(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run", labels=("PER", "LOC"), rounds=1)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(
        json.dumps(
            {**manifest, "task": "ner", "metrics": [{"key": "f1_strict", "title": "F1"}] * 2}
        )
    )
    (folder / "metrics.jsonl").unlink()
    outcome = {
        "id": "m",
        "text": "Ada went to Paris",
        "target": '[[0,1,"PER"],[3,4,"LOC"]]',
        "predicted": '[[0,1,"LOC"]]',
    }
    outcome |= {
        "probabilities": [0.6],
        "source": "hard",
        "round": 0,
        "tags": ["B-LOC", "O", "O", "O"],
    }
    row = {
        "id": "r",
        "text": "Bob saw Rome",
        "target": '[[2,3,"LOC"]]',
        "source": "hard",
        "round": 1,
        "accepted": True,
        "asked": "LOC",
    }
    (folder / "feedback" / "round-000.jsonl").unlink()
    (folder / "feedback" / "round-001.jsonl").write_text(json.dumps(outcome) + "\n")
    (folder / "pool" / "rows.jsonl").write_text(json.dumps(row) + "\n")
    for name in ("predictions", "teacher"):
        for path in (folder / name).glob("*.jsonl"):
            path.unlink()
    (line,) = mistakes(read_run(folder), 1, 10)
    assert line[1:4] == ["Ada went to Paris", "Ada [PER]; Paris [LOC]", "Ada [LOC]"]
    assert line[5:] == ["Bob saw Rome", "Rome [LOC]", True, "", "its class"]
