"""`tutelage review` on a finished run of each task: out, annotated, back, and into the next run."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.documented import missing_and_unknown
from tests.helpers.pages import Page
from tests.helpers.tasks import TaskSetup
from tests.helpers.tiny import grow, lines

from tutelage.report.intervals import wilson_interval
from tutelage.runs.read import read_run

SIZES = ("--n", "4", "--disputed", "3", "--control", "6")
FILES = ("gold.jsonl", "labels.jsonl", "review.json")


@pytest.fixture(scope="module")
def labelled(kind: TaskSetup, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a pool that the teacher has labelled."""
    folder = tmp_path_factory.mktemp("labelled") / "run"
    grow(folder, [*kind.base(), "method=full_pool", "training.start_epochs=8"])
    return folder


@pytest.fixture
def copied(labelled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(labelled, tmp_path / "run"))


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def annotated(folder: Path, answer: Callable[[int, Any], Any]) -> Path:
    """Writes an export in which ``answer`` gives the annotations of each exported task."""
    tasks = read(folder / "review" / "tasks.json")
    for number, task in enumerate(tasks):
        task |= {"id": 100 + number, "drafts": [], "annotations": answer(number, task)}
    file = folder.parent / "export.json"
    file.write_text(json.dumps(tasks), encoding="utf-8")
    return file


def as_the_teacher(number: int, task: Any, who: int = 1) -> list[Any]:
    result = task["predictions"][0]["result"]
    return [{"id": number, "completed_by": who, "was_cancelled": False, "result": result}]


def test_labels_come_back_as_gold_and_score_the_teacher(
    kind: TaskSetup,
    copied: Path,
    tmp_path: Path,
    tutelage: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended = tutelage("review", "export", str(copied), *SIZES)
    assert ended.code == 0, ended.err
    assert "13 rows: 6 control, 4 unsure, 3 disputed" in ended.out
    sample = lines(copied / "review" / "sample.jsonl")
    control = [number for number, one in enumerate(sample) if one["part"] == "control"]
    wrong = control[0]
    skipped = next(n for n, one in enumerate(sample) if one["part"] == "unsure")
    other = [{"type": "choices", "value": {"choices": ["music"]}}]
    rows = {row.id: row for row in read_run(copied).rows}
    if sample[wrong]["teacher"] == "music":
        other = [{"type": "choices", "value": {"choices": ["weather"]}}]
    if kind.task == "ner":
        text = rows[sample[wrong]["id"]].text
        start = text.index(max(text.split(" "), key=len))
        marked = {"start": start + 1, "end": start + 2, "labels": ["PER"]}
        other = [{"type": "labels", "value": marked}]

    def answer(number: int, task: Any) -> list[Any]:
        (own,) = as_the_teacher(number, task)
        if number == wrong:
            return [{**own, "result": other}]
        return [{**own, "was_cancelled": True}] if number == skipped else [own]

    file = annotated(copied, answer)
    ended = tutelage("review", "import", str(copied), str(file))
    assert ended.code == 0, ended.err
    gold, labels = (lines(copied / "review" / name) for name in FILES[:2])
    review = read(copied / "review" / "review.json")
    assert (review["gold"], review["skipped"], review["open"]) == (12, 1, 0)
    assert review["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    written = (copied / "review" / "gold.jsonl").read_bytes()
    assert review["gold_sha256"] == hashlib.sha256(written).hexdigest()
    assert review["widened"] == (kind.task == "ner")
    assert [one["id"] for one in labels] == [
        one["id"] for number, one in enumerate(sample) if number != skipped
    ]
    assert sum(one["gold"] == one["teacher"] for one in labels) == 11
    scores = {(one["who"], one["metric"]): one for one in review["scores"]}
    exact = scores["teacher", "texts right" if kind.task == "ner" else "accuracy"]
    assert exact["value"] == pytest.approx(5 / 6)
    assert (exact["low"], exact["high"]) == pytest.approx(wilson_interval(5 / 6, 6))
    assert (("teacher", "entity F1") in scores) == (kind.task == "ner")

    # It is told and shown, and every file is documented.
    page = Page((copied / "report.html").read_text(encoding="utf-8"))
    assert "83.3%" in ended.out
    assert "Review by people" in page.text
    assert "12 rows labelled by 1 annotator, 1 skipped" in page.text
    assert missing_and_unknown(copied)[1] == []

    # The next run trains on them, counts them as gold and does not ask for them again.
    settings = ["method=full_pool", "method.train_on_shots=true", "training.start_epochs=1"]
    path = copied / "review" / "gold.jsonl"
    result = grow(tmp_path / "next", [*kind.base(), *settings, f"data.gold={path}"])
    assert result["gold_labels"]["shots"] == kind.gold + len(gold)
    after = read_run(tmp_path / "next")
    targets = {row.text: row.target for row in after.rows if row.source == "gold"}
    assert {one["text"]: one["gold"] for one in labels}.items() <= targets.items()
    asked = {row.text for row in after.rows if row.source == "pool"}
    assert not asked & {one["text"] for one in labels}
    assert after.manifest["data"]["pool"] == kind.pool - len(gold)

    # A method that trains on no gold rows says so.
    settings = ["method=full_pool", "training.start_epochs=1", f"data.gold={path}"]
    said = "method.train_on_shots=true trains on them, too"
    assert said not in caplog.text
    grow(tmp_path / "untrained", [*kind.base(), *settings])
    assert said in caplog.text


def test_several_annotators_decide_by_majority(copied: Path, tutelage: Any) -> None:
    assert tutelage("review", "export", str(copied), *SIZES).code == 0

    tasks = read(copied / "review" / "tasks.json")
    disputed = next(n for n, one in enumerate(tasks) if one["predictions"][0]["result"])

    def answer(number: int, task: Any) -> list[Any]:
        first, second = (as_the_teacher(number, task, who)[0] for who in (1, 2))
        if number == disputed:
            (mark, *_) = second["result"]
            choice = "weather" if mark["value"].get("choices") == ["music"] else "music"
            another = [{**mark, "value": {"choices": [choice]}}]
            second["result"] = another if "choices" in mark["value"] else []
        return [first, second]

    ended = tutelage("review", "import", str(copied), str(annotated(copied, answer)))
    assert ended.code == 0, ended.err
    review = read(copied / "review" / "review.json")
    assert (review["gold"], review["undecided"], review["annotators"]) == (12, 1, 2)
    assert (review["several"], review["agreed"]) == (13, 12)
    assert "1 without a majority; of 13 with several votes, 12 have the same label" in ended.out


def test_the_same_sample_is_drawn_again_and_another_is_refused(
    copied: Path, tmp_path: Path, tutelage: Any
) -> None:
    to = tmp_path / "out.json"
    assert tutelage("review", "export", str(copied), "--to", str(to), *SIZES).code == 0
    first = (to.read_bytes(), (copied / "review" / "sample.jsonl").read_bytes())
    assert to.with_suffix(".xml").is_file()
    assert tutelage("review", "export", str(copied), "--to", str(to), *SIZES).code == 0
    assert (to.read_bytes(), (copied / "review" / "sample.jsonl").read_bytes()) == first
    ended = tutelage("review", "export", str(copied), "--to", str(to), "--n", "1")
    assert ended.code == 7
    assert "has another sample of 13 rows" in ended.err
    assert to.read_bytes() == first[0]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--n", "-1"), 2, "--n -1 --disputed 50 --control 50 draw no sample"),
        (("--n", "0", "--disputed", "0", "--control", "0"), 2, "draw no sample"),
        (("--to", "tasks.csv"), 2, "is no .json file"),
        (("--to", "nowhere/tasks.json"), 3, "nowhere/tasks.json cannot be written"),
    ],
)
def test_an_export_that_cannot_be_is_one_sentence(
    copied: Path, tutelage: Any, options: tuple[str, ...], code: int, said: str
) -> None:
    ended = tutelage("review", "export", str(copied), *options)
    assert ended.code == code
    assert said in ended.err
    assert not (copied / "review" / "sample.jsonl").exists()


def test_an_import_that_cannot_be_is_one_sentence_and_writes_nothing(
    copied: Path, tmp_path: Path, tutelage: Any
) -> None:
    def refused(file: Path, code: int, said: str) -> None:
        ended = tutelage("review", "import", str(copied), str(file))
        assert ended.code == code
        assert said in ended.err
        assert ended.err.count("\n") == 1
        assert not any((copied / "review" / name).exists() for name in FILES)

    refused(tmp_path / "export.json", 7, "Run `tutelage review export` for this run first")
    assert tutelage("review", "export", str(copied), *SIZES).code == 0
    refused(tmp_path / "export.json", 3, "There is no file")
    refused(annotated(copied, lambda *_: []), 3, "has no label to import")
    file = annotated(copied, as_the_teacher)
    tasks = read(file)
    for change, said in (
        ({"row": "elsewhere"}, "is not in review/sample.jsonl"),
        ({"text": tasks[-1]["data"]["text"] + " more"}, "has another text than its row"),
        ({"row": None}, '"data.row" of Entry 13'),
    ):
        altered = [*tasks[:-1], {**tasks[-1], "data": {**tasks[-1]["data"], **change}}]
        file.write_text(json.dumps(altered), encoding="utf-8")
        refused(file, 3, said)
    status = read(copied / "status.json")
    (copied / "status.json").write_text(json.dumps({**status, "state": "failed"}))
    refused(file, 7, "is not finished (its state is failed)")
