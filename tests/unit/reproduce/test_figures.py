"""The figure of a paper's table, from its verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tutelage.errors import RunError
from tutelage.reproduce.figures import draw_table


def record(folder: Path, arm: str) -> Path:
    folder.mkdir(parents=True)
    run = {"arm": arm, "title": arm.upper(), "metric": "macro_f1"}
    runs = [
        {**run, "data": data, "seed": seed, "score": 0.5 + seed / 10}
        for data in ("snips", "wikigold")
        for seed in (1, 2)
    ]
    (folder / "verdicts.json").write_text(json.dumps({"scale": "cpu", "runs": runs}))
    return folder


def test_the_newest_verdicts_are_drawn(tmp_path: Path) -> None:
    record(tmp_path / "1", "static")
    newest = record(tmp_path / "2", "evokd")
    path = draw_table("evokd", "main", tmp_path)
    assert path == newest / "figures" / "evokd_main.png"
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_what_cannot_be_drawn_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"has no verdicts.json. Run `tutelage reproduce evokd` first"
    ):
        draw_table("evokd", "main", tmp_path)
    record(tmp_path / "1", "static")
    with pytest.raises(RunError, match="has no run of evokd's ablations table"):
        draw_table("evokd", "ablations", tmp_path)


def test_an_arm_s_runs_for_another_table_are_left_out(tmp_path: Path) -> None:
    folder = record(tmp_path / "1", "llkd")
    verdicts = json.loads((folder / "verdicts.json").read_text())
    elsewhere = {**verdicts, "runs": [run for run in verdicts["runs"] if run["data"] != "snips"]}
    (folder / "verdicts.json").write_text(json.dumps(elsewhere))
    with pytest.raises(RunError, match="has no run of llkd's ablations table"):
        draw_table("llkd", "ablations", tmp_path)
