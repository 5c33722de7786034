"""Question: does a run that is killed (``kill -9``) and resumed end like an undisturbed one?

    python benchmarks/kill_and_resume.py [--kills 10] [--seed 0]

Two runs of one small configuration on the real engine, each with its own empty cache: one
undisturbed, one killed at random moments and resumed until it is done. Printed: pool hashes,
metrics, and the tokens that the kills cost beyond the undisturbed run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from runs import command, read_lines

OVERRIDES = [
    "method.rounds=4",
    "method.n_hard=21",
    "method.n_easy=21",
    "training.start_epochs=20",
    "seed=1",
]


def start(folder: Path, cache: Path, resume: bool) -> subprocess.Popen[bytes]:
    """Starts one run in its own process group."""
    where = f"resume={folder}" if resume else f"hydra.run.dir={folder}"
    return subprocess.Popen(
        command(*OVERRIDES, f"teacher.cache={cache}", where),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill_and_resume(base: Path, kills: int, seconds: float, rng: random.Random) -> int:
    """Runs until done, with up to ``kills`` kills on the way; returns their number."""
    done = 0
    process = start(base / "cut", base / "cut.sqlite", resume=False)
    while True:
        # Long enough to get somewhere: the start takes a third of this small run.
        moment = rng.uniform(0.12, 0.4) * seconds
        try:
            code = process.wait(timeout=moment if done < kills else None)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            done += 1
            status = base / "cut" / "status.json"
            found = json.loads(status.read_text()) if status.exists() else {}
            print(
                f"kill {done:2d} after {moment:5.1f} s, in round {found.get('round')}, "
                f"{found.get('phase')}",
                flush=True,
            )
            resumable = (base / "cut" / "manifest.json").exists()
            process = start(base / "cut", base / "cut.sqlite", resume=resumable)
            continue
        if code:
            sys.exit(f"the resumed run failed with exit code {code}")
        return done


def without_cost(line: dict[str, Any]) -> dict[str, Any]:
    """A line of metrics.jsonl without its seconds and spent tokens."""
    return {key: value for key, value in line.items() if key not in ("seconds", "spent_tokens")}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        began = time.monotonic()
        if start(base / "whole", base / "whole.sqlite", resume=False).wait():
            sys.exit("the undisturbed run failed")
        seconds = time.monotonic() - began
        kills = kill_and_resume(base, options.kills, seconds, random.Random(options.seed))

        whole, cut = (
            json.loads((base / name / "result.json").read_text()) for name in ("whole", "cut")
        )
        lines = [read_lines(base / name / "metrics.jsonl") for name in ("whole", "cut")]
        same = [without_cost(a) == without_cost(b) for a, b in zip(*lines, strict=True)]
        hashes = [one["pool_hash"] for one in (whole, cut)]
        billed = [one["tokens"]["billed"] for one in (whole, cut)]
        spent = [one["tokens"]["spent"] for one in (whole, cut)]
        print(f"undisturbed: {seconds:.0f} s; kills: {kills}")
        print(f"pool hash   {hashes[0][:16]} {hashes[1][:16]} same: {hashes[0] == hashes[1]}")
        print(f"after       {whole['after']} {cut['after']} same: {whole['after'] == cut['after']}")
        print(f"metrics     {sum(same)} of {len(same)} lines the same")
        print(
            f"tokens      billed {billed[0]:,} and {billed[1]:,}; spent {spent[0]:,} and "
            f"{spent[1]:,}"
        )
        print(
            f"extra       {spent[1] - spent[0]:+,} tokens in replies that arrived, without those "
            "in flight at a kill"
        )


if __name__ == "__main__":
    main()
