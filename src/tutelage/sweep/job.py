"""One job of a sweep: a run in a fresh process, or the one that an earlier time of the sweep has done already."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from tutelage.config.schema import RunConfig
from tutelage.errors import ConfigError, RunError
from tutelage.interruption import FOLLOWED
from tutelage.launch import as_value
from tutelage.runs.folder import RunFolder
from tutelage.runs.manifest import config_hash
from tutelage.sweep.record import JobRecord, SweepFolder


def do_job(
    config: RunConfig, sweep: SweepFolder, number: int, overrides: Sequence[str]
) -> JobRecord:
    """Do a job of ``sweep``, or find it done; its folder there is a link where the run lies in an earlier time's folder.

    Args:
        config: the job's whole configuration.
        words: its overrides.

    Raises:
        KeyboardInterrupt: the user stopped the sweep; the run has been told, and has ended where it can be resumed.
    """
    own = sweep.path / str(number)
    overrides = tuple(
        override
        for override in overrides
        if not override.lstrip("+~").startswith(("sweep=", "sweep.", "resume="))
    )
    key = config_hash(config.source)
    record = JobRecord(number, overrides, key, own.name, "running", began=time.time())
    earlier = sweep.earlier(key) if config.sweep.reuse else None
    if earlier is not None:
        found = "done" if (earlier / "result.json").is_file() else "unfinished"
        record = replace(record, folder=os.path.relpath(earlier, sweep.path), found=found)
    if (
        record.found != "done"
        and config.sweep.fail_fast
        and any(job.state == "failed" for job in sweep.jobs())
    ):
        record = replace(record, state="left out", ended=time.time())
    elif earlier is not None and earlier != own:
        _link(own, earlier)
    sweep.write(record)
    if record.state == "running":
        code = (
            0
            if record.found == "done"
            else _run(record, sweep, resume=record.found == "unfinished")
        )
        record = _ended(record, sweep, code)
        record = replace(record, score=_score(sweep.run_of(record), config.sweep.metric))
        sweep.write(record)
    return record


def _score(run: Path, metric: str | None) -> float | None:
    """A metric of a finished run on test, its first one where ``metric`` is None; None where there is no result, or none of that name."""
    result = RunFolder(run).read_json("result.json")
    if result is None:
        return None
    score: float | None = result["after"].get(metric or result["metrics"][0]["key"])
    return score


def _run(record: JobRecord, sweep: SweepFolder, *, resume: bool) -> int:
    """The exit code of the run's process; what it prints is in the run's console.log."""
    folder = sweep.run_of(record)
    folder.mkdir(parents=True, exist_ok=True)
    where = f"{'resume' if resume else 'hydra.run.dir'}={as_value(folder)}"
    with (folder / "console.log").open("ab") as log:
        # A session of its own: the terminal's Ctrl-C would reach it beside ours, and a run that is told twice ends at once.
        process = subprocess.Popen(
            [sys.executable, "-m", "tutelage.cli", "train", *record.overrides, where],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, FOLLOWED: str(os.getpid())},
        )
        asked = False
        while True:
            try:
                code = process.wait()
            except KeyboardInterrupt:
                # Each one is handed on: the run ends where it can be resumed at the first, and at once at the second.
                asked = True
                process.send_signal(signal.SIGINT)
                continue
            if asked:
                sweep.write(_ended(record, sweep, 130))
                raise KeyboardInterrupt
            return code


def _ended(record: JobRecord, sweep: SweepFolder, code: int) -> JobRecord:
    """The record of a job whose process is gone."""
    folder = RunFolder(sweep.run_of(record))
    result = folder.read_json("result.json")
    manifest = folder.read_json("manifest.json") or {}
    if code == 0 and manifest.get("config_hash") != record.config_hash:
        error = "the run was done with another configuration than the sweep's: a file of conf/sweep may set nothing but sweep and hydra.sweeper.params"
        return replace(
            record, state="failed", ended=time.time(), code=ConfigError.exit_code, error=error
        )
    if code == 0 and result is not None:
        return replace(record, state="done", ended=time.time(), tokens=result["tokens"]["billed"])
    status = folder.read_json("status.json") or {}
    if code < 0:
        error = f"its process was killed (signal {-code}, {signal.Signals(-code).name}); the same sweep goes on with it"
    else:
        # A process that died before it wrote anything leaves the words of the time before.
        said = (
            status.get("error")
            if status.get("state", "running") != "running" and _since(status, record.began)
            else ""
        )
        error = said or _last_line(folder / "console.log") or f"exit code {code}"
    return replace(
        record,
        state="failed",
        ended=time.time(),
        code=max(1, code),
        error=" ".join(str(error).split()),
    )


def _since(status: dict[str, Any], began: float) -> bool:
    return datetime.fromisoformat(status["updated"]).timestamp() >= int(began)


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
    return next((line.removeprefix("tutelage: ") for line in reversed(lines) if line.strip()), "")


def _link(own: Path, earlier: Path) -> None:
    """Let the job's folder in this sweep be the earlier run's."""
    if own.is_symlink():
        own.unlink()
    elif own.exists():
        if any(own.iterdir()):
            raise RunError(
                f"{own} is not empty, so it cannot become a link to {earlier}. Start the sweep again."
            )
        shutil.rmtree(own)
    own.symlink_to(os.path.relpath(earlier, own.parent))
