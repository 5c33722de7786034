"""Claim: a small teacher marks entities better by *verify* than by *extract*.

    python benchmarks/extract_or_verify.py [--sets wikigold conll04 wnut17] [--seeds 1 2] [--shots 1 5] [--sentences 168] [--data ../data]
        [-- teacher.model=FOLDER]

The teacher alone marks the first dev sentences both ways, with the shots of each seed as demonstrations. Strict entity F1, where a rejected
sentence counts as one without entities and of the others alone; the share that was rejected, and why; billed tokens a sentence.
``--data`` as for ner_arms.py.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import Counter
from itertools import product
from pathlib import Path

from ner_arms import overrides_of
from verify_window import Measured, measured

from tutelage.errors import TeacherError
from tutelage.report.figures_rows import reason_kind


def line(title: str, found: list[Measured]) -> str:
    """The means of some measurements."""
    share = statistics.mean(len(one.reasons) / one.texts for one in found)
    tokens = statistics.mean(one.tokens / one.texts for one in found)
    score, of_kept = (
        100 * statistics.mean(values)
        for values in zip(*((one.score, one.of_kept) for one in found), strict=True)
    )
    return f"{title:28s} F1 {score:5.1f}  of what was not rejected {of_kept:5.1f}  rejected {share:5.1%}  {tokens:6.0f} tokens a sentence"


def main() -> None:
    """Measure, print a line each, then the means and what rejected most."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sets", nargs="+", default=["wikigold"], choices=("wikigold", "conll04", "wnut17")
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shots", type=int, nargs="+", default=[1])
    parser.add_argument(
        "--ways", nargs="+", default=["extract", "verify"], choices=("extract", "verify")
    )
    parser.add_argument("--sentences", type=int, default=168)
    parser.add_argument("--data", type=Path, default=Path("../data"))
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    for dataset, shots, way in product(options.sets, options.shots, options.ways):
        found = []
        for seed in options.seeds:
            given = [f"seed={seed}", f"shots={shots}", f"labelling={way}", *options.overrides]
            title = f"{dataset} {shots} shots {way}"
            with tempfile.TemporaryDirectory() as folder:
                try:
                    found.append(
                        measured(
                            [*overrides_of(dataset, options.data), *given],
                            options.sentences,
                            Path(folder),
                        )
                    )
                except TeacherError as failed:  # no reply at all could be used
                    print(f"{title} seed {seed}: {failed}", flush=True)
                    continue
            print(line(f"{title} seed {seed}", found[-1:]), flush=True)
        if len(found) > 1:
            print(line(f"{title} mean", found), flush=True)
        kinds = Counter(reason_kind(reason) for one in found for reason in one.reasons)
        for kind, count in kinds.most_common(4):
            print(f"{count:5d} × {kind}", flush=True)


if __name__ == "__main__":
    main()
