"""Runs on a disk that fills up, resumed once there is room."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
from pathlib import Path

from tests.campaign.inputs import Inputs, environment_in
from tests.campaign.outcome import Outcome
from tests.helpers import tiny
from tests.helpers.warm_runs import Runs


def measure(inputs: Inputs, scratch: Path, count: int, rng: random.Random) -> Outcome:
    """Try ``count`` limits, from one that stops the first file to one that nearly suffices.

    Where this process may mount a file system, the limit is the size of a disk in memory;
    elsewhere it is the largest size of a file.
    """
    outcome = Outcome("on a full disk a run says so, keeps what was answered, and resumes")
    runs = Runs()
    try:
        whole = scratch / "whole"
        whole.mkdir()
        code = runs.wait(runs.start(whole, "train", *_overrides(inputs)))
        if code:
            raise SystemExit((whole / "printed.txt").read_text())
        wanted = _result(whole)["pool_hash"]
        size = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
        disks = _can_mount(scratch)
        outcome.note("with a real disk", int(disks))
        for number in range(count):
            share = (number + 1) / (count + 1)
            folder = scratch / f"disk-{number}"
            folder.mkdir()
            attempt = _on_disk if disks else _with_limit
            outcome.add(attempt(inputs, folder, int(size * share), wanted), name=f"{share:.0%}")
    finally:
        runs.close()
    return outcome


def _on_disk(inputs: Inputs, folder: Path, size: int, wanted: str) -> list[str]:
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={max(size, 4096)}", "tmpfs", str(folder)], check=True
    )
    try:
        code, printed = _train(inputs, folder, None)
        if code == 0:
            return []
        faults = _told(code, printed)
        subprocess.run(["mount", "-o", "remount,size=1G", str(folder)], check=True)
        return faults + _resumed(inputs, folder, wanted)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _with_limit(inputs: Inputs, folder: Path, size: int, wanted: str) -> list[str]:
    code, printed = _train(inputs, folder, size // 4)
    return [] if code == 0 else _told(code, printed) + _resumed(inputs, folder, wanted)


def _told(code: int, printed: str) -> list[str]:
    if "Traceback" in printed or code not in (2, 5, 7):
        return [f"exit code {code}: {printed[-300:]}"]
    return []


def _resumed(inputs: Inputs, folder: Path, wanted: str) -> list[str]:
    begun = any(folder.glob("outputs/*/*/config.yaml"))
    code, printed = _train(inputs, folder, None, *(["resume=true"] if begun else []))
    if code:
        return [f"resume ended with {code}: {printed[-300:]}"]
    result = _result(folder)
    return [] if result["pool_hash"] == wanted else ["another pool hash after the resume"]


def _train(inputs: Inputs, folder: Path, limit: int | None, *more: str) -> tuple[int, str]:
    def lower() -> None:
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-m", "tutelage.cli", "train", *_overrides(inputs), *more],
        cwd=folder,
        env=environment_in(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lower,
        check=False,
    )
    return done.returncode, done.stdout


def _overrides(inputs: Inputs) -> list[str]:
    return [*inputs.classification(), *tiny.EVOKD]


def _result(folder: Path) -> dict[str, str]:
    (path,) = folder.glob("outputs/*/*/result.json")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _can_mount(scratch: Path) -> bool:
    folder = scratch / "mount"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode == 0:
        subprocess.run(["umount", str(folder)], check=True)
    return done.returncode == 0
