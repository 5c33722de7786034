"""Question: does a round cost more in a large pool, and does asking ahead save its time?

    python benchmarks/round_cost.py [--rows 1000 10000 100000] [--rounds 6] [--rate 0] [--ahead]
        [--given student=frozen_classification]

Labels ``--rows`` made-up texts at the start, trains on a few of them, and then grows by 32 random
texts a round (`method=llkd_on_demand acquire=random`, three passes over those of the round). The
teacher is the stand-in of labelling_stream.py, in a process of its own, as fast as it can or at
``--rate`` texts a second. Printed per number of rows: CPU and wall seconds of a round (medians,
without the first), the peak memory of the process, and seconds of the whole run. With ``--ahead``
each line has a second one for `training.prefetch=true`. Each run has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback

WORDS = {
    "AddToPlaylist": "add this song to my playlist",
    "BookRestaurant": "book a table for two people",
    "GetWeather": "will it rain in the city tomorrow",
    "PlayMusic": "play some music by the band",
}
EXTRA = 400
"""Texts beside those of the start, for the rounds."""


class Clock(Callback):
    """Writes when each round begins to train.

    Args:
        path: The file to append to.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Writes round, CPU seconds and wall seconds."""
        if pl_module.position.index == 0:
            with self._path.open("a", encoding="utf-8") as file:
                print(pl_module.position.round, time.process_time(), time.time(), file=file)


def write_data(folder: Path, rows: int) -> None:
    """Writes a data set with a pool of ``rows`` texts and those of the rounds."""
    rng = random.Random(1)
    folder.mkdir()
    for split, count in (("train", rows + EXTRA), ("dev", 100), ("test", 100)):
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            for _ in range(count):
                label = rng.choice(list(WORDS))
                number = " ".join(f"w{rng.randrange(10_000)}" for _ in range(4))
                line = {"text": f"{WORDS[label]} {number}", "label": label}
                file.write(json.dumps(line) + "\n")


def one(options: argparse.Namespace) -> None:
    """One run, in this process; prints its line as JSON."""
    import tutelage

    rows, folder = options.rows[0], Path(options.folder)
    clock, began = folder / f"clock-{options.ahead}", time.perf_counter()
    tutelage.train(
        "data=files",
        f"data.path={folder / 'data'}",
        "data.near_threshold=1",
        "shots=1",
        "method=llkd_on_demand",
        "acquire=random",
        "select=every_row",
        f"method.first={rows}",
        "method.n_texts=32",
        f"method.rounds={options.rounds}",
        "training.start_epochs=1",
        "training.start_max_steps=5",
        "training.round_epochs=3",
        "training.train_on=batch",
        f"training.prefetch={str(options.ahead).lower()}",
        "evaluate.teacher=false",
        "evaluate.supervised_epochs=0",
        "teacher._target_=labelling_stream.StandIn",
        "teacher.quantization=none",
        f"teacher.cache={folder / f'replies-{options.ahead}.sqlite'}",
        "threads=1",
        "logger=none",
        "+callbacks.clock._target_=round_cost.Clock",
        f"+callbacks.clock.path={clock}",
        f"hydra.run.dir={folder / f'run-{options.ahead}'}",
        *options.given,
    )
    seconds = time.perf_counter() - began
    times = [[float(value) for value in line.split()] for line in clock.read_text().splitlines()]
    rounds = [
        [later - earlier for earlier, later in zip(before[1:], after[1:], strict=True)]
        for before, after in pairwise(times)
        if before[0] > 0
    ]
    result = json.loads((folder / f"run-{options.ahead}" / "result.json").read_text())
    cpu, wall = (statistics.median(values) for values in zip(*rounds, strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps([cpu, wall, peak, seconds, result["pool_hash"]]))


def main() -> None:
    """Prints one line per run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--ahead", action="store_true")
    parser.add_argument("--given", nargs="*", default=[])
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        one(options)
        return
    here = str(Path(__file__).parent)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "STAND_IN_RATE": str(options.rate or ""),
        "PYTHONPATH": os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    print(f"{'rows':>9s} {'ahead':>5s} {'CPU s':>6s} {'wall s':>6s} {'GB':>5s} {'run s':>7s}")
    for rows in options.rows:
        hashes = set()
        with tempfile.TemporaryDirectory() as scratch:
            write_data(Path(scratch) / "data", rows)
            for ahead in (False, True) if options.ahead else (False,):
                command = [sys.executable, __file__, "--rows", str(rows), "--folder", scratch]
                command += ["--rounds", str(options.rounds), *(["--ahead"] if ahead else [])]
                command += ["--given", *options.given]
                ended = subprocess.run(
                    command, env=environment, check=True, stdout=subprocess.PIPE, text=True
                )
                *figures, pool = json.loads(ended.stdout.splitlines()[-1])
                hashes.add(pool)
                cpu, wall, peak, seconds = figures
                print(
                    f"{rows:9,d} {'yes' if ahead else 'no':>5s} {cpu:6.2f} {wall:6.2f} "
                    f"{peak:5.2f} {seconds:7.1f}",
                    flush=True,
                )
        if len(hashes) > 1:
            raise SystemExit("The two runs have different rows.")


if __name__ == "__main__":
    main()
