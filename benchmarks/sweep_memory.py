"""Question: does the memory of a sweep grow with the number of its jobs?

    python benchmarks/sweep_memory.py [--jobs 50] [-- OVERRIDES…]

Small runs on the real engine, one seed each, with an empty cache. The resident memory of the
sweep's process and of its teacher's processes is read ten times per second; printed is the largest
value of every ten jobs.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
from runs import command

_SMALL = [
    "method=static",
    "method.first=14",
    "training.start_epochs=2",
    "training.final_epochs=0",
]


def resident(sweep: psutil.Process) -> tuple[float, float]:
    """MiB of the sweep's process, and of its child processes without those of jobs."""
    engine = 0.0
    for child in sweep.children(recursive=True):
        try:
            if "tutelage.cli" not in " ".join(child.cmdline()):
                engine += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return sweep.memory_info().rss / 2**20, engine / 2**20


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sweep = Path(scratch) / "sweep"
        seeds = ",".join(map(str, range(1, options.jobs + 1)))
        overrides = [
            *_SMALL,
            *options.overrides,
            f"seed={seeds}",
            f"hydra.sweep.dir={sweep}",
            f"teacher.cache={scratch}/cache.sqlite",
        ]
        whole = command("-m", "sweep.name=memory", *overrides)
        began = time.monotonic()
        process = subprocess.Popen(whole, stdout=subprocess.DEVNULL, cwd=scratch)
        most: dict[int, tuple[float, float]] = {}
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            jobs = len(list(sweep.glob("jobs/*.json")))
            try:
                own, engine = resident(watched)
            except psutil.NoSuchProcess:
                break
            if jobs:
                before = most.get((jobs - 1) // 10, (0.0, 0.0))
                most[(jobs - 1) // 10] = (max(before[0], own), max(before[1], engine))
            time.sleep(0.1)
        code = process.wait()
        for ten, (own, engine) in sorted(most.items()):
            print(
                f"jobs {10 * ten:3d} to {10 * ten + 9:3d}   sweep {own:6.0f} MiB   "
                f"teacher {engine:6.0f} MiB"
            )
        print(f"exit code {code} after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
