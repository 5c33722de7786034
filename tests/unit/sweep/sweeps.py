"""Folders of sweeps, as their jobs leave them, from scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tutelage.sweep.record import JobRecord, SweepFolder
from tutelage.sweep.results import SweepResults, read_sweep

METRICS = [{"key": "accuracy", "title": "accuracy"}, {"key": "macro_f1", "title": "macro-F1"}]


def build_sweep(
    base: Path,
    arms: Mapping[str, Sequence[float | None]],
    data: Sequence[str] = ("snips",),
    tokens: int = 200,
) -> Path:
    """A sweep's folder with the scores of each arm by seed, per data set; None is a failed job."""
    sweep = SweepFolder(base / "mine" / "2026-01-01_00-00-00")
    number = 0
    for name in data:
        for arm, scores in arms.items():
            for seed, score in enumerate(scores, 1):
                overrides = (f"data={name}", f"method={arm}", "budget.tokens=200", f"seed={seed}")
                failed = score is None
                sweep.write(
                    JobRecord(
                        number,
                        overrides,
                        "h",
                        str(number),
                        "failed" if failed else "done",
                        ended=1.0,
                        error="<b>it</b> went wrong" * failed,
                    )
                )
                if score is not None:
                    _write_run(sweep.path / str(number), name, arm, seed, score, tokens)
                number += 1
    return sweep.path


def _write_run(folder: Path, data: str, arm: str, seed: int, score: float, tokens: int) -> None:
    folder.mkdir()
    after = {"accuracy": score, "macro_f1": score / 2}
    result = {"metrics": METRICS, "after": after, "tokens": {"billed": tokens}, "seed": seed}
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "manifest.json").write_text(json.dumps({"data": {"name": data, "pool": 100}}))
    # As a data set's files set them: its name, and a cue that the prompt takes over.
    config = {
        "data": {"name": data, "cue": data.title()},
        "prompt": {"cue": data.title()},
        "method": {"name": arm},
        "seed": seed,
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    lines = [
        {
            "round": round,
            "billed_tokens": tokens * round // 2,
            "accepted": 10 * round,
            "dev": {"accuracy": dev, "macro_f1": dev / 2},
        }
        for round, dev in enumerate((0.2, score / 2, score))
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def give_shares(
    run: Path, unique: float, selections: float, used: Sequence[int | None] = ()
) -> None:
    """Makes a run draw from a pool of 50.

    Args:
        used: Rows used so far, per line of selection.jsonl; one line for each of the three rounds.
    """
    result = json.loads((run / "result.json").read_text())
    result["share_of_data"] = {"unique": unique, "selections": selections, "pool": 50}
    (run / "result.json").write_text(json.dumps(result))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (run / "metrics.jsonl").write_text(
        "".join(json.dumps({**line, "epoch": 3 * line["round"]}) + "\n" for line in lines)
    )
    steps = [
        {"epoch": 3 * round, **({} if rows is None else {"unique_rows": rows})}
        for round, rows in enumerate(used)
    ]
    (run / "selection.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    # Two gold shots, and ten texts of the pool a round, of which one is labelled twice.
    gold = [{"source": "gold", "round": 0, "accepted": True, "parents": []}] * 2
    pool = [
        {"source": "pool", "round": 1 + number // 10, "accepted": True, "parents": [str(number)]}
        for number in range(20)
    ]
    (run / "pool").mkdir()
    (run / "pool" / "rows.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in (*gold, *pool, pool[3]))
    )


def results_of(
    base: Path, arms: Mapping[str, Sequence[float | None]], data: Sequence[str] = ("snips",)
) -> SweepResults:
    """The same, read."""
    return read_sweep(build_sweep(base, arms, data))
