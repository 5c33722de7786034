"""Reading complete, unfinished and damaged run folders."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from tests.helpers.ner_folders import TYPES, build_ner_run
from tests.helpers.run_folders import LABELS, build_run

from tutelage.errors import RunError
from tutelage.report.html import write_report
from tutelage.report.summary import summary_lines
from tutelage.runs.read import read_run
from tutelage.tasks.classification import ClassificationTask
from tutelage.tasks.registry import TASKS
from tutelage.tasks.spans import read_spans


def test_a_done_run_is_read_whole(tmp_path: Path) -> None:
    run = read_run(build_run(tmp_path / "run"))
    assert run.labels == LABELS
    assert run.state == "done"
    assert [line.round for line in run.metrics] == [0, 1, 2, 3, 4]
    assert len(run.rows) == len(LABELS) + 4 * 14
    assert sorted(run.growth) == [1, 2, 3, 4]
    assert len(run.before) == len(run.after) == len(run.teacher) == 90
    assert run.rows[5].distribution is not None
    assert run.rows[5].distribution.labels == LABELS
    assert run.metrics[0].test is not None
    assert set(run.metrics[0].test.per_class) == set(LABELS)
    assert run.notes == ()


def test_mistakes_of_a_round_feed_the_next_growth(tmp_path: Path) -> None:
    run = read_run(build_run(tmp_path / "run"))
    assert run.feedback_for(1) == run.feedback[0]
    assert run.feedback_for(4) == run.feedback[3]
    assert run.feedback_for(9) == ()
    row = next(row for row in run.rows if row.round == 2)
    assert set(row.parents) <= {outcome.id for outcome in run.feedback_for(2)}


def test_growth_numbered_as_its_feedback_is_paired_by_number(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    for number in range(4):
        (folder / "feedback" / f"round-{number:03d}.jsonl").rename(
            folder / "feedback" / f"x-{number + 1}"
        )
    for number in range(1, 5):
        (folder / "feedback" / f"x-{number}").rename(
            folder / "feedback" / f"round-{number:03d}.jsonl"
        )
    run = read_run(folder)
    assert run.feedback_for(1) == run.feedback[1]


@pytest.mark.parametrize("state", ["running", "interrupted", "failed"])
def test_an_unfinished_run_is_read(tmp_path: Path, state: str) -> None:
    run = read_run(build_run(tmp_path / "run", state=state))
    assert run.state == state
    assert run.result == {}
    assert run.after == ()


def test_a_run_that_has_only_begun_is_read(tmp_path: Path) -> None:
    whole = build_run(tmp_path / "whole", state="running")
    begun = tmp_path / "begun"
    begun.mkdir()
    for name in ("manifest.json", "status.json"):
        (begun / name).write_bytes((whole / name).read_bytes())
    run = read_run(begun)
    assert run.rows == run.metrics == run.before == run.teacher == ()
    assert run.config == ""


@pytest.mark.parametrize(
    "name",
    ["pool/rows.jsonl", "metrics.jsonl", "teacher/evaluation.jsonl", "feedback/round-001.jsonl"],
)
def test_a_half_written_last_line_is_left_out_and_noted(tmp_path: Path, name: str) -> None:
    folder = build_run(tmp_path / "run")
    path = folder / name
    # Cut inside a two-byte character: the rest is not even valid UTF-8.
    path.write_bytes(path.read_bytes() + '{"id": "é'.encode()[:-1])
    whole, cut = read_run(build_run(tmp_path / "other")), read_run(folder)
    assert len(cut.rows) == len(whole.rows)
    assert len(cut.metrics) == len(whole.metrics)
    assert len(cut.notes) == 1
    assert "half-written" in cut.notes[0]
    assert Path(name).name in cut.notes[0]


def test_the_teacher_s_notes_come_first_among_the_run_s(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["teacher"]["notes"] = ["The server returns only 20 tokens."]
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as metrics:
        metrics.write("{")
    first, second = read_run(folder).notes
    assert first == "The server returns only 20 tokens."
    assert "half-written" in second


def test_a_line_separator_inside_a_text_does_not_split_the_line(tmp_path: Path) -> None:
    run = read_run(build_run(tmp_path / "run", texts=("one\u2028two\x85three",)))
    assert any(row.text == "one\u2028two\x85three" for row in run.rows)


def test_of_a_round_written_twice_the_last_counts(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    path = folder / "metrics.jsonl"
    last = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])
    last["billed_tokens"] = 7
    path.write_text(path.read_text(encoding="utf-8") + json.dumps(last) + "\n", encoding="utf-8")
    run = read_run(folder)
    assert len(run.metrics) == 5
    assert run.metrics[-1].billed_tokens == 7


@pytest.mark.parametrize("name", ["manifest.json", "status.json"])
@pytest.mark.parametrize("content", [None, "", "[1]", "{}", '{"labels": "a", "no": 1}'])
def test_missing_or_damaged_essentials_are_named(
    tmp_path: Path, name: str, content: str | None
) -> None:
    folder = build_run(tmp_path / "run")
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=name.replace(".", r"\.")) as caught:
        read_run(folder)
    assert "gain" in str(caught.value) or "esume" in str(caught.value)


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        read_run(tmp_path / "nowhere")
    run = build_run(tmp_path / "my_run" / "2026-01-01_00-00-00")
    with pytest.raises(RunError, match=f"the folders of 1 run.* the last is {run}"):
        read_run(tmp_path / "my_run")


def test_damage_in_the_middle_names_the_line(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    path = folder / "pool" / "rows.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")
    lines[2] = lines[2][:20]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(RunError, match=r"rows\.jsonl line 3 is not valid JSON"):
        read_run(folder)


@pytest.mark.parametrize(
    ("line", "what"),
    [('{"id": "1"}', "missing"), ("[1]", "JSON object"), ('{"id": "1", "colour": 2}', "colour")],
)
def test_a_row_of_the_wrong_shape_names_the_line(tmp_path: Path, line: str, what: str) -> None:
    folder = build_run(tmp_path / "run")
    with (folder / "pool" / "rows.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    with pytest.raises(RunError, match=rf"rows\.jsonl line 60 violates .*({what})"):
        read_run(folder)


def test_a_growth_file_of_the_wrong_shape_is_named(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    (folder / "growth" / "round-002.json").write_text(
        '{"round": 2, "quota": [1]}', encoding="utf-8"
    )
    with pytest.raises(RunError, match=r"round-002\.json violates"):
        read_run(folder)


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.5, 0.5, float("nan")], [2.0, 0.0, 0.0]])
def test_an_opinion_that_is_no_distribution_names_the_line(
    tmp_path: Path, shares: list[float]
) -> None:
    folder = build_run(tmp_path / "run")
    line = {
        "id": "1",
        "target": LABELS[0],
        "probabilities": shares,
        "raw": [],
        "off_label_mass": 0.0,
    }
    (folder / "teacher" / "evaluation.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"evaluation\.jsonl line 1 .*3 numbers in \[0, 1\]"):
        read_run(folder)


def test_a_folder_from_before_there_were_two_tasks_is_a_classification(tmp_path: Path) -> None:
    new, folder = read_run(build_run(tmp_path / "new")), build_run(tmp_path / "old")
    for name, gone in (("manifest.json", ("task", "metrics")), ("result.json", ("metrics",))):
        found = json.loads((folder / name).read_text(encoding="utf-8"))
        for key in gone:
            del found[key]
        if name == "result.json":
            found["teacher"]["raw_accuracy"] = found["teacher"].pop("raw")
        (folder / name).write_text(json.dumps(found), encoding="utf-8")
    old = read_run(folder)
    assert old.task.name == "classification"
    assert old.headline_metrics == new.headline_metrics
    assert old.metrics == new.metrics
    assert summary_lines(old) == summary_lines(new)


def test_a_run_of_entities_is_read_whole(tmp_path: Path) -> None:
    run = read_run(build_ner_run(tmp_path / "run"))
    assert run.labels == TYPES
    assert run.task.is_token_level
    assert [metric.title for metric in run.headline_metrics] == ["entity F1", "texts right"]
    assert run.metrics[0].test is not None
    assert set(run.metrics[0].test.values) == {"f1_strict", "f1_default", "accuracy"}
    assert set(run.metrics[0].test.per_class) == set(TYPES)
    assert run.metrics[0].test.errors
    assert len(run.supervised) == len(run.teacher) == len(run.after) == 40
    assert all(
        len(opinion.probabilities) == len(read_spans(opinion.predicted)) for opinion in run.teacher
    )


def test_another_task_needs_nothing_but_its_entry_in_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TopicTask(ClassificationTask):
        name = "topics"
        wording = dataclasses.replace(ClassificationTask.wording, class_names="topics")

    folder = build_run(tmp_path / "run")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (folder / "manifest.json").write_text(
        json.dumps(manifest | {"task": "topics"}), encoding="utf-8"
    )
    monkeypatch.setitem(TASKS, "topics", TopicTask)
    assert isinstance(read_run(folder).task, TopicTask)
    assert "topics as shown to the teacher" in write_report(folder).read_text("utf-8").lower()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "parsing"}, r"\"task\" is 'parsing', which is neither classification nor ner"),
        ({"metrics": [{"key": "accuracy", "title": "accuracy"}]}, r'"metrics" must be two objects'),
        ({"metrics": [{"key": "a"}, {"key": "b"}]}, r'"metrics" must be two objects'),
        ({"metrics": 7}, r'"metrics" must be two objects'),
    ],
)
def test_a_manifest_of_another_kind_is_named(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = build_run(tmp_path / "run") / "manifest.json"
    path.write_text(
        json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8"
    )
    with pytest.raises(RunError, match=rf"manifest\.json.*{message}"):
        read_run(path.parent)


def test_a_round_without_a_quoted_number_names_the_line(tmp_path: Path) -> None:
    path = build_ner_run(tmp_path / "run") / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    del (spoilt := json.loads(lines[1]))["dev"]["f1_strict"]
    path.write_text("\n".join([lines[0], json.dumps(spoilt), *lines[2:]]) + "\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"metrics\.jsonl line 2 .*f1_strict"):
        read_run(path.parent)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("predictions/test-after.jsonl", {"predicted": "PER"}),
        ("feedback/round-001.jsonl", {"target": "[[0, 1]]"}),
        ("pool/rows.jsonl", {"target": "[1]", "accepted": True}),
        ("teacher/evaluation.jsonl", {"confidences": [0.1] * 9}),
        (
            "teacher/evaluation.jsonl",
            {"predicted": '[[0, 1, "PER"]]', "confidences": [float("nan")]},
        ),
    ],
)
def test_a_marking_that_is_none_names_the_line(
    tmp_path: Path, name: str, changes: dict[str, object]
) -> None:
    path = build_ner_run(tmp_path / "run") / name
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    path.write_text(
        "\n".join([json.dumps(json.loads(first) | changes), *rest]) + "\n", encoding="utf-8"
    )
    with pytest.raises(RunError, match=rf"{path.name} line 1 violates"):
        read_run(path.parents[1])


def test_a_rejected_row_that_was_never_marked_has_no_entities(tmp_path: Path) -> None:
    path = build_ner_run(tmp_path / "run") / "pool" / "rows.jsonl"
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    changed = json.loads(first) | {"target": "PER", "accepted": False, "reason": "empty"}
    path.write_text("\n".join([json.dumps(changed), *rest]) + "\n", encoding="utf-8")
    assert read_run(path.parents[1]).rows[0].target == "[]"
