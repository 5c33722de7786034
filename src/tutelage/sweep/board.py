"""The progress of a sweep in the terminal: the state of its jobs and the time left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tutelage.report.environment import duration
from tutelage.runs.folder import RunFolder
from tutelage.sweep.record import JobRecord, SweepFolder
from tutelage.terminal import new_console

_POLL_SECONDS = 1.0
_SHOWN = 12
"""Maximum number of running jobs in the live table."""


class Board:
    """Polls the records of the jobs: prints a line per finished job, above a live table.

    The live table needs a terminal. The board is a context manager; it polls in its own thread.

    Args:
        sweep: The folder of the sweep.
        total: Number of jobs; None if the sweeper decides as it goes.
        title: Describes a job by its differences from the others.
        metric: Name of the scores.
        console: Where to print; by default the terminal.
    """

    def __init__(
        self,
        sweep: SweepFolder,
        total: int | None,
        title: Callable[[JobRecord], str],
        metric: str = "score",
        console: Console | None = None,
    ) -> None:
        self.console = console or new_console()
        self._title = title
        self._sweep = sweep
        self._total = total
        self._metric = metric
        self._printed: set[int] = set()
        self._over = threading.Event()
        self._live = (
            Live(console=self.console, auto_refresh=False, transient=True)
            if self.console.is_terminal
            else None
        )
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Board:
        """Starts polling."""
        if self._live is not None:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Polls once more and ends the display."""
        self._over.set()
        self._thread.join()
        self._poll()
        if self._live is not None:
            self._live.stop()

    def left(self, jobs: tuple[JobRecord, ...], now: float) -> tuple[int | None, float | None]:
        """Estimates the rest of the sweep.

        Every job counts as long as the mean of the finished ones, with as many at once as now.

        Args:
            jobs: The records so far.
            now: Seconds since the epoch.

        Returns:
            Jobs not yet started, and the seconds until all jobs are done; None if unknown.
        """
        if self._total is None:
            return None, None
        waiting = max(0, self._total - len(jobs))
        # Without found jobs, which took no time and would lower the mean.
        durations = [
            job.ended - job.began
            for job in jobs
            if job.state in ("done", "failed") and job.found != "done"
        ]
        running = [now - job.began for job in jobs if job.state == "running"]
        if not durations:
            return waiting, None
        mean = sum(durations) / len(durations)
        rest = waiting * mean + sum(max(0.0, mean - so_far) for so_far in running)
        return waiting, rest / max(1, len(running))

    def _watch(self) -> None:
        while not self._over.wait(_POLL_SECONDS):
            self._poll()

    def _poll(self) -> None:
        jobs = self._sweep.jobs()
        for job in jobs:
            if job.state != "running" and job.number not in self._printed:
                self._printed.add(job.number)
                self.console.print(self._line(job), soft_wrap=True)
        if self._live is not None:
            self._live.update(self._table(jobs, time.time()), refresh=True)

    def _line(self, job: JobRecord) -> Text:
        mark, style = {
            "done": ("✓", "green"),
            "failed": ("✗", "bold red"),
            "left out": ("–", "dim"),
        }[job.state]
        text = Text(f"{mark} job {job.number}  ", style=style)
        text.append(self._title(job), style="default")
        if job.score is not None:
            text.append(f"   {self._metric} {job.score:.3f}", style="bold")
        # A found job took no time of its own.
        if job.found == "done":
            text.append("   done before", style="dim")
        elif job.ended:
            text.append(f"   {duration(job.ended - job.began)}", style="dim")
        if job.state == "left out":
            text.append("   left out: an earlier job failed, and sweep.fail_fast=true", style="dim")
        if job.error:
            text.append(
                f"\n  {job.error}\n  see {self._sweep.run_of(job) / 'console.log'}", style="red"
            )
        return text

    def _table(self, jobs: tuple[JobRecord, ...], now: float) -> Group:
        # One line of totals.
        count = {
            state: sum(job.state == state for job in jobs)
            for state in ("done", "running", "failed", "left out")
        }
        waiting, seconds = self.left(jobs, now)
        head = Text(
            f"{count['done']} done, {count['running']} running, {count['failed']} failed",
            style="bold",
        )
        # Unknown for a sweeper that decides as it goes.
        if waiting is not None:
            head.append(f", {waiting} left")
        if seconds is not None and (waiting or count["running"]):
            head.append(f", about {duration(seconds)} to go", style="dim")

        # One line per running job.
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for job in [job for job in jobs if job.state == "running"][:_SHOWN]:
            table.add_row(
                f"job {job.number}",
                self._title(job),
                _where(self._sweep.run_of(job)),
                duration(now - job.began),
            )
        return Group(head, table)


def _where(run: Path) -> str:
    """Round and phase of a run, from its status.json."""
    status = RunFolder(run).read_json("status.json") or {}
    return (
        f"round {status['round']}, {status['phase']}"
        if status.get("state") == "running"
        else "starting"
    )
