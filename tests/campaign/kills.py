"""Kills runs (``kill -9``) at chosen file operations, resumes them, and compares the folders."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tests.campaign.folders import differences
from tests.campaign.inputs import Inputs
from tests.campaign.outcome import Outcome
from tests.helpers.warm_runs import Runs


def measure(inputs: Inputs, scratch: Path, count: int, rng: random.Random) -> Outcome:
    """Kill ``count`` runs, each at one operation; every third one a second time in its resume."""
    outcome = Outcome("a run killed anywhere and resumed has the folder of an undisturbed one")
    runs = Runs()
    try:
        undisturbed, operations = {}, {}
        for name, overrides in inputs.runs().items():
            folder = scratch / name / "undisturbed"
            folder.mkdir(parents=True)
            code = runs.wait(runs.start(folder, "train", *overrides, STOP_AT="0"))
            if code:
                raise SystemExit(f"{name}: {(folder / 'printed.txt').read_text()}")
            undisturbed[name] = _run_folder(folder)
            operations[name] = int((folder / "operations").read_text())
            outcome.note(f"file operations of {name}", operations[name])
        for number in range(count):
            name = sorted(undisturbed)[number % len(undisturbed)]
            at = rng.randint(1, operations[name])
            again = rng.randint(1, 30) if number % 3 == 2 else 0
            folder = scratch / name / f"killed-{number}"
            folder.mkdir()
            faults = _kill_and_resume(
                runs, folder, inputs.runs()[name], at, again, undisturbed[name], outcome
            )
            outcome.add(faults, name=f"{name}, killed at operation {at} (again at {again})")
    finally:
        runs.close()
    return outcome


def _kill_and_resume(
    runs: Runs,
    folder: Path,
    overrides: list[str],
    at: int,
    again: int,
    undisturbed: Path,
    outcome: Outcome,
) -> list[str]:
    code = runs.wait(runs.start(folder, "train", *overrides, STOP_AT=str(at)))
    if code != -9:
        return [f"it was not killed, exit code {code}"]
    # Before the folder exists there is nothing to resume, and the plain command begins.
    begun = any(folder.glob("outputs/*/*"))
    resume = ["resume=true"] if begun else []
    outcome.note("killed before the folder existed", not begun)
    if again and begun:
        runs.wait(runs.start(folder, "train", *overrides, *resume, STOP_AT=str(again)))
    code = runs.wait(runs.start(folder, "train", *overrides, *resume))
    if code:
        printed = (folder / "printed.txt").read_text().strip().splitlines()
        return [f"resume ended with exit code {code}: {printed[-1] if printed else ''}"]
    asked = (folder / "asks").read_text().split()
    outcome.note("requests", len(asked))
    outcome.note("requests computed twice", len(asked) - len(set(asked)))
    state = json.loads((_run_folder(folder) / "status.json").read_text())["state"]
    faults = [] if state == "done" else [f"status.json says {state}"]
    return faults + differences(_run_folder(folder), undisturbed)


def _run_folder(folder: Path) -> Path:
    found = [path for path in folder.glob("outputs/*/*") if path.is_dir()]
    if len(found) != 1:
        raise SystemExit(f"{folder} holds {len(found)} runs: {found}")
    return found[0]
