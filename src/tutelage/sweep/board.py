"""The table of jobs that a person sees while a sweep goes on: done, running, failed, left, and the time that is left."""

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

_LOOK_SECONDS = 1.0
_SHOWN = 12
"""Lines of the live table at most: what runs, then what ended last."""


class Board:
    """Looks at the jobs' records and shows them; a line for each job that ends, and on a terminal a live table below.

    Args:
        sweep: the sweep's folder.
        total: how many jobs there will be; None where the sweeper decides as it goes.
        title: what tells a job from the others.
        metric: what the scores are.
    """

    def __init__(
        self,
        sweep: SweepFolder,
        total: int | None,
        title: Callable[[JobRecord], str],
        metric: str = "score",
        console: Console | None = None,
    ) -> None:
        self.console = console or Console()
        self._title = title
        self._sweep = sweep
        self._total = total
        self._metric = metric
        self._told: set[int] = set()
        self._over = threading.Event()
        self._live = (
            Live(console=self.console, auto_refresh=False, transient=True)
            if self.console.is_terminal
            else None
        )
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Board:
        """Begin to look."""
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
        """Look once more, and end the display."""
        self._over.set()
        self._thread.join()
        self._look()
        if self._live is not None:
            self._live.stop()

    def left(self, jobs: tuple[JobRecord, ...], now: float) -> tuple[int | None, float | None]:
        """How many jobs are left, those that run not counted, and about how many seconds they all take yet; None where that is not known.

        The time is that of the mean job that was run, with as many at once as there are now.
        """
        if self._total is None:
            return None, None
        waiting = max(0, self._total - len(jobs))
        took = [
            job.ended - job.began
            for job in jobs
            if job.state in ("done", "failed") and job.found != "done"
        ]
        running = [now - job.began for job in jobs if job.state == "running"]
        if not took:
            return waiting, None
        mean = sum(took) / len(took)
        rest = waiting * mean + sum(max(0.0, mean - so_far) for so_far in running)
        return waiting, rest / max(1, len(running))

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        jobs = self._sweep.jobs()
        for job in jobs:
            if job.state != "running" and job.number not in self._told:
                self._told.add(job.number)
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
        if job.found == "done":
            text.append("   done before", style="dim")
        elif job.ended:
            text.append(f"   {duration(job.ended - job.began)}", style="dim")
        if job.state == "left out":
            text.append(
                "   left out: a job before it failed, and sweep.fail_fast=true", style="dim"
            )
        if job.error:
            text.append(
                f"\n  {job.error}\n  see {self._sweep.run_of(job) / 'console.log'}", style="red"
            )
        return text

    def _table(self, jobs: tuple[JobRecord, ...], now: float) -> Group:
        count = {
            state: sum(job.state == state for job in jobs)
            for state in ("done", "running", "failed", "left out")
        }
        waiting, seconds = self.left(jobs, now)
        head = Text(
            f"{count['done']} done, {count['running']} running, {count['failed']} failed",
            style="bold",
        )
        if waiting is not None:
            head.append(f", {waiting} left")
        if seconds is not None and (waiting or count["running"]):
            head.append(f", about {duration(seconds)} to go", style="dim")
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
    """What a run is at, as its status.json has it."""
    status = RunFolder(run).read_json("status.json") or {}
    return (
        f"round {status['round']}, {status['phase']}"
        if status.get("state") == "running"
        else "starting"
    )
