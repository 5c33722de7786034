"""What a person sees while a run goes on: a live line on a terminal, plain lines elsewhere, and the table at the end."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tutelage.teacher.base import Reply
from tutelage.timeline import Position


class TerminalProgress:
    """Shows round, phase, tokens a second, cache hits, budget left and time left.

    Args:
        rounds: how many rounds there will be at most.
        budget: billed tokens at most, or None.
    """

    def __init__(self, rounds: int, budget: int | None, console: Console | None = None) -> None:
        self.console = console or Console(stderr=False)
        self._rounds = rounds
        self._budget = budget
        self._billed = self._spent = self._cached = self._replies = 0
        self._phase_tokens = 0
        self._phase_began = self._run_began = time.monotonic()
        self._round_ends: list[tuple[float, int]] = []
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.fields[where]}"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}"),
            TextColumn("[dim]{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=None, where="", count="", note="")

    def __enter__(self) -> TerminalProgress:
        """Begin the display."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the display."""
        self._progress.stop()

    def phase(self, name: str, round: int, total: int) -> None:
        """A phase begins."""
        self._phase_began = time.monotonic()
        self._phase_tokens = 0
        self._progress.reset(
            self._task,
            description=name,
            total=total or None,
            completed=0,
            where=self._where(round),
            count=f"0/{total}" if total else "",
            note=self._note(),
        )

    def reply(self, reply: Reply) -> None:
        """A reply arrived."""
        self._replies += 1
        self._billed += reply.tokens
        self._cached += reply.cached
        if not reply.cached:
            self._spent += reply.tokens
            self._phase_tokens += reply.tokens
        task = self._progress.tasks[0]
        done = int(task.completed) + 1
        self._progress.update(
            self._task,
            completed=done,
            count=f"{done}/{int(task.total)}" if task.total else str(done),
            note=self._note(),
        )

    def progress(self, done: int, total: int) -> None:
        """So many of the phase's texts were looked at by the student."""
        self._progress.update(self._task, completed=done, total=total, count=f"{done:,}/{total:,}")

    def stage_closed(
        self, position: Position, dev: dict[str, float], rows: tuple[int, int]
    ) -> None:
        """A stage ended: one lasting line."""
        self._round_ends.append((time.monotonic(), self._billed))
        name = {"start": "start  ", "final": "final  "}.get(
            position.stage, f"round {position.round:<2d}"
        )
        self.console.print(
            f"  {name} dev {'  '.join(f'{title} {value:.3f}' for title, value in dev.items())}   "
            f"rows {rows[0]} kept, {rows[1]} rejected   {self._billed:,} tokens billed, {self._spent:,} spent{self._time_left(position)}",
            highlight=False,
            soft_wrap=True,
        )

    def _where(self, round: int) -> str:
        return f"round {min(round, self._rounds)}/{self._rounds}" if self._rounds else ""

    def _note(self) -> str:
        seconds = max(time.monotonic() - self._phase_began, 1e-6)
        parts = [f"{self._phase_tokens / seconds:,.0f} tokens/s"] if self._phase_tokens else []
        if self._cached:
            parts.append(f"{self._cached}/{self._replies} from cache")
        if self._budget is not None:
            parts.append(f"{max(self._budget - self._billed, 0):,} tokens left")
        return "  ".join(parts)

    def _time_left(self, position: Position) -> str:
        if position.stage == "final" or len(self._round_ends) < 2:
            return ""
        (began, billed_then), (ended, billed_now), rounds = (
            self._round_ends[0],
            self._round_ends[-1],
            len(self._round_ends) - 1,
        )
        still = max(0, self._rounds - position.round)
        if self._budget is not None and billed_now > billed_then:
            # The tokens may end growth before the rounds do.
            still = min(
                still, max(0, self._budget - billed_now) * rounds // (billed_now - billed_then)
            )
        left = (ended - began) / rounds * still
        return f"   about {left / 60:.1f} min left" if left else ""


def _data_line(shares: dict[str, Any]) -> str:
    """How much of its data a run learnt from; "" where there is nothing to tell, since no pool was drawn from and nothing left out."""
    kept = f"{shares.get('selections') or 0.0:.1%} of the rows in all steps"
    if shares.get("unique") is not None:
        return f"{shares['unique']:.1%} of the pool ever trained on, {kept}"
    if shares.get("used_of_offered") is None or shares.get("selections") == 1.0:
        return ""
    return f"{shares['used_of_offered']:.1%} of the method's texts ever trained on, {kept}"


def print_result(console: Console, result: dict[str, Any], folder: str) -> None:
    """The table at the end of a run."""
    table = Table(title=None, show_edge=False, pad_edge=False)
    quoted = result["metrics"]
    table.add_column("")
    for index, metric in enumerate(quoted):
        table.add_column(
            f"test {metric['title']}" if index == 0 else metric["title"], justify="right"
        )
    table.add_column("")
    gold = result["gold_labels"]
    if result["rounds"]:
        rows = [("student before growth", result["before"], f"{gold['shots']} gold labels")]
        rows.append(
            (
                "student after",
                result["after"],
                f"{result['rows']['accepted']} rows in {result['rounds']} rounds",
            )
        )
    else:
        rows = [
            (
                "student",
                result["after"],
                f"{result['rows']['accepted']} rows, {gold['shots']} gold labels",
            )
        ]
    if result.get("supervised"):
        rows.append(
            (
                "supervised ceiling",
                result["supervised"],
                f"{result['supervised']['gold_labels']} gold labels",
            )
        )
    if result.get("teacher"):
        rows.append(
            (
                "teacher alone",
                result["teacher"],
                ""
                if result["teacher"]["raw"] is None
                else f"raw, uncalibrated: {result['teacher']['raw']:.3f}",
            )
        )
    for name, scores, note in rows:
        table.add_row(name, *(f"{scores[metric['key']]:.3f}" for metric in quoted), note)
    console.print()
    console.print(table)
    if kept := result.get("kept"):
        console.print(f"\nkept     the student {kept['name']}, the best on dev", highlight=False)
    tokens = result["tokens"]
    console.print(
        f"\ntokens   {tokens['billed']:,} billed (as if nothing were cached), {tokens['spent']:,} spent",
        highlight=False,
    )
    shares = result.get("share_of_data") or {}
    if told := _data_line(shares):
        console.print(f"data     {told}", highlight=False)
    seconds = result["seconds"]
    by_phase = ", ".join(f"{name} {value:.0f}" for name, value in seconds.items())
    console.print(
        f"seconds  {result['wall_seconds']:.0f} in all: {by_phase}", highlight=False, soft_wrap=True
    )
    console.print(f"folder   {folder}", highlight=False, soft_wrap=True, markup=False)
