"""Claim: on named entities EvoKD and LLM-DA lift the shots-only student at equal billed tokens; by how much, on three data sets.

    python benchmarks/ner_arms.py --data ../data [--budget 100000] [--seeds 1 2 3] [--shots 1 5] [--sets wikigold conll04 wnut17] [-- OVERRIDES…]

``--data`` holds conll2004/ and wnut17/, each with train, validation and test.jsonl; Wikigold is in the package. Arms: static generation,
EvoKD and LLM-DA, each until its next round would pass the budget. The shots alone are each arm's own student before its first round; a run
of ``method=shots`` measures the teacher alone, and with the first seed and one shot the supervised ceiling. Runs that are in the folder already are read,
not run again; ``--only`` names the arms to run now. Overrides are of every run, as ``teacher.model=…``; give them a folder of their own.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from evokd_gain import interval, result_of
from scipy import stats

from tutelage.sweep.statistics import compare

# Rounds of 28 texts, so that a small budget holds several: what 112 texts cost *verify* is a whole budget.
_GROWN = ["method.max_tokens=56", "method.rounds=60", "method.n_hard=14", "method.n_easy=14"]
_ARMS = {
    "shots": ["method=shots"],
    "static": [*_GROWN, "ablation=no_feedback"],
    "evokd": _GROWN,
    "llm_da": ["method=llm_da", "method.rounds=20"],
}


def overrides_of(dataset: str, data: Path) -> list[str]:
    """What chooses a data set."""
    if dataset == "wikigold":
        return ["task=ner", "data=wikigold"]
    return [
        f"experiment=ner_{dataset}",
        f"data.path={data / {'conll04': 'conll2004'}.get(dataset, dataset)}",
    ]


def run(
    dataset: str, shots: int, arm: str, seed: int, options: argparse.Namespace
) -> dict[str, Any] | None:
    """One run's result; None where it is not there and not asked for."""
    folder = options.folder / f"{dataset}-{shots}-{arm}-{seed}"
    known = (folder / "result.json").exists()
    if not known and options.only and arm not in options.only:
        return None
    overrides = overrides_of(dataset, options.data)
    if arm == "shots":
        overrides += ["evaluate.teacher=true"]
        # The ceiling takes longer than all the arms; and gold labels are the same whatever the seed and the shots.
        overrides += (
            ["evaluate.supervised=true", "evaluate.supervised_epochs=3"]
            if (shots, seed) == (1, 1)
            else []
        )
    else:
        overrides = [*overrides, f"budget.tokens={options.budget}"]
    return result_of(
        folder, [*overrides, *_ARMS[arm], f"seed={seed}", f"shots={shots}", *options.overrides]
    )


def line(name: str, values: list[float], floor: list[float], note: str) -> str:
    """One row of the table: mean and interval, by seed, and the paired gain over the shots."""
    by_seed = " ".join(f"{100 * value:5.1f}" for value in values)
    gain = ""
    if len(values) == len(floor) > 1:
        gains = [value - base for value, base in zip(values, floor, strict=True)]
        gain = f"{interval(gains)} (p {stats.ttest_1samp(gains, 0.0).pvalue:.3f})"
    return f"{name:18s} {interval(values):>14s}   {by_seed:18s} {gain:26s} {note}"


def main() -> None:
    """Run what is missing, then print a table for each data set and number of shots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--sets", nargs="+", default=["wikigold", "conll04", "wnut17"])
    parser.add_argument("--only", nargs="+", default=[], choices=list(_ARMS))
    parser.add_argument("--budget", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench-ner-arms"))
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    found = {}
    for seed in options.seeds:  # a whole table of one seed comes before the next seed
        for dataset in options.sets:
            for shots in options.shots:
                for arm in _ARMS:
                    if (result := run(dataset, shots, arm, seed, options)) is not None:
                        found[dataset, shots, arm, seed] = result
    for dataset in options.sets:
        ceiling = [
            found[key]["supervised"]
            for key in found
            if key[0] == dataset and key[2] == "shots" and found[key]["supervised"]
        ]
        for shots in options.shots:
            arms = {
                arm: {
                    key[3]: found[key] for key in sorted(found) if key[:3] == (dataset, shots, arm)
                }
                for arm in _ARMS
            }
            begun = {
                key[3]: result
                for key, result in sorted(found.items())
                if key[:2] == (dataset, shots)
            }
            if not begun:
                continue
            print(
                f"\n{dataset}, {shots} shot{'s' if shots > 1 else ''} a type: strict entity F1 on test, %; gain over the shots, points"
            )
            floor_of = {seed: result["before"]["f1_strict"] for seed, result in begun.items()}
            gold = ", ".join(str(result["gold_labels"]["shots"]) for result in begun.values())
            print(line("shots only", list(floor_of.values()), [], f"{gold} sentences"))
            for arm, title in (
                ("static", "static generation"),
                ("evokd", "EvoKD"),
                ("llm_da", "LLM-DA"),
            ):
                if by_seed := arms[arm]:
                    results, floor = list(by_seed.values()), [floor_of[seed] for seed in by_seed]
                    billed = statistics.mean(result["tokens"]["billed"] for result in results)
                    rounds = "/".join(str(result["rounds"]) for result in results)
                    rows = "/".join(str(result["rows"]["accepted"]) for result in results)
                    note = f"{billed:,.0f} billed tokens, rounds {rounds}, rows {rows}"
                    print(
                        line(
                            title, [result["after"]["f1_strict"] for result in results], floor, note
                        )
                    )
            teachers = [result["teacher"] for result in arms["shots"].values() if result["teacher"]]
            if teachers:
                print(
                    line(
                        "teacher alone",
                        [one["f1_strict"] for one in teachers],
                        [],
                        "labels every test text itself",
                    )
                )
            if ceiling:
                print(
                    line(
                        "ceiling",
                        [one["f1_strict"] for one in ceiling],
                        [],
                        f"{ceiling[0]['gold_labels']:,} gold sentences",
                    )
                )
    for shots in options.shots:
        _pairs(found, shots)


def _pairs(found: dict[tuple[str, int, str, int], dict[str, Any]], shots: int) -> None:
    """Arm less arm over every set and seed that both have."""
    blocks: dict[str, dict[tuple[str, int], float]] = {"shots only": {}}
    for (dataset, count, arm, seed), result in found.items():
        if count == shots and arm != "shots":
            blocks["shots only"][dataset, seed] = result["before"]["f1_strict"]
            blocks.setdefault(arm, {})[dataset, seed] = result["after"]["f1_strict"]
    print(
        f"\n{shots} shot{'s' if shots > 1 else ''} a type, over sets and seeds: points (95 % bootstrap interval), t-test in pairs"
    )
    for ours, other in (
        *((arm, "shots only") for arm in ("static", "evokd", "llm_da")),
        ("evokd", "static"),
        ("llm_da", "static"),
    ):
        one = compare(ours, blocks.get(ours, {}), other, blocks.get(other, {}))
        if one is not None:
            gain = f"{100 * one.gain:+5.1f} ({100 * one.low:+.1f} to {100 * one.high:+.1f})"
            print(f"  {ours} less {other:11s} {gain:26s} {one.count:2d} pairs   p {one.p:.3f}")


if __name__ == "__main__":
    main()
