"""Claim: from 1 shot a class EvoKD lifts the student by 12 points or more on SNIPS, and passes static generation at equal billed tokens.

    python benchmarks/evokd_gain.py [--seeds 1 2 3] [--budget 200000] [--folder outputs/bench-evokd] [-- overrides of every run]
    python benchmarks/evokd_gain.py --budget 300000 --folder outputs/bench-ner -- task=ner data=wikigold method.max_tokens=56 labelling.shown_words=0

For each seed: EvoKD, and the same with ``ablation=no_feedback`` (static generation), both until the next round would pass the budget of
billed tokens; shots only is where both begin. Runs that are in the folder already are read, not run again. Intervals are Student's t
over seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from scipy import stats

_CLASSIFICATION = [
    {"key": "accuracy", "title": "accuracy"},
    {"key": "macro_f1", "title": "macro-F1"},
]
"""The metrics of runs that were made before runs named them."""


def result_of(folder: Path, overrides: list[str]) -> dict[str, Any]:
    """The result of one run, which is done first where it is not there yet."""
    if not (folder / "result.json").exists():
        subprocess.run(
            [sys.executable, "-m", "tutelage.cli", "train", *overrides, f"hydra.run.dir={folder}"],
            check=True,
        )
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def interval(values: list[float]) -> str:
    """Mean and half of the 95 % interval, in points."""
    half = (
        stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
        if len(values) > 1
        else float("nan")
    )
    return f"{100 * statistics.mean(values):6.1f} ± {100 * half:4.1f}"


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--budget", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench-evokd"))
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    evokd, static = [], []
    for seed in options.seeds:
        overrides = [
            f"seed={seed}",
            "method.rounds=40",
            f"budget.tokens={options.budget}",
            *options.overrides,
        ]
        evokd.append(result_of(options.folder / f"evokd-{seed}", overrides))
        static.append(
            result_of(options.folder / f"static-{seed}", [*overrides, "ablation=no_feedback"])
        )
    arms = {
        "shots only": ([result["before"] for result in evokd], None),
        "static generation": ([result["after"] for result in static], static),
        "EvoKD": ([result["after"] for result in evokd], evokd),
    }
    first, second = evokd[0].get("metrics", _CLASSIFICATION)
    print(
        f"{'arm':20s} {first['title'] + ', %':>16s} {second['title'] + ', %':>16s}   by seed; billed tokens; rows kept"
    )
    for name, (scores, results) in arms.items():
        accuracy, f1 = (
            [score[first["key"]] for score in scores],
            [score[second["key"]] for score in scores],
        )
        billed = (
            f"{statistics.mean(result['tokens']['billed'] for result in results):,.0f}"
            if results
            else "0"
        )
        kept = (
            ", ".join(str(result["rows"]["accepted"]) for result in results)
            if results
            else str(evokd[0]["gold_labels"]["shots"])
        )
        by_seed = " ".join(f"{100 * value:.1f}" for value in accuracy)
        print(
            f"{name:20s} {interval(accuracy):>16s} {interval(f1):>16s}   {by_seed}; {billed}; {kept}"
        )
    for name, other in (
        ("over shots only", arms["shots only"][0]),
        ("over static", arms["static generation"][0]),
    ):
        gains = [
            after[first["key"]] - base[first["key"]]
            for after, base in zip(arms["EvoKD"][0], other, strict=True)
        ]
        p = stats.ttest_1samp(gains, 0.0).pvalue if len(gains) > 1 else float("nan")
        print(f"EvoKD {name:16s} {interval(gains)} points, paired over seeds (t-test p = {p:.3f})")


if __name__ == "__main__":
    main()
