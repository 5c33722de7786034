"""Sweeps that are killed or stopped, and started again."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path

from tests.campaign.folders import differences
from tests.campaign.inputs import Inputs, environment_in
from tests.campaign.outcome import Outcome
from tests.helpers import tiny
from tests.helpers.multirun import command

SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)


def measure(inputs: Inputs, scratch: Path, count: int, rng: random.Random) -> Outcome:
    """Stop ``count`` sweeps of two seeds at random moments, and run each again."""
    outcome = Outcome("a sweep stopped at any moment and started again has the runs of a whole one")
    whole = scratch / "whole"
    began = time.monotonic()
    process = _start(inputs, whole)
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(out)
    seconds = time.monotonic() - began
    for number in range(count):
        folder = scratch / f"stopped-{number}"
        moment, sent = rng.uniform(0.1, 0.95) * seconds, SIGNALS[number % len(SIGNALS)]
        process = _start(inputs, folder)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.send_signal(sent)
        process.communicate()
        _until_quiet(folder)
        process = _start(inputs, folder)
        out, _ = process.communicate()
        faults = [f"exit code {process.returncode}: {out[-300:]}"] if process.returncode else []
        asked = (folder / "asks").read_text().split()
        outcome.note("requests", len(asked))
        outcome.note("requests computed twice", len(asked) - len(set(asked)))
        faults += _compare(folder, whole)
        outcome.add(faults, name=f"{sent.name} after {moment:.1f} of {seconds:.1f} s")
    return outcome


def _compare(folder: Path, whole: Path) -> list[str]:
    mine, other = _runs(folder), _runs(whole)
    if mine.keys() != other.keys():
        return [f"finished seeds {sorted(mine)}, not {sorted(other)}"]
    return [
        f"seed {seed}: {line}"
        for seed in sorted(other)
        for line in differences(mine[seed], other[seed])
    ]


def _runs(folder: Path) -> dict[int, Path]:
    """The finished run of each seed, in whichever sweep folder it ended."""
    found = {}
    for path in sorted(folder.glob("multirun_sweeps/mine/*/*/result.json")):
        found[json.loads(path.read_text(encoding="utf-8"))["seed"]] = path.parent
    return found


def _start(inputs: Inputs, folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    overrides = [
        *inputs.classification(delay=0.005),
        *tiny.EVOKD,
        "seed=1,2",
    ]
    return subprocess.Popen(
        command(*overrides),
        cwd=folder,
        env=environment_in(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _until_quiet(folder: Path) -> None:
    """A job may outlive its killed sweep by a moment."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        alive = any(
            str(folder).encode() in path.read_bytes()
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if path.exists()
        )
        if not alive:
            return
        time.sleep(0.2)
