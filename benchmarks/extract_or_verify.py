"""Question: does a small teacher mark entities better by *verify* or by *extract*?

    python benchmarks/extract_or_verify.py [--sets wikigold conll04] [--shots 1 5] [--data ../data]
        [-- teacher.model=FOLDER]

The teacher alone marks the first dev sentences both ways, with the shots of each seed as
demonstrations. Printed: strict entity F1, with rejected sentences as sentences without entities and
over the others alone; the share of rejected sentences and the main reasons; billed tokens per
sentence. ``--data`` has conll2004/ and wnut17/; Wikigold is in the package.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import Counter
from itertools import product
from pathlib import Path

from data_sets import ENTITIES, overrides_of
from teacher_alone import TeacherScore, teacher_alone

from tutelage.errors import TeacherError
from tutelage.report.figures_rows import reason_kind


def line(title: str, found: list[TeacherScore]) -> str:
    """The means of some measurements."""
    rejected = statistics.mean(len(one.reasons) / one.texts for one in found)
    tokens = statistics.mean(one.tokens / one.texts for one in found)
    score = 100 * statistics.mean(one.score for one in found)
    of_kept = 100 * statistics.mean(one.of_kept for one in found)
    return (
        f"{title:28s} F1 {score:5.1f}  of those not rejected {of_kept:5.1f}  "
        f"rejected {rejected:5.1%}  {tokens:6.0f} tokens per sentence"
    )


def main() -> None:
    """Prints a line per measurement, the means, and the most frequent reasons for rejection."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", default=["wikigold"], choices=ENTITIES)
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
        data = overrides_of(dataset, options.data, Path())
        found = []
        for seed in options.seeds:
            given = [f"seed={seed}", f"shots={shots}", f"labelling={way}", *options.overrides]
            title = f"{dataset} {shots} shots {way}"
            with tempfile.TemporaryDirectory() as folder:
                try:
                    found.append(teacher_alone([*data, *given], options.sentences, Path(folder)))
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
