"""`tutelage label --engine ray` with a real engine in each replica."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.unit.label.test_command import write_heap

from tutelage.data.unlabelled import Source
from tutelage.label.command import Job, Sizes, label
from tutelage.label.on_ray import Replicas, label_on_ray

pytestmark = pytest.mark.vllm


def test_two_engines_on_ray_label_as_one_process(
    embedded_teacher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_worker_niceness", "0")
    # On a node the automatic cache is found by this name, and nothing is in it.
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    heap = write_heap(tmp_path / "heap.jsonl", 60)
    overrides = ("data=snips", f"teacher.model={embedded_teacher}", "teacher.kv_cache_gb=0.25")
    sizes = Sizes(chunk=20, calibrate_on=20)
    alone = (*overrides, f"teacher.cache={tmp_path / 'one.sqlite'}")
    label(alone, Source(heap), tmp_path / "one", sizes)
    label_on_ray(Job(overrides, Source(heap), tmp_path / "ray", sizes), Replicas(2))
    rows = [
        [
            row
            for file in sorted((tmp_path / name).glob("data/part-*.parquet"))
            for row in pq.read_table(file).to_pylist()
        ]
        for name in ("one", "ray")
    ]
    assert len(rows[0]) == len(rows[1]) == 60
    for single, replica in zip(*rows, strict=True):
        # Batches differ, and so do the last digits.
        assert replica["confidence"] == pytest.approx(single["confidence"], abs=2e-3)
        assert {**replica, "confidence": 0, "probabilities": 0} == {
            **single,
            "confidence": 0,
            "probabilities": 0,
        }
    records = [json.loads((tmp_path / name / "label.json").read_text()) for name in ("one", "ray")]
    assert [record["complete"] for record in records] == [True, True]
    assert records[0]["tokens"]["billed"] == records[1]["tokens"]["billed"]
    assert list((tmp_path / "ray").rglob("label.log"))
