"""`tutelage audit` on a finished run of each task: its files, table and section of the report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.documented import missing_and_unknown
from tests.helpers.pages import Page
from tests.helpers.tasks import TaskSetup
from tests.helpers.tiny import grow, lines

from tutelage.data.pool import Pool


@pytest.fixture(scope="module")
def labelled(kind: TaskSetup, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a pool that the teacher has labelled, with the teacher alone on test."""
    folder = tmp_path_factory.mktemp("labelled") / "run"
    settings = ["method=full_pool", "training.start_epochs=8", "evaluate.teacher=true"]
    grow(folder, [*kind.base(), *settings])
    return folder


@pytest.fixture
def copied(labelled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(labelled, tmp_path / "run"))


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def test_suspects_are_written_counted_and_shown(kind: TaskSetup, copied: Path, tutelage):
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    ended = tutelage("audit", str(copied), "--min-confidence", "0.2")
    assert ended.code == 0, ended.err
    audit, suspects = read(copied, "audit.json"), lines(copied / "audit.jsonl")

    # The pool: every row was judged, and the gold labels that the run knew are counted.
    rows = {row.id: row for row in Pool.open(copied / "pool" / "rows.jsonl").accepted()}
    pool, dev, test = audit["splits"]
    judged = [row for row in rows.values() if row.source != "gold"]
    assert (pool["split"], pool["texts"]) == ("pool", len(judged))
    assert sum(one["known"] for one in audit["classes"]) > 0
    assert audit["notes"] == []
    assert audit["units"] == ("words" if kind.task == "ner" else "rows")
    for one in suspects[: pool["suspects"]]:
        assert one["split"] == "pool"
        assert one["label"] == rows[one["id"]].target != one["suggested"]
    chances = [one["probability"] for one in suspects[: pool["suspects"]]]
    assert chances == sorted(chances)

    # Dev and test: the run's gold labels, of test with the teacher.
    assert (dev["split"], dev["texts"], dev["by"]) == ("dev", kind.dev, ["student"])
    assert (test["split"], test["by"]) == ("test", ["student", "teacher"])
    assert test["texts"] == len(lines(copied / "predictions" / "test-after.jsonl"))
    assert len(suspects) == pool["suspects"] + dev["suspects"] + test["suspects"] > 0

    # It is told and shown, and nothing of the run itself is another.
    assert f"{pool['suspects']:,} suspect" in ended.out
    page = Page((copied / "report.html").read_text(encoding="utf-8"))
    assert "Label audit" in page.text
    assert all(one["why"] in page.text for one in suspects[:5])
    drawn = {path for path in before if path.suffix in (".html", ".png", ".lock")}
    assert all(path.read_bytes() == before[path] for path in set(before) - drawn)
    assert missing_and_unknown(copied) == ([], [])


def test_a_second_audit_finds_the_same(copied: Path, tutelage):
    assert tutelage("audit", str(copied)).code == 0
    first = [(copied / name).read_bytes() for name in ("audit.json", "audit.jsonl")]
    assert tutelage("audit", str(copied)).code == 0
    assert [(copied / name).read_bytes() for name in ("audit.json", "audit.jsonl")] == first


def test_another_data_set_in_its_place_is_noted_and_gives_no_gold(
    copied: Path, small_data: Path, tmp_path: Path, tutelage
):
    config = (copied / "config.yaml").read_text(encoding="utf-8")
    (copied / "config.yaml").write_text(config.replace("path: ", "path: nowhere"), "utf-8")
    ended = tutelage("audit", str(copied))
    assert ended.code == 0, ended.err
    audit = read(copied, "audit.json")
    assert "could not be read again" in audit["notes"][0]
    assert [one["split"] for one in audit["splits"]] == ["pool", "test"]
    assert sum(one["known"] for one in audit["classes"]) == 0
    assert "wrong by gold" not in ended.out


def test_a_run_that_is_not_finished_is_refused(copied: Path, tutelage):
    status = read(copied, "status.json")
    (copied / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    ended = tutelage("audit", str(copied))
    assert ended.code == 7
    assert "is not finished (its state is interrupted)" in ended.err


def test_files_that_do_not_fit_together_are_one_sentence(kind: TaskSetup, copied: Path, tutelage):
    path = copied / "pool" / "rows.jsonl"
    first, *rest = lines(path)
    first["target"] = '[[70,99,"PER"]]' if kind.task == "ner" else "another"
    path.write_text("".join(json.dumps(one) + "\n" for one in (first, *rest)), encoding="utf-8")
    ended = tutelage("audit", str(copied))
    assert ended.code in (3, 7)
    assert ended.err.startswith("tutelage: ")
    assert not (copied / "audit.jsonl").exists()
