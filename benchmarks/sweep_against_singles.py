"""Question: does a disturbed sweep, started again, end with the results of single runs?

    python benchmarks/sweep_against_singles.py --folder FOLDER [--kill 23] [--fail 14]
        [-- OVERRIDES…]

Two methods, four ablations, three seeds: 24 jobs. First the sweep: job ``--kill`` is killed (``kill
-9``) during its work, and a file in the folder of job ``--fail`` makes that one fail. Then the same
command again, without the file. Then the 24 runs one by one. Sweep and single runs each have a
cache of replies of their own, empty at the start. FOLDER keeps everything; finished parts are not
timed again. Printed: seconds of both, the states of the jobs, and the number of equal results.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from runs import command, train

_METHODS, _ABLATIONS, _SEEDS = (
    ("evokd", "pgkd"),
    ("none", "no_analysis", "no_correct", "no_separation"),
    (1, 2, 3),
)
_SMALL = [
    "method.rounds=1",
    "method.n_hard=14",
    "method.n_easy=14",
    "training.start_epochs=10",
    "training.final_epochs=1",
]


def records(sweep: Path) -> list[dict[str, Any]]:
    """The records of a sweep's jobs."""
    return [json.loads(path.read_text()) for path in sorted(sweep.glob("jobs/*.json"))]


def process_of(run: Path) -> psutil.Process | None:
    """The process with a run's folder on its command line."""
    for process in psutil.process_iter(["cmdline"]):
        if f"hydra.run.dir='{run}'" in (process.info["cmdline"] or []):
            return process
    return None


def disturb(process: subprocess.Popen[bytes], sweep: Path, kill: int, fail: int) -> int:
    """Waits for a sweep, kills one of its jobs and makes another fail; returns its exit code."""
    while not sweep.is_dir():
        if process.poll() is not None:
            sys.exit(f"the sweep ended before its first job; see the log in {sweep.parents[1]}")
        time.sleep(0.1)
    (sweep / str(fail)).mkdir()
    (sweep / str(fail) / "pool").write_text("a file where a folder has to be\n")
    killed = False
    while process.poll() is None:
        time.sleep(0.5)
        # Round 0 is measured, round 1 under way.
        working = (sweep / str(kill) / "metrics.jsonl").exists()
        if not killed and working and (found := process_of(sweep / str(kill))):
            found.kill()
            killed = True
    return process.wait()


def sweep_twice(
    folder: Path, overrides: Sequence[str], kill: int, fail: int
) -> list[dict[str, Any]]:
    """Seconds, exit code and records of the disturbed sweep and of the repeated one."""
    kept = folder / "sweep.json"
    if not kept.exists():
        times = []
        for turn in ("first", "again"):
            sweep = folder / "sweep" / turn
            axes = [
                f"method={','.join(_METHODS)}",
                f"ablation={','.join(_ABLATIONS)}",
                f"seed={','.join(map(str, _SEEDS))}",
            ]
            cache = f"teacher.cache={folder / 'sweep.sqlite'}"
            whole = command(
                "-m", "sweep.name=sweep", f"hydra.sweep.dir={sweep}", cache, *axes, *overrides
            )
            began = time.monotonic()
            with (folder / f"sweep-{turn}.log").open("wb") as log:
                process = subprocess.Popen(whole, stdout=log, stderr=log, cwd=folder)
                code = disturb(process, sweep, kill, fail) if turn == "first" else process.wait()
            if turn == "first":
                (sweep / str(fail) / "pool").unlink()
            times.append(
                {"seconds": time.monotonic() - began, "code": code, "jobs": records(sweep)}
            )
        kept.write_text(json.dumps(times))
    found: list[dict[str, Any]] = json.loads(kept.read_text())
    return found


def singles(folder: Path, overrides: Sequence[str]) -> list[dict[str, Any]]:
    """Seconds and accuracy of each run by itself."""
    done = []
    for method, ablation, seed in itertools.product(_METHODS, _ABLATIONS, _SEEDS):
        kept = folder / "singles" / f"{method}-{ablation}-{seed}.json"
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            own = [
                f"method={method}",
                f"ablation={ablation}",
                f"seed={seed}",
                f"teacher.cache={folder / 'singles.sqlite'}",
            ]
            began = time.monotonic()
            result = train(kept.with_suffix(""), [*own, *overrides], quiet=True)
            seconds = time.monotonic() - began
            kept.write_text(json.dumps({"seconds": seconds, "score": result["after"]["accuracy"]}))
        done.append(json.loads(kept.read_text()))
    return done


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--kill", type=int, default=23)
    parser.add_argument("--fail", type=int, default=14)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    overrides = [*_SMALL, *options.overrides]
    times = sweep_twice(options.folder, overrides, options.kill, options.fail)
    for turn, one in zip(("first", "again"), times, strict=True):
        states = [job["state"] for job in one["jobs"]]
        before = sum(job["found"] == "done" for job in one["jobs"])
        print(
            f"{turn:5s}  {one['seconds']:6.0f} s   exit {one['code']}   "
            f"{states.count('done')} done, {before} of them before, "
            f"{states.count('failed')} failed"
        )
        for job in one["jobs"]:
            if job["state"] == "failed" or job["found"] == "unfinished":
                print(f"         job {job['number']}: {job['state']} {job['found']} {job['error']}")
    together = sum(one["seconds"] for one in times)
    alone = singles(options.folder, overrides)
    apart = sum(one["seconds"] for one in alone)
    same = sum(
        abs(job["score"] - one["score"]) < 1e-9
        for job, one in zip(times[1]["jobs"], alone, strict=True)
    )
    print(
        f"sweep  {together:6.0f} s, killed and failed jobs included;   "
        f"{len(alone)} single runs {apart:.0f} s;   ratio {together / apart:.2f}"
    )
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    print(
        f"{same} of {len(alone)} results are equal; load of the machine {load:.1f} on {cores} cores"
    )


if __name__ == "__main__":
    main()
