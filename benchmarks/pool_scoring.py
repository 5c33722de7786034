"""Question: how much memory does a student need to view a pool of a million texts?

    python benchmarks/pool_scoring.py RUN --texts snips.txt [--sizes 100000 1000000] [--layers 0]

RUN is a finished run of text classification; its student makes one pass as a run does, chunk by
chunk. ``--texts`` has one text per line, repeated with a number in front, so that all texts differ.
Counted is the peak of the process's memory above its level before the pass (texts and student),
minus the embeddings. ``--layers`` shortens the student's encoder: memory does not depend on its
depth, and seconds do. ``--chosen`` are acquire selectors that choose 100 texts afterwards. Each
size is a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from hydra.utils import instantiate
from omegaconf import OmegaConf
from rich.progress import Progress
from selector_cost import CONF, WANTED, resident

from tutelage.records import Label
from tutelage.selectors.row_selection import EveryRow
from tutelage.student.loading import load_student
from tutelage.student.losses.protocol import UnitLoss
from tutelage.student.module import StudentModule
from tutelage.student.pool_view import StudentPoolView
from tutelage.student.schedule import RateSchedule
from tutelage.tasks.classification import ClassificationTask


def peak() -> float:
    """Peak memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def measure(given: argparse.Namespace) -> None:
    """One size: a line of the table for the pass, and one per selector afterwards."""
    total = given.sizes[0]
    network, tokenizer, length = load_student(given.run / "student")
    # The student of the run, with a shorter encoder if asked for.
    if given.layers is not None:
        network.base_model.encoder.layer = network.base_model.encoder.layer[: given.layers]
    task = ClassificationTask(
        [Label(name, name, name) for name in network.config.id2label.values()]
    )
    rates = {"learning_rate": 0.0, "head_learning_rate": 0.0, "weight_decay": 0.0}
    module = StudentModule(
        network, task, UnitLoss(), RateSchedule(), EveryRow(), batch_size=1, **rates
    )
    lines = given.texts.read_text(encoding="utf-8").splitlines()
    texts = [f"{index // len(lines)} {lines[index % len(lines)]}" for index in range(total)]
    labelled = texts[:100]

    before, started = resident() / 1e9, time.perf_counter()
    with Progress(transient=True) as bar:
        task_id = bar.add_task("pool", total=total)
        view = StudentPoolView(
            module,
            tokenizer,
            texts,
            labelled,
            max_length=length,
            seed=1,
            on_chunk=lambda name, done, of: bar.update(
                task_id, description=name, completed=done, total=of
            ),
        )
        own = view.embeddings().nbytes / 1e9
    seconds = time.perf_counter() - started
    print(
        f"| {total:,} | the pass | {seconds:.1f} | {own:.2f} | {peak() - before - own:.2f} |",
        flush=True,
    )
    for name in given.chosen:
        selector = instantiate(OmegaConf.load(CONF / f"{name}.yaml"))
        started = time.perf_counter()
        selector.query(view, WANTED, np.random.default_rng(5))
        seconds = time.perf_counter() - started
        print(
            f"| {total:,} | then `{name}` | {seconds:.1f} | {own:.2f} | "
            f"{peak() - before - own:.2f} |",
            flush=True,
        )


def main() -> None:
    """Prints a table, one size after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument(
        "--layers",
        type=int,
        help="number of encoder layers after the embedding; all by default",
    )
    parser.add_argument("--chosen", nargs="*", default=["entropy", "k_means", "badge"])
    given = parser.parse_args()
    if len(given.sizes) == 1:
        measure(given)
        return
    print(
        "| texts | | seconds | GB of embeddings | GB above them, peak so far |\n"
        "|--:|---|--:|--:|--:|",
        flush=True,
    )
    for size in given.sizes:
        subprocess.run([sys.executable, *sys.argv, "--sizes", str(size)], check=True)


if __name__ == "__main__":
    main()
