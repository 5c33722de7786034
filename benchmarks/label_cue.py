"""Claim: a small teacher hangs on the one word that stands before a label in its prompt.

    python benchmarks/label_cue.py --data ../data [--sets sst2 emotion ag_news trec6] [--cues Topic Sentiment Emotion Answer] [--texts 150] [-- OVERRIDES…]

The teacher alone labels the first dev texts, calibrated over them, with two shots a class as demonstrations, once for each
``data.cue``; accuracy, mean over the seeds and by seed. ``--data`` holds sst2/, emotion/, ag_news/ and trec6/, of which the rows are used that
llkd_arms.py draws; SNIPS (``--sets snips``) is in the package.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from llkd_arms import cut
from verify_window import measured


def main() -> None:
    """Measure, and print a line a word."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["sst2", "emotion", "ag_news", "trec6"])
    parser.add_argument("--cues", nargs="+", default=["Topic", "Sentiment", "Emotion", "Answer"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--texts", type=int, default=150)
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench-llkd"))
    parser.add_argument(
        "overrides", nargs="*", help="of every measurement, for instance calibration=batch"
    )
    options = parser.parse_args()
    for dataset in options.sets:
        data = (
            ["data=snips"]
            if dataset == "snips"
            else [f"data={dataset}", f"data.path={cut(dataset, options)}"]
        )
        for cue in options.cues:
            right = []
            for seed in options.seeds:
                with tempfile.TemporaryDirectory() as folder:
                    right.append(
                        measured(
                            [
                                *data,
                                f"data.cue={cue}",
                                f"seed={seed}",
                                "shots=2",
                                *options.overrides,
                            ],
                            options.texts,
                            Path(folder),
                        )[0]
                    )
            by_seed = " ".join(f"{100 * one:5.1f}" for one in right)
            print(
                f"{dataset:10s} {cue + ':':12s} accuracy {100 * statistics.mean(right):5.1f}   {by_seed}",
                flush=True,
            )


if __name__ == "__main__":
    main()
