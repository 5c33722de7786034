"""Whole runs on the real engine through the command line, and repeats from the cache alone."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tests.helpers.tiny import SAMPLE, accuracies, lines, skip_report

from tutelage.cli import main
from tutelage.config.folder import conf_directory

SMALL_ENGINE = ("teacher.max_model_len=1024", "teacher.kv_cache_gb=1")


def snips(folder: Path) -> list[str]:
    """Overrides: a part of SNIPS, with the labels of conf/data/snips.yaml."""
    labels = OmegaConf.load(conf_directory() / "data" / "snips.yaml").labels
    listed = ",".join(
        f'{label.word}:{{word:{label.word},description:"{label.description}"}}'
        for label in labels.values()
    )
    return ["data=files", f"data.path={folder}", f"data.labels={{{listed}}}"]


def wikigold(folder: Path) -> list[str]:
    """Overrides: a part of the shipped sample, with the labels of conf/data/wikigold.yaml."""
    folder.mkdir()
    for split, source, count in (
        ("train", "pool", 60),
        ("validation", "dev", 12),
        ("test", "test", 24),
    ):
        given = (
            (SAMPLE.parent / "wikigold" / f"{source}.jsonl")
            .read_text(encoding="utf-8")
            .splitlines(keepends=True)
        )
        (folder / f"{split}.jsonl").write_text("".join(given[:count]), encoding="utf-8")
    labels = OmegaConf.load(conf_directory() / "data" / "wikigold.yaml").labels
    listed = ",".join(
        f'{name}:{{word:{label.word},description:"{label.description}"}}'
        for name, label in labels.items()
    )
    return ["task=ner", "data=files", f"data.path={folder}", f"data.labels={{{listed}}}"]


def train(folder: Path, *overrides: str) -> dict[str, Any]:
    """Runs ``tutelage train`` in ``folder`` successfully; returns its result."""
    with pytest.raises(SystemExit) as ending:
        main(["train", f"hydra.run.dir='{folder}'", *overrides])
    assert not ending.value.code
    return dict(json.loads((folder / "result.json").read_text(encoding="utf-8")))


def paid_for(folder: Path, result: dict[str, Any]) -> None:
    """Asserts that the engine answered every request, and that log and report exist."""
    assert result["tokens"]["spent"] == result["tokens"]["billed"] > 0
    assert result["requests"]["failed"] == 0
    assert (folder / "report.html").is_file()
    assert (folder / "teacher" / "engine.log").is_file()
    replies = [line["reply"] for line in lines(folder / "teacher" / "transcript.jsonl")]
    assert all(reply["prompt_tokens"] > 0 and not reply["error"] for reply in replies)


def same_from_the_cache(
    first: Path, second: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asserts that a repeat in ``second`` equals ``first``, without an engine or spent tokens."""

    def started(*given: object, **settings: object) -> None:
        raise AssertionError("the repeat started an engine")

    monkeypatch.setattr("tutelage.teacher.engines.vllm.EngineProcess", started)
    monkeypatch.setattr("tutelage.report.html.write_report", skip_report)
    began = time.monotonic()
    again, wanted = (
        train(second, *overrides),
        json.loads((first / "result.json").read_text(encoding="utf-8")),
    )
    print(f"first {wanted['seconds']}, second {time.monotonic() - began:.1f} s in all")
    assert again["tokens"]["spent"] == 0
    assert again["tokens"]["billed"] == wanted["tokens"]["billed"]
    assert again["pool_hash"] == wanted["pool_hash"]
    assert accuracies(second) == accuracies(first)
    assert not (second / "teacher" / "engine.log").exists()
