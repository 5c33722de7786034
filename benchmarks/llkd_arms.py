"""Claim: LLKD beats the best baseline with under 25 % of the pool. On six sets, every arm on 1,000 pool texts and the same training steps.

    python benchmarks/llkd_arms.py --data ../data [--sets snips trec6 sst2 ag_news emotion csabstruct] [--seeds 1 2 3] [--only ARM …] [-- OVERRIDES…]
    python benchmarks/llkd_arms.py --data ../data --choices [--sets snips trec6]

``--data`` holds trec6/, sst2/, ag_news/, emotion/ and csabstruct/, each with train, validation and test.jsonl; SNIPS is in the package. Of each
2,000, 200 and at most 500 rows are used, drawn with seed 13. Two shots a class are the teacher's demonstrations; only the floor learns from
them, in the 40 passes of ``method=shots``. Every other arm makes as many optimizer steps as three passes over 1,000 texts (``llkd`` makes three
passes, of which few rows count; ``llkd_full_steps`` refills its batches and makes all the steps; ``llkd_on_demand`` has 300 texts labelled;
``llkd_half`` and ``llkd_quarter`` have a teacher's gate that passes a fixed share of each class; ``freematch`` is the teacher's gate alone with
a momentum of 0.99, ``teacher_gate`` the same with LLKD's own),
the ceiling over the 2,000 gold labels. Runs that are in the folder already are read, not run again. Tests are paired over seeds and sets, with
Holm's correction. FOLDER/arms gets what ``tutelage report FOLDER/arms`` reads, which ranks the arms over the sets. ``--choices`` runs LLKD with
one of our values changed at a time. Overrides are of every run, as ``teacher.model=…``; give them a folder of their own.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evokd_gain import interval, result_of
from statsmodels.stats.multitest import multipletests

from tutelage.sweep.record import JobRecord, SweepFolder
from tutelage.sweep.statistics import compare

_SETS = ("snips", "trec6", "sst2", "ag_news", "emotion", "csabstruct")
_POOL, _STEPS, _SHARE = 1000, 189, 250
_ROWS = {"train": 2000, "validation": 200, "test": 500}
_LIMIT = f"training.start_max_steps={_STEPS}"
_SLOW = "select.momentum=0.99"
_STAGES = [
    f"training.{stage}_{what}"
    for stage in ("start", "round")
    for what in ("epochs=80", f"updates={_STEPS // 5}")
]
_ARMS = {
    "floor": ["method=shots"],
    "random": [
        "method=static",
        f"method.first={_SHARE}",
        "training.start_epochs=80",
        _LIMIT,
    ],
    "entropy": [
        "method=static",
        "acquire=entropy",
        "method.first=50",
        "method.rounds=4",
        "method.n_texts=50",
        *_STAGES,
    ],
    "teacher_confidence": [
        "method=full_pool",
        "select=surest",
        f"select.share={_SHARE / _POOL}",
        "select.refill=true",
        "training.start_epochs=80",
        _LIMIT,
    ],
    "freematch": [
        "method=llkd",
        "select=llkd",
        "select.student_gate=false",
        "select.combine=none",
        _SLOW,
        _LIMIT,
    ],
    "teacher_gate": [
        "method=llkd",
        "select=llkd",
        "select.student_gate=false",
        "select.combine=none",
        _LIMIT,
    ],
    "llkd": ["method=llkd", "select=llkd", _LIMIT],
    "llkd_slow": ["method=llkd", "select=llkd", _SLOW, _LIMIT],
    "llkd_half": ["method=llkd", "select=llkd", "select.teacher_share=0.5", _LIMIT],
    "llkd_quarter": ["method=llkd", "select=llkd", "select.teacher_share=0.25", _LIMIT],
    "llkd_quarter_steps": [
        "method=llkd",
        "select=llkd",
        "select.teacher_share=0.25",
        "training.start_epochs=40",
        _LIMIT,
    ],
    "llkd_full_steps": [
        "method=llkd",
        "select=llkd",
        "select.refill=true",
        "training.start_epochs=40",
        _LIMIT,
    ],
    "llkd_on_demand": ["method=llkd_on_demand", *_STAGES],
    "full_pool": ["method=full_pool", _LIMIT],
    "ceiling": ["method=supervised", "training.start_epochs=80", _LIMIT],
}
_CHANGED = {
    "momentum": ("0.9", "0.99", "0.999"),
    "combine": ("sum", "mix", "none"),
    "uncertainty": ("least_confidence", "margin"),
    "start": ("uniform",),
    "class_by": ("student",),
}
"""Values of conf/selector/llkd.yaml that are ours, and what else they could be."""
_CHOICES = {
    "llkd": _ARMS["llkd"],
    **{
        f"{key}_{value}": [*_ARMS["llkd"], f"selector.{key}={value}"]
        for key, values in _CHANGED.items()
        for value in values
    },
}


def cut(dataset: str, options: argparse.Namespace) -> Path:
    """A folder with so much of a set that no arm has to look for near duplicates among rows that none of them uses."""
    folder: Path = options.folder / "data" / dataset
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in _ROWS.items():
        if not (there := folder / f"{name}.jsonl").exists():
            lines = (options.data / dataset / there.name).read_text().splitlines(keepends=True)
            random.Random(13).shuffle(lines)
            there.write_text("".join(lines[:rows]))
    return folder


def run(dataset: str, arm: str, seed: int, options: argparse.Namespace) -> dict[str, Any] | None:
    """One run's result; None where it is not there and not asked for."""
    folder = options.folder / f"{dataset}-{arm}-{seed}"
    if options.only and arm not in options.only and not (folder / "result.json").exists():
        return None
    words = (_CHOICES if options.choices else _ARMS)[arm]
    data = (
        ["data=snips"]
        if dataset == "snips"
        else [f"data={dataset}", f"data.path={cut(dataset, options)}"]
    )
    pool = [f"method.pool_size={_POOL}"] if arm not in ("floor", "ceiling") else []
    # The teacher alone is measured once a set and seed, beside the full pool.
    teacher = ["evaluate.teacher=true"] if arm == "full_pool" else []
    result = result_of(
        folder,
        [
            *data,
            *words,
            *pool,
            *teacher,
            f"seed={seed}",
            f"shots={options.shots}",
            *options.overrides,
        ],
    )
    note(dataset, arm, seed, options)
    return result


def note(dataset: str, arm: str, seed: int, options: argparse.Namespace) -> None:
    """Write the record that ``tutelage report`` knows a sweep's jobs by; its words name the arm, not the overrides."""
    arms, part = (_CHOICES, "choices") if options.choices else (_ARMS, "arms")
    number = (_SETS.index(dataset) * len(arms) + list(arms).index(arm)) * 1000 + seed
    run = f"{dataset}-{arm}-{seed}"
    key = json.loads((options.folder / run / "manifest.json").read_text())["config_hash"]
    SweepFolder(options.folder / part).write(
        JobRecord(
            number, (f"data={dataset}", f"arm={arm}", f"seed={seed}"), key, f"../{run}", "done"
        )
    )


def selection(folder: Path, dataset: str, arm: str, seeds: list[int]) -> str:
    """Steps and right labels of an arm's runs, as selection.jsonl has them; "" where no selector chose."""
    paths = [
        path
        for seed in seeds
        if (path := folder / f"{dataset}-{arm}-{seed}" / "selection.jsonl").exists()
    ]
    lines = [[json.loads(line) for line in path.read_text().splitlines()] for path in paths]
    if not any(lines):
        return ""
    steps = "/".join(str(run[-1]["updates"]) for run in lines if run)
    right = {
        name: [sum(line[name][index] for run in lines for line in run) for index in (0, 1)]
        for name in ("right_of_seen", "right_of_kept")
    }
    return f"{steps} steps   " + " ".join(
        f"{100 * good / max(1, known):5.1f}" for good, known in right.values()
    )


def main() -> None:
    """Run what is missing, then print a table for each set, and the claim's tests over all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=_SETS, choices=_SETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--shots", type=int, default=2)
    parser.add_argument("--choices", action="store_true")
    parser.add_argument("--only", nargs="+", default=[], choices=[*_ARMS, *_CHOICES])
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench-llkd"))
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    if unknown := {*options.only} - {*(_CHOICES if options.choices else _ARMS)}:
        parser.error(
            f"--only {' '.join(sorted(unknown))}: {'--choices has' if options.choices else 'there are'} no such arms"
        )
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    arms = list(_CHOICES if options.choices else _ARMS)
    for dataset in options.sets:
        for seed in options.seeds:
            for arm in arms:
                if (result := run(dataset, arm, seed, options)) is not None:
                    found[dataset, arm, seed] = result
        print(
            f"\n{dataset}: test accuracy and macro-F1, %; share of the pool and of the rows that passed by; billed tokens; accuracy by seed; "
            "with a selector steps made, labels right of the rows seen and of those kept, %"
        )
        for arm in arms:
            results = [found[key] for key in found if key[:2] == (dataset, arm)]
            if results:
                accuracy, f1 = (
                    [result["after"][key] for result in results] for key in ("accuracy", "macro_f1")
                )
                shares = [result["share_of_data"] for result in results]
                share = [
                    statistics.mean(one[key] or 0.0 for one in shares)
                    for key in ("unique", "selections")
                ]
                billed = statistics.mean(result["tokens"]["billed"] for result in results)
                by_seed = " ".join(f"{100 * value:.1f}" for value in accuracy)
                chosen = selection(options.folder, dataset, arm, options.seeds)
                share_of = f"{100 * share[0]:5.1f} {100 * share[1]:5.1f}"
                print(
                    f"{arm:19s} {interval(accuracy)}  {interval(f1)}   {share_of}   {billed:9,.0f}   {by_seed}   {chosen}"
                )
        alone = [
            found[key]["teacher"] for key in found if key[0] == dataset and found[key]["teacher"]
        ]
        if alone:
            print(
                f"{'teacher alone':19s} {interval([one['accuracy'] for one in alone])}  {interval([one['macro_f1'] for one in alone])}"
            )
    if options.choices:
        _claim(found, [(arm, arms[0]) for arm in arms[1:]])
        return
    for ours in ("llkd", "llkd_slow", "llkd_full_steps"):
        _claim(
            found,
            [
                (ours, other)
                for other in (
                    "random",
                    "entropy",
                    "teacher_confidence",
                    "freematch",
                    "teacher_gate",
                    "full_pool",
                )
            ],
        )


def _claim(
    found: dict[tuple[str, str, int], dict[str, Any]], pairs: Sequence[tuple[str, str]]
) -> None:
    """The first of each pair less the second, over every set and seed that both have (macro-F1, the paper's number)."""
    blocks: dict[str, dict[tuple[str, int], float]] = {}
    for (dataset, arm, seed), result in found.items():
        blocks.setdefault(arm, {})[dataset, seed] = result["after"]["macro_f1"]
    made = [
        compare(ours, blocks.get(ours, {}), other, blocks.get(other, {})) for ours, other in pairs
    ]
    lines = [one for one in made if one is not None and one.p == one.p]
    if not lines:
        return
    corrected = multipletests([one.p for one in lines], method="holm")[1]
    print("\nmacro-F1 points (t-test in pairs of set and seed; 95 % bootstrap interval; p by Holm)")
    for p, one in sorted(zip(corrected, lines, strict=True), key=lambda pair: pair[0]):
        gain = f"{100 * one.gain:+5.1f} ({100 * one.low:+.1f} to {100 * one.high:+.1f})"
        print(f"  {one.arm} less {one.other:19s} {gain:26s} {one.count:2d} pairs   p {p:.3f}")


if __name__ == "__main__":
    main()
