"""Terminal output of a run: a live line or plain lines during it, and a table at the end."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from tutelage.teacher.base import Reply
from tutelage.timeline import Position

if TYPE_CHECKING:
    from tutelage.runs.check_records import Audit, Guarantee, Review


class LastingStream:
    """A stream for a display, which must not end a run: it goes dark where writing fails.

    That happens when the reader of a pipe has gone (``| head``), the terminal is closed, or the
    disk is full.

    Args:
        stream: The stream to write to.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._dark = False

    def write(self, text: str) -> int:
        """Write ``text``, with "?" for a character that the stream cannot encode."""
        if not self._dark:
            try:
                self._stream.write(self._encodable(text))
            except (OSError, ValueError):
                self._go_dark()
        return len(text)

    def flush(self) -> None:
        """Write out what is buffered."""
        if not self._dark:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._go_dark()

    def isatty(self) -> bool:
        """Whether it is a terminal that can still be written to."""
        return not self._dark and self._stream.isatty()

    def _encodable(self, text: str) -> str:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        return text.encode(encoding, "replace").decode(encoding)

    def _go_dark(self) -> None:
        self._dark = True
        discard_output(self._stream)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the stream itself, such as its encoding."""
        return getattr(self._stream, name)


def discard_output(stream: IO[str]) -> None:
    """Send a stream that cannot be written to nowhere, so that Python's exit cannot fail on it."""
    with suppress(OSError, ValueError):  # a stream without a descriptor, or a closed one
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def new_console() -> Console:
    """Return a console on standard output that outlives it."""
    return Console(file=cast("IO[str]", LastingStream(sys.stdout)) if sys.stdout else None)


def say(message: str) -> None:
    """Print a line to standard error, if that can still be written to."""
    if sys.stderr:
        stream = LastingStream(sys.stderr)
        stream.write(f"{message}\n")
        stream.flush()


class TerminalProgress:
    """Shows round, phase, tokens per second, cache hits, and the budget and time left.

    Args:
        rounds: Maximal number of rounds.
        budget: Maximal number of billed tokens; None for no limit.
        console: The console to print to; standard output by default.
    """

    def __init__(self, rounds: int, budget: int | None, console: Console | None = None) -> None:
        self.console = console or new_console()
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
        """Start the live display."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the live display."""
        self._progress.stop()

    def notice(self, message: str) -> None:
        """Print a permanent line."""
        self.console.print(f"  {message}", highlight=False, soft_wrap=True, markup=False)

    def warn(self, message: str) -> None:
        """Print a permanent line that stands out."""
        self.console.print(_warning(message), highlight=False, soft_wrap=True)

    def phase(self, name: str, round: int, total: int) -> None:
        """Show the beginning of a phase.

        Args:
            name: Name of the phase.
            round: The current round.
            total: Number of expected steps; 0 if unknown.
        """
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
        """Count a reply of the teacher."""
        self._replies += 1
        # As the budget counts: a failed reply is spent, but not billed.
        self._billed += 0 if reply.error else reply.tokens
        self._cached += reply.cached
        # Cached replies are billed as if sent, but cost no time.
        if not reply.cached:
            self._spent += reply.tokens
            self._phase_tokens += reply.tokens
        # There is a single task, reset for every phase.
        task = self._progress.tasks[0]
        done = int(task.completed) + 1
        self._progress.update(
            self._task,
            completed=done,
            count=f"{done}/{int(task.total)}" if task.total else str(done),
            note=self._note(),
        )

    def progress(self, done: int, total: int) -> None:
        """Show that the student has processed ``done`` of the phase's ``total`` texts."""
        self._progress.update(self._task, completed=done, total=total, count=f"{done:,}/{total:,}")

    def stage_closed(
        self, position: Position, dev: dict[str, float], rows: tuple[int, int]
    ) -> None:
        """Print a permanent line for a finished stage.

        Args:
            position: The last position of the stage.
            dev: Scores on dev in [0, 1] by their titles.
            rows: Numbers of accepted and of rejected rows so far.
        """
        # Remember time and tokens for the estimate of the time left.
        self._round_ends.append((time.monotonic(), self._billed))
        name = {"start": "start  ", "final": "final  "}.get(
            position.stage, f"round {position.round:<2d}"
        )
        self.console.print(
            f"  {name} dev {'  '.join(f'{title} {value:.3f}' for title, value in dev.items())}   "
            f"rows {rows[0]} kept, {rows[1]} rejected   "
            f"{self._billed:,} tokens billed, {self._spent:,} spent{self._time_left(position)}",
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
        # Extrapolate from the mean duration of the rounds so far.
        (began, billed_then), (ended, billed_now), rounds = (
            self._round_ends[0],
            self._round_ends[-1],
            len(self._round_ends) - 1,
        )
        # Rounds still to come, at most.
        still = max(0, self._rounds - position.round)
        if self._budget is not None and billed_now > billed_then:
            # The budget may end growth before the last round.
            still = min(
                still, max(0, self._budget - billed_now) * rounds // (billed_now - billed_then)
            )
        left = (ended - began) / rounds * still
        return f"   about {left / 60:.1f} min left" if left else ""


def _warning(message: str) -> Text:
    return Text("  warning ", style="bold yellow").append(message, style="default")


def _data_line(shares: dict[str, Any]) -> str:
    """Describe the share of the data that was used.

    "" if there is nothing to report: no pool was drawn from, and no row was left out.
    """
    kept = f"{shares.get('selections') or 0.0:.1%} of the rows in all steps"
    # Methods on a pool report the share of it; generating methods that of their texts.
    if shares.get("unique") is not None:
        return f"{shares['unique']:.1%} of the pool ever trained on, {kept}"
    if shares.get("used_of_offered") is None or shares.get("selections") == 1.0:
        return ""
    return f"{shares['used_of_offered']:.1%} of the method's texts ever trained on, {kept}"


def print_result(console: Console, result: dict[str, Any], folder: str) -> None:
    """Print the table at the end of a run.

    Args:
        console: The console to print to.
        result: Contents of result.json.
        folder: The run's folder.
    """
    table = Table(title=None, show_edge=False, pad_edge=False)
    metrics = result["metrics"]
    table.add_column("")
    for index, metric in enumerate(metrics):
        table.add_column(
            f"test {metric['title']}" if index == 0 else metric["title"], justify="right"
        )
    table.add_column("")

    # One row per student or reference: name, scores, and a note on its data.
    gold = result["gold_labels"]
    # Without rounds of growth there is a single student.
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
    # Folders of older versions have no such score.
    if result.get("majority"):
        always = escape(str(result["majority"]["label"]))
        rows.append(("majority class", result["majority"], f"always {always}"))
    for name, scores, note in rows:
        table.add_row(name, *(f"{scores[metric['key']]:.3f}" for metric in metrics), note)
    console.print()
    console.print(table)
    for warning in result.get("warnings") or ():
        console.print(_warning(warning), highlight=False, soft_wrap=True)

    # Below the table: the student kept, and the costs.
    if kept := result.get("kept"):
        console.print(f"\nkept     the student {kept['name']}, the best on dev", highlight=False)
    tokens = result["tokens"]
    console.print(
        f"\ntokens   {tokens['billed']:,} billed (as if nothing were cached), "
        f"{tokens['spent']:,} spent",
        highlight=False,
    )
    shares = result.get("share_of_data") or {}
    if line := _data_line(shares):
        console.print(f"data     {line}", highlight=False)
    seconds = result["seconds"]
    by_phase = ", ".join(f"{name} {value:.0f}" for name, value in seconds.items())
    console.print(
        f"seconds  {result['wall_seconds']:.0f} in all: {by_phase}", highlight=False, soft_wrap=True
    )
    console.print(f"folder   {folder}", highlight=False, soft_wrap=True, markup=False)


def print_audit(console: Console, audit: Audit) -> None:
    """Print the table of a label audit, and what it found in each split.

    Args:
        console: The console to print to.
        audit: Its counts.
    """
    from tutelage.report.audit import split_line

    known = any(one.known for one in audit.classes)
    table = Table(title=None, show_edge=False, pad_edge=False)
    for index, title in enumerate(
        ("teacher's label", audit.units, "expected wrong", *(["wrong by gold"] if known else []))
    ):
        table.add_column(title, justify="right" if index else "left")
    for one in audit.classes:
        gold = f"{one.wrong:,} of {one.known:,}  {one.wrong / one.known:.1%}" if one.known else "–"
        table.add_row(
            escape(one.name),
            f"{one.units:,}",
            f"{one.expected:,.1f}  {one.expected / one.units:.1%}",
            *([gold] if known else []),
        )
    if audit.classes:
        console.print(table)
    console.print()
    for split in audit.splits:
        console.print(f"{split.split:<5} {split_line(split)}", highlight=False, soft_wrap=True)
    for note in audit.notes:
        console.print(_warning(note), highlight=False, soft_wrap=True)


def print_guarantee(console: Console, guarantee: Guarantee) -> None:
    """Print a guarantee, and what it does on dev and test.

    Args:
        console: The console to print to.
        guarantee: The guarantee.
    """
    from tutelage.report import guarantee as shown

    splits = ("", "texts", "kept", "right of the kept", "sets with the right label", "set size")
    rows = [(one.split, f"{one.texts:,}", *shown.split_cells(one)) for one in guarantee.splits]
    routes = shown.route_cells(guarantee)
    for titles, lines in (
        (splits, rows),
        (("who answers test", "right", "teacher tokens for 1,000 texts"), routes),
    ):
        table = Table(title=None, show_edge=False, pad_edge=False)
        for index, title in enumerate(titles):
            table.add_column(title, justify="right" if index else "left")
        for line in lines:
            table.add_row(*line)
        if lines:
            console.print(table)
            console.print()
    for sentence in (shown.threshold_line, shown.set_line, shown.routed_line):
        if said := sentence(guarantee):
            console.print(f"{said}.", highlight=False, soft_wrap=True)
    for note in (shown.CAVEAT, *guarantee.notes):
        console.print(_warning(note), highlight=False, soft_wrap=True)


def print_review(console: Console, review: Review) -> None:
    """Print what people made of a sample of the pool.

    Args:
        console: The console to print to.
        review: The imported review.
    """
    from tutelage.report.review import count_line, part_title, score_line

    table = Table(title=None, show_edge=False, pad_edge=False)
    for index, title in enumerate(("part", "drawn", "labelled", "teacher right", "student right")):
        table.add_column(title, justify="right" if index else "left")
    for one in review.parts:
        counts = (one.drawn, one.labelled, one.teacher, one.student)
        table.add_row(part_title(one), *(f"{count:,}" for count in counts))
    console.print(table)
    console.print(f"\n{count_line(review)}", highlight=False, soft_wrap=True)
    if not review.scores:
        console.print(
            _warning("No row of the random control is labelled, so nothing is said of the pool."),
            highlight=False,
            soft_wrap=True,
        )
    for score in review.scores:
        console.print(f"control  {score_line(score)}", highlight=False, soft_wrap=True)
