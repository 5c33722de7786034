"""Mirrors a run to wandb from a process of its own, so that the run neither imports wandb nor waits for it.

The run's folder is the truth; the other process reads it (:mod:`tutelage.tracking.wandb_child`). What goes wrong there becomes one line
of warning here.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tutelage.runs.manifest import looks_secret

_LOG = logging.getLogger(__name__)
_NICE = 19


class WandbMirror:
    """A context around a run: while it is open, the run's folder is mirrored.

    Args:
        online: send it to the service while the run goes on; otherwise it is kept below the run's folder, for ``wandb sync``.
        project, entity: where to; entity None is the account's own.
        table_rows: lines of a round's table of mistakes, at most.
        pool_mb: pools up to this size are hashed for their versions, larger ones are only named.
        wait: seconds that the end of a run may take for the last of it.
        folder: the run's.
        resume: go on with the wandb run that the folder has; otherwise a new one begins.
    """

    def __init__(
        self,
        online: bool,
        project: str,
        entity: str | None,
        table_rows: int,
        pool_mb: float,
        wait: float,
        folder: Path,
        resume: bool,
    ) -> None:
        self._online = online
        self._settings = {
            "online": online,
            "project": project,
            "entity": entity,
            "table_rows": table_rows,
            "pool_mb": pool_mb,
            "wait": wait,
        }
        self._wait = wait
        self._folder = folder
        self._resume = resume
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> WandbMirror:
        """Start the other process; the run does not wait for it."""
        own = self._folder / "wandb"
        try:
            own.mkdir(parents=True, exist_ok=True)
            if not self._resume:
                (own / "mirror.json").unlink(missing_ok=True)
            with (own / "mirror.log").open("wb") as log:
                self._process = subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "tutelage.tracking.wandb_child",
                        str(self._folder),
                        json.dumps(self._settings),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._environment(own),
                    # A Ctrl-C is the run's; this process hears of it when the run has ended. Not a session of its own: between
                    # sessions Linux shares the processors evenly, whatever their niceness (sched_autogroup).
                    process_group=0,
                )
            # What the run computes comes first.
            os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICE)
        except OSError as error:
            self._warn(f"its process could not be started: {error}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tell the other process that the run has ended, and give it a while to finish."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            if process.wait(3 * self._wait):
                message = (
                    (self._folder / "wandb" / "mirror.log")
                    .read_text(encoding="utf-8", errors="replace")
                    .strip()
                    .splitlines()
                )
                self._warn(message[-1] if message else f"exit code {process.returncode}")
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as ended:
            # A Ctrl-C here is of somebody who has waited enough: the run itself is over.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            late = f"it was not finished after {3 * self._wait:.0f} seconds (logger.wait={self._wait:g})"
            self._warn("it was stopped" if isinstance(ended, KeyboardInterrupt) else late)

    def _environment(self, own: Path) -> dict[str, str]:
        """This process's environment without its secrets but wandb's own and the way out, where it goes online; its files stay in the run's folder."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not looks_secret(name, value)
            or (self._online and (name.startswith("WANDB_") or name.lower().endswith("_proxy")))
        }
        indices = {name: str(own / "cache") for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR")}
        return {**kept, **indices, "WANDB_ERROR_REPORTING": "false"}

    def _warn(self, what: str) -> None:
        _LOG.warning(
            "The wandb mirror of this run is not whole: %s. The run itself is (%s); `wandb sync` sends what wandb/ holds.",
            what,
            self._folder,
        )
