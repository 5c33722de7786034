"""The main job in small: EvoKD on a part of SNIPS, the embedded teacher in vLLM, the embedded student."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tests.tiny import accuracies, lines, undrawn

from tutelage.cli import main
from tutelage.compose import conf_directory

pytestmark = pytest.mark.vllm


def train(folder: Path, *words: str) -> int:
    with pytest.raises(SystemExit) as ending:
        main(["train", f"hydra.run.dir='{folder}'", *words])
    return int(ending.value.code or 0)


def snips(folder: Path) -> list[str]:
    """A part of SNIPS, with the words and descriptions of conf/data/snips.yaml."""
    labels = OmegaConf.load(conf_directory() / "data" / "snips.yaml").labels
    listed = ",".join(f'{label.word}:{{word:{label.word},description:"{label.description}"}}' for label in labels.values())
    return ["data=files", f"data.path={folder}", f"data.labels={{{listed}}}"]


def test_the_main_job_runs_on_real_parts_and_again_from_the_cache(small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    words = [
        *snips(small_data),
        f"teacher.cache={tmp_path / 'replies.sqlite'}",
        "teacher.max_model_len=1024",
        "teacher.kv_cache_gb=1",
        "method.rounds=1",
        "method.n_hard=7",
        "method.n_easy=7",
        "method.training.start_epochs=4",
        "method.training.round_epochs=1",
        "method.training.final_epochs=1",
    ]
    assert train(tmp_path / "first", *words) == 0
    first = json.loads((tmp_path / "first" / "result.json").read_text())
    assert first["tokens"]["spent"] == first["tokens"]["billed"] > 0
    assert first["requests"]["failed"] == 0
    assert first["rows"]["accepted"] > 7
    assert first["rows"]["accepted"] + first["rows"]["rejected"] == 7 + 14
    assert first["after"]["accuracy"] > 0.3, "a pretrained student that saw a text of each class does better than chance (0.14)"
    assert (tmp_path / "first" / "report.html").is_file()
    assert (tmp_path / "first" / "teacher" / "engine.log").is_file()
    replies = [line["reply"] for line in lines(tmp_path / "first" / "teacher" / "transcript.jsonl")]
    assert all(reply["prompt_tokens"] > 0 and not reply["error"] for reply in replies)

    # From the cache no engine is needed, so a second one must not even be started.
    def started(*given: object, **settings: object) -> None:
        raise AssertionError("the engine was started")

    monkeypatch.setattr("tutelage.teacher.vllm_process.EngineProcess", started)
    monkeypatch.setattr("tutelage.report.html.write_report", undrawn)
    began = time.monotonic()
    assert train(tmp_path / "second", *words) == 0
    print(f"first {first['seconds']}, second {time.monotonic() - began:.1f} s in all")
    second = json.loads((tmp_path / "second" / "result.json").read_text())
    assert second["tokens"]["spent"] == 0
    assert second["tokens"]["billed"] == first["tokens"]["billed"]
    assert second["pool_hash"] == first["pool_hash"]
    assert accuracies(tmp_path / "second") == accuracies(tmp_path / "first")
    assert not (tmp_path / "second" / "teacher" / "engine.log").exists()
