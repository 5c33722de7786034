"""A small EvoKD run on a part of SNIPS, with the embedded teacher in vLLM and student."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers.real_runs import SMALL_ENGINE, paid_for, same_from_the_cache, snips, train
from tests.helpers.tiny import skip_report

from tutelage.teacher.engines.shared import ADDRESS, EngineHost

pytestmark = pytest.mark.vllm


def test_the_main_job_runs_on_real_parts_and_again_from_the_cache(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    overrides = [
        *snips(small_data),
        *SMALL_ENGINE,
        f"teacher.cache={tmp_path / 'replies.sqlite'}",
        "method.rounds=1",
        "method.n_hard=7",
        "method.n_easy=7",
        "training.start_epochs=4",
        "training.round_epochs=1",
        "training.final_epochs=1",
        # The engine's memory is the student's while it trains.
        "teacher.lifecycle=restart",
        "+callbacks.watch._target_=tests.helpers.engine_watch.EngineWatch",
        f"+callbacks.watch.path={tmp_path / 'engine.jsonl'}",
    ]
    first = train(tmp_path / "first", *overrides)
    paid_for(tmp_path / "first", first)
    notes = [json.loads(line) for line in (tmp_path / "engine.jsonl").read_text().splitlines()]
    assert {size for when, size in notes if when == "training"} == {0}
    assert max(size for when, size in notes if when == "grown") > 2**29
    assert first["rows"]["accepted"] > 7
    assert first["rows"]["accepted"] + first["rows"]["rejected"] == 7 + 14
    assert first["after"]["accuracy"] > 0.3, (
        "a pretrained student that saw a text of each class does better than chance (0.14)"
    )
    same_from_the_cache(tmp_path / "first", tmp_path / "second", overrides, monkeypatch)


def test_mistakes_on_pool_texts_steer_what_a_real_teacher_writes(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    overrides = [
        "experiment=evokd_pool",
        *snips(small_data),
        *SMALL_ENGINE,
        f"teacher.cache={tmp_path / 'replies.sqlite'}",
        "method={rounds:2,n_pool:14,n_hard:7,n_easy:4,mistake_margin:0,demonstrations:2}",
        "accept=scored",
        "training={start_epochs:4,round_epochs:1,final_epochs:1}",
    ]
    first = train(tmp_path / "first", *overrides)
    paid_for(tmp_path / "first", first)
    rows = [
        json.loads(line)
        for line in (tmp_path / "first" / "pool" / "rows.jsonl").read_text().splitlines()
    ]
    for round in (1, 2):
        labelled = {row["id"] for row in rows if (row["source"], row["round"]) == ("pool", round)}
        text = (tmp_path / "first" / "feedback" / f"round-{round:03d}.jsonl").read_text()
        missed = [json.loads(line)["id"] for line in text.splitlines()]
        assert len(labelled) == 14
        assert missed
        assert set(missed) <= labelled
        written = [row for row in rows if (row["source"], row["round"]) == ("hard", round)]
        assert any(set(row["parents"]) & set(missed) for row in written)
    same_from_the_cache(tmp_path / "first", tmp_path / "second", overrides, monkeypatch)


def test_the_paper_s_recipe_runs_end_to_end(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """+Init, prediction before training, scored labels and a review, with few texts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    overrides = [
        "experiment=evokd_paper",
        *snips(small_data),
        *SMALL_ENGINE,
        f"teacher.cache={tmp_path / 'replies.sqlite'}",
        "method={rounds:2,n_init:7,n_hard:4,n_easy:4}",
        "training={start_epochs:4,round_epochs:2,final_epochs:1,review_every:2}",
    ]
    first = train(tmp_path / "first", *overrides)
    paid_for(tmp_path / "first", first)
    lines = (tmp_path / "first" / "pool" / "rows.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["source"] for row in rows} == {"gold", "init", "hard", "easy"}
    for row in rows:
        if row["accepted"] and row["source"] != "gold":
            labels, own = row["distribution"]["labels"], row["distribution"]["probabilities"]
            assert row["target"] == labels[own.index(max(own))], "the scored label stands"
    growth = [
        json.loads((tmp_path / "first" / "growth" / f"round-00{round}.json").read_text())
        for round in (1, 2)
    ]
    assert all(one["prompt"] for one in growth)


def test_llkd_labels_a_pool_for_both_tasks_on_one_shared_engine(
    small_data: Path, ner_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Two runs share one host, which loads the model once: pool on demand, and whole pool."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr("tutelage.report.html.write_report", skip_report)
    with EngineHost(tmp_path / "engine.log") as host:
        monkeypatch.setenv(ADDRESS, host.address)
        short = [
            "training.start_epochs=2",
            "training.round_epochs=1",
            f"teacher.cache={tmp_path / 'replies.sqlite'}",
            *SMALL_ENGINE,
        ]
        on_demand = [
            "method=llkd_on_demand",
            "method.first=21",
            "method.rounds=1",
            "method.n_texts=14",
            "acquire=badge",
        ]
        first = train(tmp_path / "first", *snips(small_data), *on_demand, *short)
        (engine,) = host.pids
        types = (
            "{PER:{word:person,description:people},LOC:{word:place,description:places},"
            "ORG:{word:organization,description:companies}}"
        )
        ner = [
            "task=ner",
            "data=files",
            f"data.path={ner_data}",
            f"data.labels={types}",
            "method=llkd",
            "select.refill=true",
            "select=llkd",
        ]
        second = train(tmp_path / "second", *ner, *short)
        assert host.pids == (engine,), "the model was loaded once"
    for result, texts in ((first, 35), (second, 24)):
        assert result["rows"] == {"accepted": texts, "rejected": 0}
        assert result["requests"]["failed"] == 0
        assert result["tokens"]["spent"] == result["tokens"]["billed"] > 0
    assert first["share_of_data"]["pool"] == 84
    assert 0 < first["share_of_data"]["unique"] <= 35 / 84
    assert not (tmp_path / "first" / "teacher" / "engine.log").exists(), (
        "its own engine was never started"
    )


def test_a_sweep_loads_its_teacher_once(small_data: Path, student: Path, tmp_path: Path):
    overrides = [
        "data=files",
        f"data.path={small_data}",
        f"student.model={student}",
        "student.max_length=32",
        "trainer.accelerator=cpu",
        "threads=1",
    ]
    overrides += [
        "method=full_pool",
        "method.pool_size=6",
        "training.start_epochs=1",
        "teacher.max_model_len=512",
        "teacher.kv_cache_gb=1",
    ]
    overrides += [f"teacher.cache={tmp_path / 'replies.sqlite'}", "sweep.name=mine", "seed=1,2"]
    environment = {name: value for name, value in os.environ.items() if name != "TUTELAGE_ENGINE"}
    command = [sys.executable, "-m", "tutelage.cli", "train", "-m", *overrides]
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (folder,) = (tmp_path / "multirun_sweeps" / "mine").iterdir()
    results = [json.loads((folder / name / "result.json").read_text()) for name in ("0", "1")]
    assert all(
        result["requests"]["all"] == 6 and result["requests"]["failed"] == 0 for result in results
    )
    assert sum(result["tokens"]["spent"] for result in results) > 0
    assert (folder / "engine.log").read_text().count(
        "Loading safetensors checkpoint shards:   0% Completed"
    ) == 1
    assert not list(folder.glob("*/teacher/engine.log"))
