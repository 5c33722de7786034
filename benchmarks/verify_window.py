"""Question: how much text around a mention does *verify* need in its demonstrations?

    python benchmarks/verify_window.py [--sets wikigold] [--shown 0 5] [-- teacher.model=embedded]
    python benchmarks/verify_window.py --shots 5 --per-type 1 3 5 --shown 5

The teacher alone marks the first dev sentences by *verify*, with the shots of each seed as
demonstrations, once for each ``labelling.shown_words`` (0: whole sentences) and each
``labelling.shown_per_type``. Printed: strict entity F1 and billed tokens. ``--data`` has conll2004/
and wnut17/; Wikigold is in the package.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from itertools import product
from pathlib import Path

from data_sets import ENTITIES, overrides_of
from teacher_alone import teacher_alone


def main() -> None:
    """Prints a line per measurement, and the means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", default=["wikigold"], choices=ENTITIES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shown", nargs="+", type=int, default=[0, 5])
    parser.add_argument("--per-type", nargs="+", type=int, default=[1])
    parser.add_argument("--shots", type=int, default=1)
    parser.add_argument("--sentences", type=int, default=80)
    parser.add_argument("--data", type=Path, default=Path("../data"))
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    found: dict[str, list[tuple[float, int]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for dataset, seed in product(options.sets, options.seeds):
            data = overrides_of(dataset, options.data, Path(folder))
            for shown, each in product(options.shown, options.per_type):
                given = [
                    f"seed={seed}",
                    f"shots={options.shots}",
                    f"labelling.shown_words={shown}",
                    f"labelling.shown_per_type={each}",
                ]
                one = teacher_alone(
                    [*data, *given, *options.overrides], options.sentences, Path(folder)
                )
                variant = f"shown_words {shown}  per type {each}"
                found.setdefault(variant, []).append((one.score, one.tokens))
                print(
                    f"{dataset:9s} seed {seed}  {variant}  F1 {100 * one.score:5.1f}  "
                    f"{one.tokens:9,} tokens",
                    flush=True,
                )
    for variant, pairs in found.items():
        f1, tokens = statistics.mean(f1 for f1, _ in pairs), sum(tokens for _, tokens in pairs)
        print(f"mean              {variant}  F1 {100 * f1:5.1f}  {tokens:9,} tokens in all")


if __name__ == "__main__":
    main()
