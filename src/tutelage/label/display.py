"""Progress and summary of ``tutelage label`` on the terminal."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tutelage.label.folder import RECORD
from tutelage.label.shards import Tally
from tutelage.teacher.base import Reply

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN_EVERY = 0.2
"""Seconds between two changes of the live line."""


class Display:
    """A live line in a terminal, and elsewhere a line per file.

    Args:
        console: Where it is shown.

    Attributes:
        files: Number of files that were written while it was shown.
        texts: Number of texts in them.
        kept_texts: Number of texts that were labelled in an earlier session.
    """

    def __init__(self, console: Console) -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=None, note="")
        self._began = self._shown = time.monotonic()
        self._name, self._size, self._replies = "", 0, 0
        self._whole, self._kept = Tally(), 0
        self.files = self.texts = self.kept_texts = 0

    def __enter__(self) -> Display:
        """Starts the live line."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends it."""
        self._progress.stop()

    def begin(self, name: str, texts: int) -> None:
        """A chunk begins."""
        self._tell_kept()
        self._name, self._size, self._replies = name, texts, 0
        self._show()

    def kept(self, tally: Tally) -> None:
        """A chunk was labelled in an earlier session."""
        self._whole = self._whole.plus(tally)
        self._kept += tally.texts
        self.kept_texts += tally.texts

    def reply(self, reply: Reply) -> None:
        """A reply arrived."""
        self._replies += 1
        if time.monotonic() - self._shown > _SHOWN_EVERY:
            self._show()

    def end(self, tally: Tally) -> None:
        """A chunk is written."""
        self._whole = self._whole.plus(tally)
        self.files += 1
        self.texts += tally.texts
        if not self._console.is_terminal:
            line = f"{self._name}: {tally.labelled:,} of {tally.texts:,} labelled; {self._note()}"
            tell(self._console, line)

    def _tell_kept(self) -> None:
        if self._kept:
            line = f"{self._kept:,} texts were labelled before and are kept."
            tell(self._console, line)
            self._kept = 0

    def show(self, what: str) -> None:
        """Changes the live line."""
        self._shown = time.monotonic()
        self._progress.update(self._task, description=what, note=self._note())

    def _show(self) -> None:
        self.show(f"{self._name}: {self._replies:,} replies to {self._size:,} texts")

    def _note(self) -> str:
        seconds = max(time.monotonic() - self._began, 1e-9)
        speed = f", {self.texts / seconds:,.0f} texts/s" if self.texts else ""
        return f"{self._whole.texts:,} texts, {self._whole.tokens:,} tokens{speed}"


def tell_labelled(console: Console, folder: Path, rest: str = "") -> None:
    """Prints the counts of a folder of labelled texts, as its record has them.

    Args:
        console: Where they are printed.
        folder: The folder.
        rest: Who labels the rest, if the folder is not complete; "" for other processes.
    """
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    counts = ", ".join(f"{name}: {count:,}" for name, count in record["classes"].items())
    lines = [f"{record['texts']:,} texts: {record['labelled']:,} labelled ({counts})"]
    if not record["complete"]:
        others = "Other processes label the rest; the last one completes the folder."
        lines.append(rest or others)
    reasons = record["reasons"].items()
    lines += [f"{count:,} without a label: {reason}" for reason, count in reasons]
    if record["shortened"]:
        lines.append(f"{record['shortened']:,} long texts were shortened in their prompts")
    lines.append(f"{record['tokens']['billed']:,} billed tokens")
    for line in (*lines, "", str(folder)):
        tell(console, line)


def tell(console: Console, line: str) -> None:
    """Prints a line."""
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def warn(console: Console, message: str) -> None:
    """Prints a line that stands out."""
    from rich.markup import escape

    console.print(f"[yellow]warning[/]   {escape(message)}", highlight=False, soft_wrap=True)
