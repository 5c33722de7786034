"""Claim: on named entities EvoKD and LLM-DA lift the shots-only student at equal billed tokens; by how much, on three data sets.

    python benchmarks/ner_arms.py --data ../data [--budget 100000] [--seeds 1 2 3] [--shots 1 5] [--sets wikigold conll04 wnut17] [-- OVERRIDES…]

``--data`` holds conll2004/ and wnut17/, each with train, validation and test.jsonl; Wikigold is in the package. Arms: the shots alone
(with the teacher alone and the supervised ceiling measured beside it), static generation, EvoKD and LLM-DA, each until its next round would
pass the budget. Runs that are in the folder already are read, not run again; ``--only`` names the arms to run now. Overrides are of every run,
as ``teacher.model=…``; give them a folder of their own.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from evokd_gain import interval, result_of
from scipy import stats

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
    return [f"experiment=ner_{dataset}", f"data.path={data / {'conll04': 'conll2004'}.get(dataset, dataset)}"]


def run(dataset: str, shots: int, arm: str, seed: int, options: argparse.Namespace) -> dict[str, Any] | None:
    """One run's result; None where it is not there and not asked for."""
    folder = options.folder / f"{dataset}-{shots}-{arm}-{seed}"
    if options.only and arm not in options.only and not (folder / "result.json").exists():
        return None
    overrides = overrides_of(dataset, options.data)
    if arm == "shots":
        # What stands beside the arms is measured with the first seed alone: it takes longer than all of them.
        beside = seed == 1
        overrides += ["evaluate.teacher=true"] if beside else []
        overrides += ["evaluate.supervised=true", "evaluate.supervised_epochs=3"] if beside and shots == 1 else []
    else:
        overrides = [*overrides, f"budget.tokens={options.budget}"]
    return result_of(folder, [*overrides, *_ARMS[arm], f"seed={seed}", f"shots={shots}", *options.overrides])


def line(name: str, values: list[float], floor: list[float], note: str) -> str:
    """One row of the table: mean and interval, by seed, and the paired gain over the shots."""
    by_seed = " ".join(f"{100 * value:5.1f}" for value in values)
    gain = ""
    if name != "shots only" and len(values) == len(floor) > 1:
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
        ceiling = [found[key]["supervised"] for key in found if key[0] == dataset and key[2] == "shots" and found[key]["supervised"]]
        for shots in options.shots:
            arms = {arm: [found[key] for key in found if key[:3] == (dataset, shots, arm)] for arm in _ARMS}
            print(f"\n{dataset}, {shots} shot{'s' if shots > 1 else ''} a type: strict entity F1 on test, %; gain over the shots, points")
            floor = [result["after"]["f1_strict"] for result in arms["shots"]]
            gold = ", ".join(str(result["gold_labels"]["shots"]) for result in arms["shots"])
            if floor:
                print(line("shots only", floor, floor, f"{gold} sentences"))
            for arm, title in (("static", "static generation"), ("evokd", "EvoKD"), ("llm_da", "LLM-DA")):
                if results := arms[arm]:
                    billed = statistics.mean(result["tokens"]["billed"] for result in results)
                    rounds = "/".join(str(result["rounds"]) for result in results)
                    rows = "/".join(str(result["rows"]["accepted"]) for result in results)
                    note = f"{billed:,.0f} billed tokens, rounds {rounds}, rows {rows}"
                    print(line(title, [result["after"]["f1_strict"] for result in results], floor, note))
            teachers = [result["teacher"] for result in arms["shots"] if result["teacher"]]
            if teachers:
                print(line("teacher alone", [one["f1_strict"] for one in teachers], floor, "labels every test text itself"))
            if ceiling:
                print(line("ceiling", [one["f1_strict"] for one in ceiling], [], f"{ceiling[0]['gold_labels']:,} gold sentences"))


if __name__ == "__main__":
    main()
