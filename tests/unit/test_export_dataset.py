"""Exports of the pool: every row with its provenance, and no private text unless told to."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.ner_folders import build_ner_run
from tests.helpers.run_folders import build_run, write_json, write_jsonl

from tutelage.errors import RunError
from tutelage.export_dataset import export_dataset
from tutelage.records import Row
from tutelage.runs.read import read_run


def read(folder: Path, cache: Path) -> dict[str, list[dict[str, Any]]]:
    from datasets import load_dataset

    found = load_dataset(str(folder), cache_dir=str(cache))
    return {name: list(rows) for name, rows in found.items()}


@pytest.mark.parametrize("build", [build_run, build_ner_run])
def test_datasets_loads_each_row_with_its_provenance(build: Any, tmp_path: Path) -> None:
    run = build(tmp_path / "run")
    found, folder = export_dataset(run, with_pool_texts=True)
    assert folder == run / "export" / "dataset"
    splits = read(folder, tmp_path / "cache")
    rows = read_run(run).rows
    assert (found.accepted, found.rejected) == tuple(map(len, splits.values()))
    known = {row.id: row for row in rows}
    assert len(known) == len(rows) == found.accepted + found.rejected
    for name, split in splits.items():
        for one in split:
            row = known[one["id"]]
            assert one["accepted"] is (name == "train") is row.accepted
            assert (one["source"], one["round"]) == (row.source, row.round)
            assert one["parents"] == list(row.parents)
            if build is build_run:
                assert (one["text"], one["label"]) == (row.text, row.target)
            else:
                assert " ".join(one["tokens"]) == row.text
                spans = [[span["start"], span["end"], span["type"]] for span in one["entities"]]
                assert spans == json.loads(row.target)
            if row.distribution or row.entity_confidence:
                assert one["teacher_confidence"] == pytest.approx(row.confidence, abs=1e-6)
            assert one["labelled_by"] == ("data set" if row.source == "gold" else "teacher")


def pool(run: Path, rows: list[Row]) -> None:
    write_jsonl(run / "pool" / "rows.jsonl", map(asdict, rows))


def test_texts_of_the_data_set_stay_unless_told(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", labels=("a", "b"))
    rows = [
        Row("1", "secret gold", "a", "gold", 0, True),
        Row("2", "secret pool", "a", "pool", 1, True),
        Row("3", "secret variant", "a", "init", 0, True),
        Row("4", "written freely", "b", "easy", 1, True),
        Row("5", "Secret  POOL", "b", "hard", 1, True),
        Row("6", "secret test", "b", "hard", 1, False, "near duplicate of test"),
        Row("7", "secret names", "b", "hard", 1, True, detail={"mode": "entities"}),
        Row("8", "a class", "b", "class_name", 0, True),
    ]
    pool(run, rows)
    found, folder = export_dataset(run, tmp_path / "made")
    assert found.without_text == 6
    told = [one for split in read(folder, tmp_path / "cache").values() for one in split]
    assert {one["id"] for one in told if one["text"] is not None} == {"4", "8"}
    for path in folder.rglob("*"):
        assert not path.is_file() or b"secret" not in path.read_bytes().lower()
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "**6 of the 8 rows have no text here.**" in card
    assert "come from a large language model, not from people" in card
    # Whoever rewrites texts of the pool writes none freely.
    (run / "config.yaml").write_text("method: {content: pool}\n", encoding="utf-8")
    assert export_dataset(run, tmp_path / "made")[0].without_text == 7
    found, folder = export_dataset(run, tmp_path / "made", with_pool_texts=True)
    assert found.without_text == 0
    assert "**also those of the data set**" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_run_without_rows_or_end_has_no_data_set(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run")
    pool(run, [])
    with pytest.raises(RunError, match=r"The pool of the run in .* is empty"):
        export_dataset(run)
    write_json(run / "status.json", {"state": "running"})
    with pytest.raises(RunError, match=r"is not finished"):
        export_dataset(run)


def test_the_verb_says_what_it_left_out(tmp_path: Path, tutelage: Any) -> None:
    run = build_run(tmp_path / "run")
    ended = tutelage("export", str(run), "--format", "dataset", "--license", "cc-by-4.0")
    assert ended.code == 0, ended.err
    assert "3 rows are without their text" in ended.out
    assert "license: cc-by-4.0" in (run / "export" / "dataset" / "README.md").read_text()
    ended = tutelage("export", str(run), "--format", "hf", "--with-pool-texts")
    assert (ended.code, "is for --format dataset" in ended.err) == (2, True)
