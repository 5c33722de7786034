"""Whole runs on the real engine, as the command line starts them, and once more from the cache alone."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.tiny import accuracies, lines, undrawn

from tutelage.cli import main

SMALL_ENGINE = ("teacher.max_model_len=1024", "teacher.kv_cache_gb=1")


def train(folder: Path, *words: str) -> dict[str, Any]:
    """One ``tutelage train`` in ``folder`` that ends well; its result."""
    with pytest.raises(SystemExit) as ending:
        main(["train", f"hydra.run.dir='{folder}'", *words])
    assert not ending.value.code
    return dict(json.loads((folder / "result.json").read_text(encoding="utf-8")))


def paid_for(folder: Path, result: dict[str, Any]) -> None:
    """The run asked the engine for everything, got every reply, and left its log and report."""
    assert result["tokens"]["spent"] == result["tokens"]["billed"] > 0
    assert result["requests"]["failed"] == 0
    assert (folder / "report.html").is_file()
    assert (folder / "teacher" / "engine.log").is_file()
    replies = [line["reply"] for line in lines(folder / "teacher" / "transcript.jsonl")]
    assert all(reply["prompt_tokens"] > 0 and not reply["error"] for reply in replies)


def same_from_the_cache(
    first: Path, second: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run of ``first`` once more in ``second``: alike, for nothing. No engine is needed, so one must not even be started."""

    def started(*given: object, **settings: object) -> None:
        raise AssertionError("the engine was started")

    monkeypatch.setattr("tutelage.teacher.engines.vllm.EngineProcess", started)
    monkeypatch.setattr("tutelage.report.html.write_report", undrawn)
    began = time.monotonic()
    again, wanted = (
        train(second, *words),
        json.loads((first / "result.json").read_text(encoding="utf-8")),
    )
    print(f"first {wanted['seconds']}, second {time.monotonic() - began:.1f} s in all")
    assert again["tokens"]["spent"] == 0
    assert again["tokens"]["billed"] == wanted["tokens"]["billed"]
    assert again["pool_hash"] == wanted["pool_hash"]
    assert accuracies(second) == accuracies(first)
    assert not (second / "teacher" / "engine.log").exists()
