"""The main job in small: EvoKD on a part of SNIPS, the embedded teacher in vLLM, the embedded student."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tests.real_runs import SMALL_ENGINE, paid_for, same_from_the_cache, train

from tutelage.compose import conf_directory

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
