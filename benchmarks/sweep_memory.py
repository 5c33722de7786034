"""Claim: a sweep's own process and its one teacher take no more memory after 50 jobs than after a few.

    python benchmarks/sweep_memory.py [--jobs 50] [-- OVERRIDES…]

Small runs on the real engine, a seed each, an empty cache. While they go on, the resident memory of the sweep's process and of the engine's
processes is read ten times a second; printed is the largest of each ten jobs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

_SMALL = [
    "method=static",
    "method.first=14",
    "training.start_epochs=2",
    "training.final_epochs=0",
]


def resident(sweep: psutil.Process) -> tuple[float, float]:
    """MB of the sweep's process, and of the processes below it that are no job's."""
    engine = 0.0
    for child in sweep.children(recursive=True):
        try:
            words = " ".join(child.cmdline())
            if "tutelage.cli" not in words:
                engine += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return sweep.memory_info().rss / 2**20, engine / 2**20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sweep = Path(scratch) / "sweep"
        seeds = ",".join(map(str, range(1, options.jobs + 1)))
        words = [
            *_SMALL,
            *options.overrides,
            f"seed={seeds}",
            f"hydra.sweep.dir={sweep}",
            f"teacher.cache={scratch}/cache.sqlite",
        ]
        command = [sys.executable, "-m", "tutelage.cli", "train", "-m", "sweep.name=memory", *words]
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=scratch)
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
                f"jobs {10 * ten:3d} to {10 * ten + 9:3d}   sweep {own:6.0f} MB   teacher {engine:6.0f} MB"
            )
        print(f"exit code {code} after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
