"""The round ledger: metrics, growth records, predictions and seconds, written as each stage closes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from tutelage.data.pool import Pool
from tutelage.progress import ProgressReporter
from tutelage.records import Growth, Outcome, as_dicts
from tutelage.runs.folder import RunFolder, Status
from tutelage.tasks.protocol import Task
from tutelage.teacher.wrappers.budget import BudgetedTeacher
from tutelage.timeline import Position

T = TypeVar("T")


class RoundLogger:
    """Writes metrics.jsonl, growth/ and predictions/, and adds up seconds by phase."""

    def __init__(
        self, folder: RunFolder, status: Status, task: Task, pool: Pool, reporter: ProgressReporter
    ) -> None:
        self._folder = folder
        self._status = status
        self._task = task
        self._pool = pool
        self._reporter = reporter
        self._lines = 0
        self._round = 0
        self._stage_seconds: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        self.before: dict[str, Any] = {}
        self.after: dict[str, Any] = {}

    def phase(self, name: str, total: int = 0) -> None:
        """Note that a phase begins."""
        self._status.phase(name, self._round)
        self._reporter.phase(name, self._round, total)

    def training(self, position: Position) -> None:
        """Note that an epoch begins."""
        self._round = position.round
        self.phase("training")

    def growing(self, round: int) -> None:
        """Note that the growth of ``round`` begins; the method names its phases."""
        self._round = round

    def spend(self, name: str, seconds: float) -> None:
        """Add to a phase's seconds."""
        for store in (self._stage_seconds, self.seconds):
            store[name] = store.get(name, 0.0) + seconds

    def measured(self, name: str, action: Callable[[], T]) -> T:
        """Run ``action`` as a phase."""
        self.phase(name)
        began = time.perf_counter()
        result = action()
        self.spend(name, time.perf_counter() - began)
        return result

    def close_stage(
        self,
        position: Position,
        epoch: int,
        dev: Sequence[Outcome],
        fresh: Sequence[Outcome],
        test: Sequence[Outcome] | None,
        train_loss: float | None,
        budget: BudgetedTeacher | None,
    ) -> dict[str, Any]:
        """Write the stage's line and the test predictions; return the dev metrics."""
        dev_metrics = self._task.metrics(dev)
        test_metrics = None if test is None else self._task.metrics(test)
        accepted = len(self._pool.accepted())
        line = {
            "round": position.round,
            "stage": position.stage,
            "epoch": epoch,
            "billed_tokens": budget.usage.billed if budget else 0,
            "spent_tokens": budget.usage.spent if budget else 0,
            "accepted": accepted,
            "rejected": len(self._pool) - accepted,
            "train_loss": train_loss,
            "dev": dev_metrics,
            "test": test_metrics,
            "fresh": {"accuracy": self._task.metrics(fresh)["accuracy"], "count": len(fresh)}
            if fresh
            else None,
            "seconds": {name: round(value, 3) for name, value in self._stage_seconds.items()},
        }
        self._folder.append_line("metrics.jsonl", line)
        self._lines += 1
        self._stage_seconds = {}
        if test is not None and test_metrics is not None:
            self.keep(test, test_metrics)
            if position.stage == "start":
                self.before = self.after
                self._folder.write_lines("predictions/test-before.jsonl", as_dicts(test))
        quoted = {
            metric.title: float(dev_metrics[metric.key]) for metric in self._task.headline_metrics
        }
        self._reporter.stage_closed(position, quoted, (accepted, len(self._pool) - accepted))
        return dev_metrics

    def keep(self, test: Sequence[Outcome], metrics: Mapping[str, Any]) -> None:
        """These outcomes on test, with their metrics, are the student's that the run would end with."""
        self.after = {key: value for key, value in metrics.items() if isinstance(value, float)}
        self._folder.write_lines("predictions/test-after.jsonl", as_dicts(test))

    def write_growth(self, growth: Growth) -> None:
        """Write growth/round-NNN.json, without the rows: those are in the pool."""
        for name, seconds in growth.seconds.items():
            self.spend(name, seconds)
        self._folder.write_json(
            f"growth/round-{growth.round:03d}.json",
            {
                "round": growth.round,
                "analysis": growth.analysis,
                "quota": growth.quota,
                "seconds": {name: round(value, 3) for name, value in growth.seconds.items()},
                "asked": growth.asked,
                "answered": growth.answered,
                "rejected": growth.rejected,
                "failed": growth.failed,
                "prompt": growth.prompt,
            },
        )

    def state_dict(self) -> dict[str, Any]:
        """Plain values: how many lines were written, seconds, and the quoted numbers so far."""
        return {
            "lines": self._lines,
            "seconds": dict(self.seconds),
            "stage_seconds": dict(self._stage_seconds),
            "before": self.before,
            "after": self.after,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint; lines written after it are taken back."""
        self._lines = int(state["lines"])
        self._folder.keep_lines("metrics.jsonl", self._lines)
        self.seconds = dict(state["seconds"])
        self._stage_seconds = dict(state["stage_seconds"])
        self.before, self.after = dict(state["before"]), dict(state["after"])
