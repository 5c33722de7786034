"""Two runs and a sweep at once on one cache, and once more on the full cache."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

from tests.campaign.inputs import Inputs, environment_in
from tests.campaign.outcome import Outcome
from tests.helpers import tiny
from tests.helpers.multirun import command
from tests.helpers.warm_runs import Runs


def measure(inputs: Inputs, scratch: Path, count: int, rng: random.Random) -> Outcome:
    """Repeat ``count`` times: two runs (seeds 1 and 2) and a sweep (seeds 1 to 3) together."""
    outcome = Outcome("runs and sweeps on one cache pay for each request once and end as alone")
    runs = Runs()
    try:
        alone = {}
        for seed in (1, 2, 3):
            folder = scratch / f"alone-{seed}"
            folder.mkdir()
            runs.wait(runs.start(folder, "train", *_overrides(inputs, folder), f"seed={seed}"))
            alone[seed] = _hashes(folder)[seed]
        for number in range(count):
            faults = _together(runs, inputs, scratch / f"together-{number}", alone, outcome)
            outcome.add(faults, name=f"repeat {number}")
    finally:
        runs.close()
    return outcome


def _together(
    runs: Runs, inputs: Inputs, folder: Path, alone: dict[int, str], outcome: Outcome
) -> list[str]:
    folder.mkdir()
    overrides = _overrides(inputs, folder)
    sweep = subprocess.Popen(
        command(*overrides, "seed=1,2,3"),
        cwd=folder,
        env=environment_in(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    singles = [runs.start(folder, "train", *overrides, f"seed={seed}") for seed in (1, 2)]
    codes = [runs.wait(pid) for pid in singles]
    out, _ = sweep.communicate()
    faults = [f"exit codes {codes}"] if any(codes) else []
    if sweep.returncode:
        faults.append(f"the sweep ended with {sweep.returncode}: {out[-300:]}")
    asked = (folder / "asks").read_text().split()
    outcome.note("requests", len(asked))
    outcome.note("requests computed twice", len(asked) - len(set(asked)))
    if len(asked) != len(set(asked)):
        faults.append(f"{len(asked) - len(set(asked))} requests were computed twice")
    for path in folder.glob("**/result.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        if result["pool_hash"] != alone[result["seed"]]:
            faults.append(f"{path.parent} has another pool hash than the run alone")
    return faults


def _overrides(inputs: Inputs, folder: Path) -> list[str]:
    return [*inputs.classification(str(folder / "replies.sqlite"), delay=0.002), *tiny.EVOKD]


def _hashes(folder: Path) -> dict[int, str]:
    results = [json.loads(path.read_text()) for path in folder.glob("outputs/*/*/result.json")]
    return {result["seed"]: result["pool_hash"] for result in results}
