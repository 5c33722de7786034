"""Question: how much does a small teacher depend on the word right before the label?

    python benchmarks/label_cue.py --data ../data [--sets sst2 emotion] [--cues Topic Answer]
        [-- calibration=batch]

The teacher alone labels the first dev texts, with two shots per class as demonstrations, once for
each ``data.cue``. Printed: accuracy, the mean over the seeds and by seed. ``--data`` has the sets
as benchmarks/data_sets.py describes; SNIPS (``--sets snips``) is in the package.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from data_sets import CLASSES, overrides_of
from teacher_alone import teacher_alone


def main() -> None:
    """Prints a line per data set and cue."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--sets", nargs="+", default=["sst2", "emotion", "ag_news", "trec6"], choices=CLASSES
    )
    parser.add_argument("--cues", nargs="+", default=["Topic", "Sentiment", "Emotion", "Answer"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--texts", type=int, default=150)
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench-data"))
    parser.add_argument(
        "overrides", nargs="*", help="of every measurement, for instance calibration=batch"
    )
    options = parser.parse_args()
    for dataset in options.sets:
        data = [*overrides_of(dataset, options.data, options.folder), "shots=2"]
        for cue in options.cues:
            scores = []
            for seed in options.seeds:
                given = [*data, f"data.cue={cue}", f"seed={seed}", *options.overrides]
                with tempfile.TemporaryDirectory() as folder:
                    scores.append(teacher_alone(given, options.texts, Path(folder)).score)
            by_seed = " ".join(f"{100 * score:5.1f}" for score in scores)
            mean = 100 * statistics.mean(scores)
            print(f"{dataset:10s} {cue + ':':12s} accuracy {mean:5.1f}   {by_seed}", flush=True)


if __name__ == "__main__":
    main()
