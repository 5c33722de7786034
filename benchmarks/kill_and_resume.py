"""Claim: a run that is killed (``kill -9``) at ten random moments and resumed ends with the undisturbed run's pool and metrics.

    python benchmarks/kill_and_resume.py [--kills 10] [--seed 0]

Two runs of one small configuration on the real engine, each with an empty cache of its own: one undisturbed, one killed and resumed until
it is done. Printed: pool hashes, metrics, and the tokens that the kills cost beyond the undisturbed run.
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

OVERRIDES = [
    "method.rounds=4",
    "method.n_hard=21",
    "method.n_easy=21",
    "training.start_epochs=20",
    "seed=1",
]


def start(folder: Path, cache: Path, resume: bool) -> subprocess.Popen[bytes]:
    """One run in a process group of its own."""
    command = [sys.executable, "-m", "tutelage.cli", "train", *OVERRIDES, f"teacher.cache={cache}"]
    command.append(f"resume={folder}" if resume else f"hydra.run.dir={folder}")
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        began = time.monotonic()
        if start(base / "whole", base / "whole.sqlite", resume=False).wait():
            sys.exit("the undisturbed run failed")
        seconds = time.monotonic() - began
        kills = 0
        process = start(base / "cut", base / "cut.sqlite", resume=False)
        while True:
            # Long enough to get somewhere: a start takes a third of this small run.
            moment = rng.uniform(0.12, 0.4) * seconds
            try:
                code = process.wait(timeout=moment if kills < options.kills else None)
                if code:
                    sys.exit(f"the resumed run failed with exit code {code}")
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
                status = (
                    json.loads((base / "cut" / "status.json").read_text())
                    if (base / "cut" / "status.json").exists()
                    else {}
                )
                print(
                    f"kill {kills:2d} after {moment:5.1f} s, in round {status.get('round')}, {status.get('phase')}",
                    flush=True,
                )
                resumable = (base / "cut" / "manifest.json").exists()
                process = start(base / "cut", base / "cut.sqlite", resume=resumable)
        whole, cut = (
            json.loads((base / name / "result.json").read_text()) for name in ("whole", "cut")
        )
        lines = [
            (base / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "cut")
        ]
        same_lines = [
            {
                key: value
                for key, value in json.loads(one).items()
                if key not in ("seconds", "spent_tokens")
            }
            == {
                key: value
                for key, value in json.loads(other).items()
                if key not in ("seconds", "spent_tokens")
            }
            for one, other in zip(*lines, strict=True)
        ]
        print(f"undisturbed: {seconds:.0f} s; kills: {kills}")
        print(
            f"pool hash   {whole['pool_hash'][:16]} {cut['pool_hash'][:16]} same: {whole['pool_hash'] == cut['pool_hash']}"
        )
        print(f"after       {whole['after']} {cut['after']} same: {whole['after'] == cut['after']}")
        print(f"metrics     {sum(same_lines)} of {len(same_lines)} lines the same")
        spent = whole["tokens"]["spent"], cut["tokens"]["spent"]
        print(
            f"tokens      billed {whole['tokens']['billed']:,} and {cut['tokens']['billed']:,}; spent {spent[0]:,} and {spent[1]:,}"
        )
        print(
            f"extra       {spent[1] - spent[0]:+,} tokens in the replies that arrived; requests in flight at a kill are not counted by it"
        )


if __name__ == "__main__":
    main()
