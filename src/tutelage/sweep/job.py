"""One job of a sweep: a run in a fresh process, or a finished run of an earlier sweep."""

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
from tutelage.runs.folder import REPORT, RunFolder, holds_run, is_closed, new_folder
from tutelage.runs.manifest import config_hash
from tutelage.sweep.record import JobRecord, SweepFolder


def do_job(
    config: RunConfig, sweep: SweepFolder, number: int, overrides: Sequence[str]
) -> JobRecord:
    """Does a job of ``sweep``, or finds its run in an earlier sweep of the same name.

    The folder of a found run is linked into this sweep's folder; an unfinished one is resumed.

    Args:
        config: The configuration of the job.
        sweep: The folder of the sweep.
        number: Hydra's number of the job.
        overrides: The job's overrides as typed.

    Returns:
        The job's final record, which is also on disk.

    Raises:
        KeyboardInterrupt: The user stopped the sweep, and the run has ended in a resumable state.
    """
    overrides = _of_the_run(overrides)

    # Look for the same configuration in earlier sweeps of this name.
    key = config_hash(config.source)
    earlier = sweep.earlier(key) if config.sweep.reuse else None
    own = _own_folder(sweep, number, earlier)
    record = JobRecord(number, overrides, key, own.name, "running", began=time.time())
    if earlier is not None:
        whole = (earlier / "result.json").is_file() and is_closed(RunFolder(earlier), REPORT)
        found = "done" if whole else "unfinished"
        record = replace(record, folder=os.path.relpath(earlier, sweep.path), found=found)

    # After a failure a fail-fast sweep starts nothing new; a finished run is still found.
    if (
        record.found != "done"
        and config.sweep.fail_fast
        and any(job.state == "failed" for job in sweep.jobs())
    ):
        record = replace(record, state="left out", ended=time.time())
    elif earlier is not None and earlier != own:
        _link(own, earlier)
    sweep.write(record)

    # Run or resume it; the record stays readable for the board in between.
    if record.state == "running":
        code = (
            0
            if record.found == "done"
            else _run(record, sweep, resume=record.found == "unfinished")
        )
        record = _ended(record, sweep, code)
        if record.state == "done":
            record = replace(record, score=_score(sweep.run_of(record), config.sweep.metric))
        sweep.write(record)
    return record


def _own_folder(sweep: SweepFolder, number: int, earlier: Path | None) -> Path:
    """The job's folder in this sweep.

    A sweep's folder that the user names may be used again: a run of another configuration in it
    keeps its folder, and the job's gets a number more.
    """
    own = sweep.path / str(number)
    if own.is_symlink():
        own.unlink()
    return new_folder(own) if own != earlier and holds_run(own) else own


def refuse_job(
    sweep: SweepFolder, number: int, overrides: Sequence[str], error: ConfigError
) -> JobRecord:
    """Writes the record of a job with a wrong configuration; the other jobs go on."""
    now = time.time()
    record = JobRecord(
        number,
        _of_the_run(overrides),
        "",
        str(number),
        "failed",
        began=now,
        ended=now,
        code=error.exit_code,
        error=" ".join(str(error).split()),
    )
    sweep.write(record)
    return record


def _of_the_run(overrides: Sequence[str]) -> tuple[str, ...]:
    """The overrides without those of the sweep."""
    own = ("sweep=", "sweep.", "resume=")
    return tuple(one for one in overrides if not one.lstrip("+~").startswith(own))


def _score(run: Path, metric: str | None) -> float | None:
    """A metric of a finished run on test; None without a result or such a metric.

    A ``metric`` of None means the first headline metric.
    """
    result = RunFolder(run).read_json("result.json")
    if result is None:
        return None
    score: float | None = result["after"].get(metric or result["metrics"][0]["key"])
    return score


def _run(record: JobRecord, sweep: SweepFolder, *, resume: bool) -> int:
    """Runs the job's process, with its output in console.log, and returns the exit code."""
    folder = sweep.run_of(record)
    folder.mkdir(parents=True, exist_ok=True)
    where = f"{'resume' if resume else 'hydra.run.dir'}={as_value(folder)}"
    with (folder / "console.log").open("ab") as log:
        # A session of its own: otherwise Ctrl-C would reach the run twice, once through us, and the
        # second signal ends it at once.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tutelage.cli", "train", *record.overrides, where],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, FOLLOWED: str(os.getpid())},
        )
        interrupted = False
        while True:
            try:
                code = process.wait()
            except KeyboardInterrupt:
                # Passed on: the first one ends the run in a resumable state, the second at once.
                interrupted = True
                process.send_signal(signal.SIGINT)
                continue
            if interrupted:
                sweep.write(_ended(record, sweep, 130))
                raise KeyboardInterrupt
            return code


def _ended(record: JobRecord, sweep: SweepFolder, code: int) -> JobRecord:
    """The record of a job after its process has ended."""
    folder = RunFolder(sweep.run_of(record))
    result = folder.read_json("result.json")
    manifest = folder.read_json("manifest.json") or {}
    # Done, but is it the run of this job?
    if code == 0 and manifest.get("config_hash") != record.config_hash:
        error = (
            "the run had another configuration than the sweep's job: a file of conf/sweep may set "
            "only sweep and hydra.sweeper.params"
        )
        return replace(
            record, state="failed", ended=time.time(), code=ConfigError.exit_code, error=error
        )
    if code == 0 and result is not None:
        return replace(record, state="done", ended=time.time(), tokens=result["tokens"]["billed"])

    # Failed: find the reason, from the signal, the run's status or its last line of output.
    status = folder.read_json("status.json") or {}
    if code < 0:
        name = signal.Signals(-code).name
        error = f"its process was killed (signal {-code}, {name}); the same sweep continues it"
    else:
        # A process that dies early leaves the status of an earlier attempt, which is not its own.
        reported = (
            status.get("error")
            if status.get("state", "running") != "running" and _since(status, record.began)
            else ""
        )
        error = reported or _last_line(folder / "console.log") or f"exit code {code}"
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
    """Makes the job's folder in this sweep a link to the earlier run."""
    if own.exists():
        if any(own.iterdir()):
            raise RunError(
                f"{own} is not empty, so it cannot become a link to {earlier}. Start the sweep "
                "again."
            )
        shutil.rmtree(own)
    own.symlink_to(os.path.relpath(earlier, own.parent))
