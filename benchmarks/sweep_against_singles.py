"""Claim: a sweep of 24 jobs, of which one is killed and one fails, is whole after the same command again, with the results of 24 single runs.

    python benchmarks/sweep_against_singles.py --folder FOLDER [--kill 23] [--fail 14] [-- OVERRIDES…]

Two methods, four ablations, three seeds. First the sweep: job ``--kill`` is killed (``kill -9``) while it works; into the folder that job
``--fail`` is to have, a file is put that cannot be there. Then the same command again, with that file removed. Then the 24 runs one by one, as
24 commands. Sweep and singles have a teacher's cache each, empty at the start and shared by its runs. FOLDER keeps everything; what is in it
already is not timed again. Printed: seconds of both, the jobs' states, and how many results agree.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

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


def command(*words: str) -> list[str]:
    """A command line of the program."""
    return [sys.executable, "-m", "tutelage.cli", "train", *words]


def records(sweep: Path) -> list[dict[str, Any]]:
    """What a sweep has written down of its jobs."""
    return [json.loads(path.read_text()) for path in sorted(sweep.glob("jobs/*.json"))]


def process_of(run: Path) -> psutil.Process | None:
    """The process whose command line names a run's folder."""
    for process in psutil.process_iter(["cmdline"]):
        if f"hydra.run.dir='{run}'" in (process.info["cmdline"] or []):
            return process
    return None


def spoilt(process: subprocess.Popen[bytes], sweep: Path, kill: int, fail: int) -> int:
    """Wait for a sweep, and spoil two of its jobs; its exit code."""
    while not sweep.is_dir():
        if process.poll() is not None:
            sys.exit(f"the sweep ended before it began; its words are beside {sweep.parent}")
        time.sleep(0.1)
    (sweep / str(fail)).mkdir()
    (sweep / str(fail) / "pool").write_text("a file where a folder has to be\n")
    killed = False
    while process.poll() is None:
        time.sleep(0.5)
        working = (
            sweep / str(kill) / "metrics.jsonl"
        ).exists()  # round 0 is measured, round 1 under way
        if not killed and working and (found := process_of(sweep / str(kill))):
            found.kill()
            killed = True
    return process.wait()


def sweep_twice(folder: Path, words: list[str], kill: int, fail: int) -> list[dict[str, Any]]:
    """The sweep and its second time; for each the seconds, the exit code and the jobs' records."""
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
                "-m", "sweep.name=sweep", f"hydra.sweep.dir={sweep}", cache, *axes, *words
            )
            began = time.monotonic()
            with (folder / f"sweep-{turn}.log").open("wb") as log:
                process = subprocess.Popen(whole, stdout=log, stderr=log, cwd=folder)
                code = spoilt(process, sweep, kill, fail) if turn == "first" else process.wait()
            if turn == "first":
                (sweep / str(fail) / "pool").unlink()
            times.append(
                {"seconds": time.monotonic() - began, "code": code, "jobs": records(sweep)}
            )
        kept.write_text(json.dumps(times))
    found: list[dict[str, Any]] = json.loads(kept.read_text())
    return found


def singles(folder: Path, words: list[str]) -> list[dict[str, Any]]:
    """Seconds and result of each run by itself."""
    done = []
    for method, ablation, seed in itertools.product(_METHODS, _ABLATIONS, _SEEDS):
        kept = folder / "singles" / f"{method}-{ablation}-{seed}.json"
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            run = kept.with_suffix("")
            own = [
                f"method={method}",
                f"ablation={ablation}",
                f"seed={seed}",
                f"teacher.cache={folder / 'singles.sqlite'}",
            ]
            began = time.monotonic()
            subprocess.run(
                command(*own, *words, f"hydra.run.dir={run}"), check=True, capture_output=True
            )
            seconds = time.monotonic() - began
            kept.write_text(
                json.dumps(
                    {
                        "seconds": seconds,
                        "score": json.loads((run / "result.json").read_text())["after"]["accuracy"],
                    }
                )
            )
        done.append(json.loads(kept.read_text()))
    return done


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--kill", type=int, default=23)
    parser.add_argument("--fail", type=int, default=14)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    words = [*_SMALL, *options.overrides]
    times = sweep_twice(options.folder, words, options.kill, options.fail)
    for turn, one in zip(("first", "again"), times, strict=True):
        states = [job["state"] for job in one["jobs"]]
        print(
            f"{turn:5s}  {one['seconds']:6.0f} s   exit {one['code']}   {states.count('done')} done, {states.count('failed')} failed",
            end="",
        )
        print(f", {sum(job['found'] == 'done' for job in one['jobs'])} of them done before")
        for job in one["jobs"]:
            if job["state"] == "failed" or job["found"] == "unfinished":
                print(f"         job {job['number']}: {job['state']} {job['found']} {job['error']}")
    together = sum(one["seconds"] for one in times)
    alone = singles(options.folder, words)
    apart = sum(one["seconds"] for one in alone)
    same = sum(
        abs(job["score"] - one["score"]) < 1e-9
        for job, one in zip(times[1]["jobs"], alone, strict=True)
    )
    print(
        f"sweep  {together:6.0f} s, with what was killed and failed;   {len(alone)} single runs {apart:.0f} s;   ratio {together / apart:.2f}"
    )
    print(
        f"{same} of {len(alone)} results are the same; load of the machine {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores"
    )


if __name__ == "__main__":
    main()
