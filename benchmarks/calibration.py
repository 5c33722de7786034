"""Question: how should the label probabilities of a small teacher be calibrated?

    python benchmarks/calibration.py --data ../data [--sets snips trec6 wikigold] [--seeds 1 2 3]

The teacher alone labels the first dev texts; each kind of calibration uses the same replies.
Accuracy, for entities strict F1. Two shots per class, one per type. ``matched`` gives each label's
mean probability its share, ``batch`` makes the mean log-probabilities equal. ``--data`` has the
sets as benchmarks/data_sets.py describes. Differences to ``batch`` are paired over sets and seeds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from data_sets import CLASSES, ENTITIES, overrides_of
from runs import interval
from scipy import stats
from teacher_alone import teacher_alone

_KINDS = {
    "none": ["calibration=none"],
    "contextual": ["calibration=contextual"],
    "batch": ["calibration=batch"],
    "estimated": ["calibration=batch", "calibration.prior=estimated"],
    "matched": ["calibration=matched"],
}


def main() -> None:
    """Prints a line per set and kind, then the differences to batch calibration."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=[*CLASSES, *ENTITIES])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--kinds", nargs="+", default=list(_KINDS), choices=list(_KINDS))
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench-data"))
    options = parser.parse_args()

    found: dict[str, dict[tuple[str, int], float]] = {kind: {} for kind in options.kinds}
    for dataset in options.sets:
        data = overrides_of(dataset, options.data, options.folder)
        data.append("shots=1" if dataset in ENTITIES else "shots=2")
        for kind in options.kinds:
            for seed in options.seeds:
                with tempfile.TemporaryDirectory() as folder:
                    found[kind][dataset, seed] = teacher_alone(
                        [*data, *_KINDS[kind], f"seed={seed}"], options.texts, Path(folder)
                    ).score
            scores = [found[kind][dataset, seed] for seed in options.seeds]
            by_seed = " ".join(f"{100 * score:5.1f}" for score in scores)
            mean = 100 * statistics.mean(scores)
            print(f"{dataset:10s} {kind:11s} {mean:5.1f}   {by_seed}", flush=True)

    for kind in [kind for kind in options.kinds if kind != "batch" and "batch" in found]:
        for title, entities in (("classes", False), ("entities", True)):
            gains = [
                value - found["batch"][key]
                for key, value in found[kind].items()
                if (key[0] in ENTITIES) == entities
            ]
            if len(gains) > 1:
                p = stats.ttest_1samp(gains, 0.0).pvalue
                print(
                    f"{kind} minus batch, {title}: {interval(gains)} points, "
                    f"{len(gains)} pairs (p = {p:.3f})"
                )


if __name__ == "__main__":
    main()
