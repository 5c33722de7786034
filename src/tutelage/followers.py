"""Starts and ends the processes that follow rank 0 in a fit on several devices.

Each one is ``python -m tutelage.follow``. Its order comes through its standard input, which closes
when the run's process is gone, after ``kill -9`` too; the follower ends then. It opens no run
folder, and what it prints is shown only where it fails. Its standard output says when it is ready:
a process that dies before would keep the others waiting.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from tutelage.config.devices import device_count
from tutelage.config.schema import RunConfig
from tutelage.errors import ConfigError, RunError, TutelageError
from tutelage.interruption import FOLLOWED
from tutelage.ranks import Ranks
from tutelage.records import Row
from tutelage.tasks.protocol import Task

_END_SECONDS = 30.0
"""How long a follower may take to end by itself after a fit."""
_DEATH_SECONDS = 5.0
"""How long after a broken message a follower's end is looked for."""


def check_started_alone(devices: int, environment: Mapping[str, str] = os.environ) -> None:
    """Refuses a launcher that starts one process per device, as this module does itself.

    Args:
        devices: Number of the student's devices.
        environment: Environment variables.

    Raises:
        ConfigError: There are several devices, and another launcher has started several processes.
    """
    for name, launcher in (("TORCHELASTIC_RUN_ID", "torchrun"), ("SLURM_STEP_NUM_TASKS", "srun")):
        if devices > 1 and environment.get(name, "1") != "1":
            raise ConfigError(
                f"{launcher} starts a process for each device, and so does a run with "
                f"trainer.devices={devices}: each would be a run of its own. Start it once, "
                "without torchrun and with one task of Slurm (--ntasks=1)."
            )


@dataclass(frozen=True, slots=True)
class Order:
    """The message that a follower starts with.

    Attributes:
        config: The configuration.
        task: The task, with the labels of the data.
        source: The setting behind the first rows, for the training view.
        rows: The pool's rows at the beginning of the fit.
        checkpoint: The checkpoint that the fit goes on from, or None.
        port: Port at which rank 0 waits.
        rank: The follower's rank.
    """

    config: RunConfig
    task: Task
    source: str
    rows: Sequence[Row]
    checkpoint: Path | None
    port: int
    rank: int = 0

    @property
    def ranks(self) -> Ranks:
        """The follower's place among the processes."""
        return Ranks(self.rank, device_count(self.config.trainer))


class Followers:
    """Context of a fit, with a process for each device but the first.

    Args:
        order: Their common message.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._processes: list[tuple[subprocess.Popen[bytes], Any]] = []

    def __enter__(self) -> Followers:
        """Starts the processes, and waits until they are ready to join the fit.

        Raises:
            RunError: One cannot be started, or ends before it is ready.
        """
        rank = 0
        try:
            for _ in range(1, self._order.ranks.size):
                self._start()
            for rank, (process, _) in enumerate(self._processes, start=1):
                assert process.stdin is not None
                # Classes of the user's own are found where this process finds them.
                pickle.dump(sys.path, process.stdin)
                pickle.dump(replace(self._order, rank=rank), process.stdin)
                process.stdin.flush()
            for process, _ in self._processes:
                assert process.stdout is not None
                if not process.stdout.read(1):
                    raise BrokenPipeError("it ended before it was ready")
        except OSError as error:
            told = self._death()
            self._end(kill=True)
            raise RunError(
                told
                or f"The process of the student's device {rank} could not be started: {error}."
                " Mend it and continue with resume=true, or with trainer.devices=1 as well."
            ) from error
        except BaseException:
            self._end(kill=True)
            raise
        return self

    def _start(self) -> None:
        import torch

        printed = tempfile.TemporaryFile()  # noqa: SIM115  closed in _end
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tutelage.follow"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            env={
                **{name: value for name, value in os.environ.items() if name != FOLLOWED},
                "OMP_NUM_THREADS": str(torch.get_num_threads()),
            },
        )
        self._processes.append((process, printed))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the processes.

        Raises:
            RunError: The fit failed since one of them had ended before.
        """
        told = None
        if isinstance(error, Exception) and not isinstance(error, TutelageError):
            told = self._death()
        self._end(kill=error is not None)
        if told is not None:
            raise RunError(told) from error

    def _death(self) -> str | None:
        """Says which process ended first by itself, and why; None where all are alive."""
        end = time.monotonic() + _DEATH_SECONDS
        for rank, (process, printed) in enumerate(self._processes, start=1):
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(max(0.1, end - time.monotonic()))
                printed.seek(0)
                lines = printed.read().decode(errors="replace").strip().splitlines()
                how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
                last = f": {lines[-1].strip()}" if lines else ""
                return (
                    f"The process of the student's device {rank} ended ({how}){last}. Continue "
                    "with resume=true; if it happens again, with trainer.devices=1 as well."
                )
        return None

    def _end(self, *, kill: bool) -> None:
        for process, printed in self._processes:
            assert process.stdin is not None
            assert process.stdout is not None
            if not kill:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_END_SECONDS)
            # A follower holds nothing that could be lost.
            process.kill()
            process.wait()
            with suppress(OSError):
                process.stdin.close()
            process.stdout.close()
            printed.close()
        self._processes = []
