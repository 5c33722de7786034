"""Folders of sweeps, as their jobs leave them, from scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tutelage.sweep.record import JobRecord, SweepFolder
from tutelage.sweep.results import SweepResults, read_sweep

METRICS = [{"key": "accuracy", "title": "accuracy"}, {"key": "macro_f1", "title": "macro-F1"}]


def build_sweep(base: Path, arms: Mapping[str, Sequence[float | None]], data: Sequence[str] = ("snips",), tokens: int = 200) -> Path:
    """A sweep's folder: for each data set the scores of each arm by seed; None is a job that failed."""
    sweep = SweepFolder(base / "mine" / "2026-01-01_00-00-00")
    number = 0
    for name in data:
        for arm, scores in arms.items():
            for seed, score in enumerate(scores, 1):
                words = (f"data={name}", f"method={arm}", "budget.tokens=200", f"seed={seed}")
                failed = score is None
                sweep.write(
                    JobRecord(
                        number, words, "h", str(number), "failed" if failed else "done", ended=1.0, error="<b>it</b> went wrong" * failed
                    )
                )
                if score is not None:
                    _write_run(sweep.path / str(number), name, seed, score, tokens)
                number += 1
    return sweep.path


def _write_run(folder: Path, data: str, seed: int, score: float, tokens: int) -> None:
    folder.mkdir()
    after = {"accuracy": score, "macro_f1": score / 2}
    result = {"metrics": METRICS, "after": after, "tokens": {"billed": tokens}, "seed": seed}
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "manifest.json").write_text(json.dumps({"data": {"name": data, "pool": 100}}))
    lines = [
        {"round": round, "billed_tokens": tokens * round // 2, "accepted": 10 * round, "dev": {"accuracy": dev, "macro_f1": dev / 2}}
        for round, dev in enumerate((0.2, score / 2, score))
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def results_of(base: Path, arms: Mapping[str, Sequence[float | None]], data: Sequence[str] = ("snips",)) -> SweepResults:
    """The same, read."""
    return read_sweep(build_sweep(base, arms, data))
