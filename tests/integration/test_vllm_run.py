"""The main job in small: EvoKD on a part of SNIPS, the embedded teacher in vLLM, the embedded student."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tests.real_runs import SMALL_ENGINE, paid_for, same_from_the_cache, train

from tutelage.compose import conf_directory
from tutelage.teacher.shared_engine import ADDRESS, EngineHost

pytestmark = pytest.mark.vllm


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
        *SMALL_ENGINE,
        f"teacher.cache={tmp_path / 'replies.sqlite'}",
        "method.rounds=1",
        "method.n_hard=7",
        "method.n_easy=7",
        "method.training.start_epochs=4",
        "method.training.round_epochs=1",
        "method.training.final_epochs=1",
    ]
    first = train(tmp_path / "first", *words)
    paid_for(tmp_path / "first", first)
    assert first["rows"]["accepted"] > 7
    assert first["rows"]["accepted"] + first["rows"]["rejected"] == 7 + 14
    assert first["after"]["accuracy"] > 0.3, "a pretrained student that saw a text of each class does better than chance (0.14)"
    same_from_the_cache(tmp_path / "first", tmp_path / "second", words, monkeypatch)


def test_llkd_labels_a_pool_for_both_tasks_on_one_shared_engine(
    small_data: Path, ner_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Two runs are clients of one host, which loads the model once; on demand, and all at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with EngineHost(tmp_path / "engine.log") as host:
        monkeypatch.setenv(ADDRESS, host.address)
        short = [
            "method.training.start_epochs=2",
            "method.training.round_epochs=1",
            f"teacher.cache={tmp_path / 'replies.sqlite'}",
            *SMALL_ENGINE,
        ]
        on_demand = ["method=llkd_on_demand", "method.first=21", "method.rounds=1", "method.n_texts=14", "selector@method.acquire=badge"]
        first = train(tmp_path / "first", *snips(small_data), *on_demand, *short)
        (engine,) = host.pids
        types = "{PER:{word:person,description:people},LOC:{word:place,description:places},ORG:{word:organization,description:companies}}"
        ner = [
            "task=ner",
            "data=files",
            f"data.path={ner_data}",
            f"data.labels={types}",
            "method=llkd",
            "selector.refill=true",
            "selector=llkd",
        ]
        second = train(tmp_path / "second", *ner, *short)
        assert host.pids == (engine,), "the model was loaded once"
    for result, texts in ((first, 35), (second, 24)):
        assert result["rows"] == {"accepted": texts, "rejected": 0}
        assert result["requests"]["failed"] == 0
        assert result["tokens"]["spent"] == result["tokens"]["billed"] > 0
    assert first["share_of_data"]["pool"] == 84
    assert 0 < first["share_of_data"]["unique"] <= 35 / 84
    assert not (tmp_path / "first" / "teacher" / "engine.log").exists(), "its own engine was never started"
