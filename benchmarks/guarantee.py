"""Question: does the guarantee of `tutelage guarantee` hold on finished runs, and under a shift?

    python benchmarks/guarantee.py RUN… [--accuracy 0.9] [--coverage 0.9] [--risk 0.05]

The student's predictions of dev and test are pooled. Each split draws half of them to calibrate
on, and the rest is new to it:

held out    the rest as it is;
shifted     the rest resampled: half of the classes, drawn anew per split, five times as often;
population  calibrated on as many texts drawn with replacement from all, judged on all of them, so
            that the true accuracy is known. Here alone "missed" is bounded by the risk: the
            accuracy of a rest also varies by chance.

Missed: share of all splits with a threshold whose kept predictions are right less often than the
target.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.audit.inputs import dataset_of, settings_of
from tutelage.guarantee.command import split_of
from tutelage.guarantee.conformal import least_probability
from tutelage.guarantee.judged import Judged, judge
from tutelage.guarantee.threshold import lowest_threshold
from tutelage.records import Example
from tutelage.runs.read import read_run
from tutelage.student.inference import load

_TIMES = 5


def main() -> None:
    """Prints a line per run and condition."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--accuracy", type=float, default=0.9)
    parser.add_argument("--coverage", type=float, default=0.9)
    parser.add_argument("--risk", type=float, default=0.05)
    parser.add_argument("--splits", type=int, default=100)
    options = parser.parse_args()
    print("run | new texts | calibrated on | found | kept | right | missed | covered | set size")
    for folder in options.runs:
        judged, labels = judged_of(folder)
        for condition in ("held out", "shifted", "population"):
            print(f"{folder.name} | {condition} | {line(judged, labels, condition, options)}")


def judged_of(folder: Path) -> tuple[Judged, Any]:
    """A classification student's predictions of dev and test, and the labels."""
    run = read_run(folder)
    dataset, notes = dataset_of(run, settings_of(run), fetch=False)
    if dataset is None or run.task.is_token_level:
        raise SystemExit(f"{folder}: {notes or 'entities have no classes to shift'}")
    test = [Example(one.id, one.text, one.target) for one in run.after]
    judged = judge(load(folder), run.task, [*dataset.dev, *test])
    return judged, judged.targets


def part(judged: Judged, indices: Any) -> Judged:
    """Some of the predictions."""
    assert judged.probabilities is not None
    assert judged.targets is not None
    return Judged(
        judged.confidences[indices],
        judged.right[indices],
        judged.probabilities[indices],
        judged.targets[indices],
    )


def line(judged: Judged, labels: Any, condition: str, options: argparse.Namespace) -> str:
    """Means over the splits."""
    rng = np.random.default_rng(1)
    count = len(labels)
    found = []
    for _ in range(options.splits):
        order = rng.permutation(count)
        sample, new = order[: count // 2], order[count // 2 :]
        if condition == "population":
            sample, new = rng.integers(count, size=count // 2), np.arange(count)
        elif condition == "shifted":
            classes = rng.permutation(np.unique(labels))
            often = np.isin(labels[new], classes[: len(classes) // 2])
            weights = np.where(often, float(_TIMES), 1.0)
            new = rng.choice(new, size=len(new), p=weights / weights.sum())
        known = part(judged, sample)
        kept = lowest_threshold(known.confidences, known.right, options.accuracy, options.risk)
        assert known.of_the_right_label is not None
        probability = least_probability(known.of_the_right_label, options.coverage)
        found.append(split_of("test", part(judged, new), kept.threshold, probability))
    kept_some = [one for one in found if one.kept]
    right = [one.right / one.kept for one in kept_some]
    covered = [(one.covered or 0) / one.texts for one in found]
    size = [(one.labels or 0) / one.texts for one in found]
    missed = sum(share < options.accuracy for share in right) / options.splits
    shares = (
        len(kept_some) / options.splits,
        np.mean([one.kept / one.texts for one in found]),
        np.mean(right) if right else np.nan,
        missed,
        np.mean(covered),
    )
    cells = " | ".join(f"{100 * share:.1f} %" for share in shares)
    return f"{count // 2} | {cells} | {np.mean(size):.2f}"


if __name__ == "__main__":
    main()
