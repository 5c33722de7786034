"""Records of each stage: metrics, growth, predictions and seconds."""

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
    """Writes metrics.jsonl, growth/ and predictions/, and measures the time of each phase.

    Args:
        folder: The run folder.
        status: The status file of the run.
        task: The task, for its metrics.
        pool: The ledger of rows.
        reporter: Shows the progress on the terminal.

    Attributes:
        seconds: Duration of each phase of the whole run.
        before: Test metrics before growth.
        after: Test metrics of the student the run would end with.
    """

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
        """Reports the start of a phase.

        Args:
            name: Name of the phase.
            total: Number of its teacher requests; 0 if unknown.
        """
        self._status.phase(name, self._round)
        self._reporter.phase(name, self._round, total)

    def training(self, position: Position) -> None:
        """Reports the start of a training epoch."""
        self._round = position.round
        self.phase("training")

    def growing(self, round: int) -> None:
        """Starts the growth of a round; the method reports its phases itself."""
        self._round = round

    def spend(self, name: str, seconds: float) -> None:
        """Adds seconds to a phase of the stage and of the run."""
        for store in (self._stage_seconds, self.seconds):
            store[name] = store.get(name, 0.0) + seconds

    def measured(self, name: str, action: Callable[[], T]) -> T:
        """Runs an action as a phase of its own and measures its time.

        Args:
            name: Name of the phase.
            action: The action.

        Returns:
            The result of the action.
        """
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
        """Writes the line of a stage to metrics.jsonl, and the test predictions.

        Args:
            position: Position at the end of the stage.
            epoch: Number of the epoch in the run.
            dev: Outcomes on dev.
            fresh: Outcomes of the newest rows.
            test: Outcomes on test; None if they are not evaluated in this stage.
            train_loss: Training loss of the last epoch; None if unknown.
            budget: Counts the teacher's tokens; None without a teacher.

        Returns:
            The metrics on dev.
        """
        # Compute the metrics.
        dev_metrics = self._task.metrics(dev)
        test_metrics = None if test is None else self._task.metrics(test)
        accepted = len(self._pool.accepted())
        # Write the line; the seconds of the next stage start at zero.
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
        # The first stage's student is the one before growth.
        if test is not None and test_metrics is not None:
            self.keep(test, test_metrics)
            if position.stage == "start":
                self.before = self.after
                self._folder.write_lines("predictions/test-before.jsonl", as_dicts(test))
        headline = {
            metric.title: float(dev_metrics[metric.key]) for metric in self._task.headline_metrics
        }
        self._reporter.stage_closed(position, headline, (accepted, len(self._pool) - accepted))
        return dev_metrics

    def keep(self, test: Sequence[Outcome], metrics: Mapping[str, Any]) -> None:
        """Records the test results of the student the run would end with.

        Args:
            test: Outcomes on test.
            metrics: Their metrics.
        """
        self.after = {key: value for key, value in metrics.items() if isinstance(value, float)}
        self._folder.write_lines("predictions/test-after.jsonl", as_dicts(test))

    def write_growth(self, growth: Growth) -> None:
        """Writes growth/round-NNN.json, without the rows, which are in the pool."""
        # The method measured its own phases.
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
        """Returns the line count, the seconds, and the test metrics before and after growth."""
        return {
            "lines": self._lines,
            "seconds": dict(self.seconds),
            "stage_seconds": dict(self._stage_seconds),
            "before": self.before,
            "after": self.after,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state of a checkpoint; lines written after it are removed."""
        self._lines = int(state["lines"])
        # Remove the lines of a stage that will run again.
        self._folder.keep_lines("metrics.jsonl", self._lines)
        self.seconds = dict(state["seconds"])
        self._stage_seconds = dict(state["stage_seconds"])
        self.before, self.after = dict(state["before"]), dict(state["after"])
