"""Claim: a small teacher labels better when each label's mean probability is its share (matched) than when the mean log-probabilities are equal (batch).

    python benchmarks/calibration.py --data ../data [--sets snips trec6 sst2 ag_news emotion csabstruct wikigold conll04 wnut17] [--seeds 1 2 3]

The teacher alone labels the first dev texts, once for each kind of calibration, from the same replies; accuracy, for named entities strict
entity F1. Two shots a class, one a type. ``--data`` holds the sets as llkd_arms.py and ner_arms.py want them; SNIPS and Wikigold are in the
package. Differences to ``batch`` are paired over sets and seeds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from evokd_gain import interval
from llkd_arms import cut
from ner_arms import overrides_of
from scipy import stats
from verify_window import measured

_NER = ("wikigold", "conll04", "wnut17")
_KINDS = {
    "none": ["calibration=none"],
    "contextual": ["calibration=contextual"],
    "batch": ["calibration=batch"],
    "estimated": ["calibration=batch", "calibration.prior=estimated"],
    "matched": ["calibration=matched"],
}


def main() -> None:
    """Measure, print a line a set and kind, then the differences to batch calibration."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--sets",
        nargs="+",
        default=["snips", "trec6", "sst2", "ag_news", "emotion", "csabstruct", *_NER],
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--kinds", nargs="+", default=list(_KINDS), choices=list(_KINDS))
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench-llkd"))
    options = parser.parse_args()
    found: dict[str, dict[tuple[str, int], float]] = {kind: {} for kind in options.kinds}
    for dataset in options.sets:
        if dataset in _NER:
            data = [*overrides_of(dataset, options.data), "shots=1"]
        else:
            data = (
                ["data=snips"]
                if dataset == "snips"
                else [f"data={dataset}", f"data.path={cut(dataset, options)}"]
            )
            data.append("shots=2")
        for kind in options.kinds:
            for seed in options.seeds:
                with tempfile.TemporaryDirectory() as folder:
                    found[kind][dataset, seed] = measured(
                        [*data, *_KINDS[kind], f"seed={seed}"], options.texts, Path(folder)
                    ).score
            right = [found[kind][dataset, seed] for seed in options.seeds]
            by_seed = " ".join(f"{100 * one:5.1f}" for one in right)
            print(
                f"{dataset:10s} {kind:11s} {100 * statistics.mean(right):5.1f}   {by_seed}",
                flush=True,
            )
    for kind in [kind for kind in options.kinds if kind != "batch" and "batch" in found]:
        for title, sets in (
            ("classes", [one for one in options.sets if one not in _NER]),
            ("entities", [one for one in options.sets if one in _NER]),
        ):
            gains = [
                value - found["batch"][key] for key, value in found[kind].items() if key[0] in sets
            ]
            if len(gains) > 1:
                p = stats.ttest_1samp(gains, 0.0).pvalue
                print(
                    f"{kind} less batch, {title}: {interval(gains)} points, {len(gains)} pairs (p = {p:.3f})"
                )


if __name__ == "__main__":
    main()
