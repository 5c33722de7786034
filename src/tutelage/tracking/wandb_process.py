"""Starts the process that mirrors a run to wandb.

The run thus neither imports wandb nor waits for it. The run's folder is the source of truth, and
the other process only reads it (:mod:`tutelage.tracking.wandb_child`). Errors there become one line
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

from tutelage.runs.sensitive import looks_secret

_LOG = logging.getLogger(__name__)
_NICE = 19


class WandbMirror:
    """Context manager that mirrors a run's folder to Weights & Biases while it is open.

    Args:
        online: Send the data to the service during the run. If false, they stay in wandb/ below the
            run's folder until ``wandb sync`` sends them.
        project: The wandb project.
        entity: The user or team that owns the project; None takes the default of the account.
        table_rows: Maximal number of lines in each round's table of mistakes.
        pool_mb: Size of the pool in MiB up to which each version is hashed; larger pools are only
            named. The pool itself is never copied or sent.
        wait: Seconds that wandb may take to start, and to finish. At its end the run waits for at
            most three times as long.
        folder: The run's folder; passed by the program, not a setting.
        resume: Continue the wandb run recorded in the folder instead of starting a new one; passed
            by the program, not a setting.
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
        """Start the other process, without waiting for it."""
        own = self._folder / "wandb"
        try:
            own.mkdir(parents=True, exist_ok=True)
            if not self._resume:
                # Forget the wandb run of an earlier execution in this folder.
                (own / "mirror.json").unlink(missing_ok=True)
            with (own / "mirror.log").open("wb") as log:
                self._process = subprocess.Popen(
                    [
                        sys.executable,
                        "-P",  # no module of the working folder
                        "-m",
                        "tutelage.tracking.wandb_child",
                        str(self._folder),
                        json.dumps(self._settings),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._environment(own),
                    # Ctrl-C is meant for the run, whose end reaches this process through stdin.
                    # A new session would defeat the niceness: Linux shares the processors evenly
                    # between sessions (sched_autogroup).
                    process_group=0,
                )
            # The run's own computations take precedence.
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
        """Signal the end of the run to the other process, and wait for it to finish."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        with suppress(OSError):
            # Closing stdin tells the other process that the run has ended.
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
            # Ctrl-C at this point stops only the waiting: the run itself is over.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            late = (
                f"it was not finished after {3 * self._wait:.0f} seconds "
                f"(logger.wandb.wait={self._wait:g})"
            )
            self._warn("it was stopped" if isinstance(ended, KeyboardInterrupt) else late)

    def _environment(self, own: Path) -> dict[str, str]:
        """Return this process's environment without its secrets.

        Online, wandb's own variables and the proxy settings stay. wandb's files go to the run's
        folder.
        """
        # Nothing secret reaches the process, unless wandb itself needs it online.
        kept = {
            name: value
            for name, value in os.environ.items()
            if not looks_secret(name, value)
            or (self._online and (name.startswith("WANDB_") or name.lower().endswith("_proxy")))
        }
        caches = {name: str(own / "cache") for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR")}
        return {**kept, **caches, "WANDB_ERROR_REPORTING": "false"}

    def _warn(self, problem: str) -> None:
        _LOG.warning(
            "The wandb mirror of this run is incomplete: %s. The run itself is unaffected (%s); "
            "`wandb sync` sends the contents of wandb/.",
            problem,
            self._folder,
        )
