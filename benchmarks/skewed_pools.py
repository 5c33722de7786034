"""Question: do pools with a rare or a common class work from the defaults?

    python benchmarks/skewed_pools.py --data ../data [--cases sst2_10 snips_10] [--students llkd]

The teacher labels the first 200 texts of each pool; each calibration uses the same replies.
Accuracy / macro-F1, next to the most frequent class. With ``--students``, the student of each of
these methods follows, from the defaults. Each case is cut from a data set with seed 13: SST-2 with
5, 10 and 15 % positive, SNIPS with 10 % weather against the rest, AG News with 60 % sports. Even
cases show what a calibration costs elsewhere. ``--data`` has a folder per set with train,
validation and test.jsonl. Near duplicates and shots leave the pool, so its shares may differ. Odd
seeds have 1 shot per class, even ones 2.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from runs import train
from teacher_alone import scores_of_pool

from tutelage.config.build_teacher import build_stack
from tutelage.config.compose import compose_config
from tutelage.labelling.calibration import (
    BatchCalibration,
    Calibrator,
    NoCalibration,
    PriorMatching,
)
from tutelage.labelling.calibration_prior import Array
from tutelage.labelling.calibration_tracking import PriorTracking
from tutelage.records import Label, Outcome
from tutelage.tasks.classification import ClassificationTask


class Case(NamedTuple):
    """A pool.

    Attributes:
        folder: The folder of the set.
        label: The class whose share is set; the others are one class, or keep their shares.
        share: Its share in train, dev and test; None keeps the set's own.
        overrides: The data set, labels and words.
        rest: Name of the class of all other texts; "" keeps their labels.
    """

    folder: str
    label: str
    share: float | None
    overrides: tuple[str, ...]
    rest: str = ""


_WEATHER = (
    "data=files",
    "data.name=snips_weather",
    "data.cue=Topic",
    "data.labels={GetWeather:{word:weather,description:'requests to a voice assistant about the "
    "weather'},Other:{word:other,description:'all other requests to a voice assistant'}}",
)
CASES = {
    **{
        f"sst2_{percent}": Case("sst2", "positive", percent / 100, ("data=sst2",))
        for percent in (5, 10, 15)
    },
    "snips_10": Case("snips_intent", "GetWeather", 0.1, _WEATHER, "Other"),
    "ag_news_60": Case("ag_news", "sports", 0.6, ("data=ag_news",)),
    "even_sst2": Case("sst2", "positive", 0.5, ("data=sst2",)),
    "even_trec6": Case("trec6", "", None, ("data=trec6",)),
    "even_snips": Case("", "", None, ("data=snips",)),
}
KINDS: dict[str, Callable[[], Calibrator]] = {
    "none": NoCalibration,
    "batch": BatchCalibration,
    "matched": PriorMatching,
    "tracked": PriorTracking,
}
_ROWS = {"train": 420, "validation": 100, "test": 400}


def cut(name: str, data: Path, folder: Path) -> list[str]:
    """Writes the texts of a case with its shares, and returns the overrides that choose it.

    Args:
        name: Name of the case.
        data: The folder with all data sets.
        folder: Where the case is written.
    """
    case = CASES[name]
    if not case.folder:
        return [*case.overrides]
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    for split, count in _ROWS.items():
        lines = (data / case.folder / f"{split}.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        rng = random.Random(13)
        rng.shuffle(rows)
        if case.share is not None:
            inside = [row for row in rows if row["label"] == case.label]
            outside = [
                {**row, "label": case.rest or row["label"]}
                for row in rows
                if row["label"] != case.label
            ]
            some = round(case.share * count)
            rows = inside[:some] + outside[: count - some]
            rng.shuffle(rows)
        text = "".join(f"{json.dumps(row)}\n" for row in rows[:count])
        (own / f"{split}.jsonl").write_text(text)
    return [*case.overrides, f"data.path={own}"]


def scored(names: tuple[str, ...], scores: Array, gold: list[str], calibrator: Calibrator) -> str:
    """Accuracy and macro-F1 of calibrated labels, in %."""
    found = [names[index] for index in calibrator.transform(scores).argmax(axis=1)]
    outcomes = [
        Outcome("", "", one, label, (1.0,), "pool", 0)
        for one, label in zip(gold, found, strict=True)
    ]
    metrics = ClassificationTask([Label(name, name, "") for name in names]).metrics(outcomes)
    return f"{100 * metrics['accuracy']:5.1f} / {100 * metrics['macro_f1']:4.1f}"


def main() -> None:
    """Prints a line per case and seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--teacher", default="embedded")
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--students", nargs="*", default=[], metavar="METHOD")
    parser.add_argument("--folder", type=Path, default=Path("outputs/skewed-pools"))
    options = parser.parse_args()

    # One engine for all cases; little memory, since its requests are short.
    teacher = [f"teacher.model={options.teacher}", "teacher.kv_cache_gb=0.5"]
    with tempfile.TemporaryDirectory() as folder:
        stack = build_stack(compose_config([*teacher, "method=full_pool"]), Path(folder))
        try:
            for name in options.cases:
                data = cut(name, options.data, options.folder / "data")
                for seed in options.seeds:
                    run = [*data, *teacher, f"seed={seed}", f"shots={2 - seed % 2}"]
                    names, scores, gold = scores_of_pool(run, options.texts, stack)
                    most = Counter(gold).most_common(1)[0][1] / len(gold)
                    columns = [
                        f"{kind} {scored(names, scores, gold, made())}"
                        for kind, made in KINDS.items()
                    ]
                    print(f"{name:10s} {seed} most {100 * most:4.1f}", *columns, flush=True)
        finally:
            stack.close()
    for name in options.cases:
        data = cut(name, options.data, options.folder / "data")
        for method in options.students:
            for seed in options.seeds:
                run = [*data, *teacher, f"seed={seed}", f"shots={2 - seed % 2}"]
                result = train(
                    options.folder / options.teacher / f"{name}-{method}-{seed}",
                    [*run, f"method={method}", "evaluate.teacher=true"],
                    quiet=True,
                )
                shown = (result[key] for key in ("after", "teacher", "majority"))
                print(name, method, seed, *shown, flush=True)


if __name__ == "__main__":
    main()
