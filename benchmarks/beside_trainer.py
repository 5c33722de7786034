"""Question: what does a step of the student cost beside one of Hugging Face's Trainer?

    python benchmarks/beside_trainer.py [--sets snips trec6=CUT/trec6] [--shots 32] [--epochs 3]
        [--repeats 3] [--seed 1]

Trains the same encoder on the same gold rows twice: as the student of ``method=shots`` (a linear
head on mean pooling), and by ``transformers.Trainer`` with its own head and its defaults, which pad
each batch to its longest text. Batch size, rate, epochs and largest length are alike. Printed per
set: tokens of a text on average, steps, CPU milliseconds a step of either, their ratio (medians
over the repeats, which take turns), and accuracy on test after the last repeat. One thread, no
evaluation and no saving within the time. ``NAME=FOLDER`` is a set with its ``data.path``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback
from runs import read_lines

import tutelage
from tutelage.assets import ensure_asset

BATCH, RATE, LENGTH = 16, 2e-5, 128


class Clock(Callback):
    """Writes the CPU seconds and the steps of each epoch to a file.

    Args:
        path: The file to append to.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._began = 0.0
        self._steps = 0

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Starts the clock."""
        self._began, self._steps = time.process_time(), pl_module.steps

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        """Stops the clock; the last line of an epoch counts."""
        spent = time.process_time() - self._began
        with self._path.open("a", encoding="utf-8") as file:
            print(trainer.current_epoch, spent, pl_module.steps - self._steps, file=file)


@dataclass(frozen=True)
class Fit:
    """What one training took and gave."""

    milliseconds: float
    steps: int
    accuracy: float


def by_the_student(
    given: Sequence[str], epochs: int, scratch: Path
) -> tuple[Fit, list[dict[str, Any]], list[dict[str, Any]]]:
    """Trains the student. Also returns its gold rows and its predictions on test."""
    run, clock = scratch / "run", scratch / "clock"
    tutelage.train(
        *given,
        "method=shots",
        f"training.start_epochs={epochs}",
        f"student.batch_size={BATCH}",
        f"student.learning_rate={RATE}",
        f"student.max_length={LENGTH}",
        "logger=none",
        "threads=1",
        "+callbacks.clock._target_=beside_trainer.Clock",
        f"+callbacks.clock.path={clock}",
        f"hydra.run.dir={run}",
    )
    last = {line.split()[0]: line.split()[1:] for line in clock.read_text().splitlines()}
    seconds = sum(float(spent) for spent, _ in last.values())
    steps = sum(int(count) for _, count in last.values())
    rows = [row for row in read_lines(run / "pool" / "rows.jsonl") if row["accepted"]]
    test = read_lines(run / "predictions" / "test-after.jsonl")
    right = [row["target"] == row["predicted"] for row in test]
    return Fit(1000 * seconds / steps, steps, statistics.mean(right)), rows, test


def by_the_trainer(
    encoder: Path, rows: list[dict[str, Any]], test: list[dict[str, Any]], epochs: int, seed: int
) -> tuple[Fit, float]:
    """Trains with transformers. Also returns the mean number of tokens per text."""
    import transformers
    from datasets import Dataset

    transformers.logging.set_verbosity_error()
    classes = sorted({row["target"] for row in rows})
    words = transformers.AutoTokenizer.from_pretrained(encoder)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(
        encoder, num_labels=len(classes)
    )

    def encoded(each: list[dict[str, Any]]) -> Any:
        found = words([row["text"] for row in each], truncation=True, max_length=LENGTH)
        labels = [classes.index(row["target"]) for row in each]
        return Dataset.from_dict({**found, "label": labels})

    with tempfile.TemporaryDirectory() as folder:
        trainer = transformers.Trainer(
            model=network,
            args=transformers.TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=BATCH,
                per_device_eval_batch_size=128,
                learning_rate=RATE,
                num_train_epochs=epochs,
                seed=seed,
                use_cpu=True,
                report_to="none",
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
            ),
            train_dataset=encoded(rows),
            processing_class=words,
        )
        began = time.process_time()
        trainer.train()
        seconds = time.process_time() - began
        found = trainer.predict(encoded(test)).predictions.argmax(axis=1)
    steps = trainer.state.global_step
    right = [classes[one] == row["target"] for one, row in zip(found, test, strict=True)]
    tokens = float(np.mean([len(ids) for ids in trainer.train_dataset["input_ids"]]))
    return Fit(1000 * seconds / steps, steps, statistics.mean(right)), tokens


def main() -> None:
    """Prints one line per set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", default=["snips"])
    parser.add_argument("--shots", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    torch.set_num_threads(1)
    encoder = ensure_asset("student")
    print(
        f"{'':12s} {'tokens':>6s} {'steps':>5s} {'student ms':>10s} {'Trainer ms':>10s} "
        f"{'ratio':>5s} {'student %':>9s} {'Trainer %':>9s}"
    )
    for one in options.sets:
        name, _, folder = one.partition("=")
        given = [f"data={name}", f"shots={options.shots}", f"seed={options.seed}"]
        given += [f"data.path={Path(folder).resolve()}"] if folder else []
        students, trainers, tokens = [], [], 0.0
        for _ in range(options.repeats):
            with tempfile.TemporaryDirectory() as scratch:
                fit, rows, test = by_the_student(given, options.epochs, Path(scratch))
            students.append(fit)
            fit, tokens = by_the_trainer(encoder, rows, test, options.epochs, options.seed)
            trainers.append(fit)
        ours, theirs = (
            statistics.median(fit.milliseconds for fit in each) for each in (students, trainers)
        )
        print(
            f"{name:12s} {tokens:6.1f} {students[-1].steps:5d} {ours:10.1f} {theirs:10.1f} "
            f"{theirs / ours:5.2f} {100 * students[-1].accuracy:9.1f} "
            f"{100 * trainers[-1].accuracy:9.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
