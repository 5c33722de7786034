"""Reads the files of a run folder that may be unfinished, damaged or from somebody else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tutelage.errors import RunError
from tutelage.runs.check_records import (
    Audit,
    Guarantee,
    Review,
    read_audit,
    read_guarantee,
    read_review,
)
from tutelage.runs.records import GrowthLog, checked_share, read_growth
from tutelage.runs.shapes import ResultShape, Shape, StatusShape, problems, why
from tutelage.tasks.protocol import Metric

T = TypeVar("T")
UNKNOWN = "unknown"
"""State of a run whose status.json cannot be read."""
_LARGEST_TEXT = 64 * 2**20
_LARGEST_LINES = 2 * 2**30
"""A pool of 50,000 rows has 28 MB."""
_OF_A_FINISHED_RUN = (
    "result.json",
    "metrics.jsonl",
    "pool/rows.jsonl",
    "predictions/test-after.jsonl",
)
_AGAIN = {
    "audit.json": "Audit the run again",
    "guarantee.json": "Run `tutelage guarantee` again",
    "review/review.json": "Import the review again",
}
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def runs_inside(folder: Path) -> str:
    """Advice for a folder that is not a run's but holds some, as outputs/<name> does; else ""."""
    runs = sorted(path.parent for path in folder.glob("*/manifest.json"))
    if not runs:
        return ""
    return f"It holds the folders of {len(runs)} run(s). Give one of them, the last is {runs[-1]}."


class RunFiles:
    """The files of a run folder, and notes about those that cannot be read.

    Args:
        folder: The run's folder; no file outside is read.
        tolerant: As :func:`read_run` takes it.
    """

    def __init__(self, folder: Path, tolerant: bool) -> None:
        self._folder = folder
        self._tolerant = tolerant
        self.notes: list[str] = []

    def essential(self, name: str, keys: tuple[str, ...]) -> dict[str, Any]:
        """Return the JSON object of a file that every run has."""
        path = self._folder / name
        found = self._object(name)
        if found is None:
            raise RunError(
                f"{path} is missing: this is not a run folder, or the run failed while starting. "
                f"{runs_inside(self._folder) or 'Give another folder, or run again.'}"
            )
        for key in keys:
            if key not in found:
                raise RunError(
                    f'{path} has no "{key}". It was written by another version or by hand; '
                    "run again to replace it."
                )
        return found

    def status(self) -> dict[str, Any]:
        """Return status.json; its state is "unknown" if it cannot be read."""
        unknown: dict[str, Any] = {"state": UNKNOWN}
        found = self._or(unknown, lambda: self.essential("status.json", ("state",)))
        return {**unknown, **self.shaped(StatusShape, "status.json", found)}

    def result(self, headline_metrics: Sequence[Metric]) -> dict[str, Any]:
        """Return result.json without what is impossible; empty until the run is done."""
        name = "result.json"
        none: dict[str, Any] = {}
        found = self._or(none, lambda: self._object(name) or none)
        found = self.shaped(ResultShape, name, found)
        for line in ("before", "after", "supervised", "teacher", "majority"):
            for metric in headline_metrics:
                value = (found.get(line) or {}).get(metric.key)
                try:
                    if value is not None:
                        checked_share(metric, value)
                except ValueError as error:
                    found = self._without(found, name, (line,), str(error))
        return found

    def shaped(self, shape: type[Shape], name: str, record: dict[str, Any]) -> dict[str, Any]:
        """Return a record without the keys that have the wrong type."""
        for place, problem in problems(shape, record).items():
            record = self._without(record, name, place[:2], problem)
        return record

    def check_whole(self, state: object) -> None:
        """Note the files that a finished run has and this folder lacks."""
        for name in _OF_A_FINISHED_RUN if self._tolerant and state == "done" else ():
            if not (self._folder / name).exists():
                self.notes.append(
                    f"{self._folder / name} is missing, although status.json says that the run is "
                    "done. This report goes without the file."
                )

    def lines(self, name: str, parse: Callable[[dict[str, Any]], T]) -> list[T]:
        """Parse a JSON-lines file; a truncated last line is left out and noted."""
        return self._or([], lambda: self._lines(name, parse))

    def growth(self, name: str) -> GrowthLog | None:
        """Parse a file of growth/; None if it cannot be read."""
        return self._or(None, lambda: self._record(name, read_growth))

    def audit(self) -> Audit | None:
        """Parse audit.json; None if there is none, or if it cannot be read."""
        return self._of_a_verb("audit.json", read_audit)

    def guarantee(self) -> Guarantee | None:
        """Parse guarantee.json; None if there is none, or if it cannot be read."""
        return self._of_a_verb("guarantee.json", read_guarantee)

    def review(self) -> Review | None:
        """Parse review/review.json; None if there is none, or if it cannot be read."""
        return self._of_a_verb("review/review.json", read_review)

    def _of_a_verb(self, name: str, read: Callable[[dict[str, Any]], T]) -> T | None:
        if not (self._folder / name).exists():
            return None
        return self._or(None, lambda: self._record(name, read))

    def text(self, name: str) -> str:
        """Return the text of a file; "" if there is none."""
        read = partial(self._bytes, name, _LARGEST_TEXT)
        return (self._or(None, read) or b"").decode("utf-8", errors="replace")

    def numbered(self, folder: str, suffix: str) -> dict[int, str]:
        """Return the names of the files of each round in a folder, by number."""
        found = {}
        inside = self._folder / folder
        for path in sorted(inside.glob(f"round-*.{suffix}")) if inside.is_dir() else ():
            # Skip temporary and foreign files.
            if match := re.fullmatch(r"round-(\d{1,6})", path.stem):
                found[int(match[1])] = f"{folder}/{path.name}"
        return found

    def _or(self, otherwise: T, read: Callable[[], T]) -> T:
        try:
            return read()
        except RunError as error:
            if not self._tolerant:
                raise
            self.notes.append(f"{error} This report goes without the file.")
            return otherwise

    def _without(
        self, record: dict[str, Any], name: str, place: tuple[str | int, ...], problem: str
    ) -> dict[str, Any]:
        """Return a record without a key or a key's key."""
        shown = ".".join(map(str, place)) or "the whole"
        message = (
            f'{self._folder / name}: "{shown}" is not as a run writes it ({problem}). '
            "Run again to replace it."
        )
        if not self._tolerant:
            raise RunError(message)
        self.notes.append(f"{message} This report goes without it.")
        if not place:
            return {}
        first, *rest = place
        inner = record.get(str(first))
        if rest and isinstance(inner, dict):
            kept = {key: value for key, value in inner.items() if key != rest[0]}
            return {**record, str(first): kept}
        return {key: value for key, value in record.items() if key != first}

    def _bytes(self, name: str, largest: int) -> bytes | None:
        """Return the contents of a file; None if there is none."""
        path = self._folder / name
        if not path.is_file():
            if path.exists():
                raise RunError(f"{path} is no file. Remove it, or restore the file.")
            return None
        if not path.resolve().is_relative_to(self._folder.resolve()):
            raise RunError(
                f"{path} is a link to a file outside the run's folder, which is not read. "
                "Put the file itself there."
            )
        try:
            if (size := path.stat().st_size) > largest:
                raise RunError(
                    f"{path} has {size:,} bytes, and no run writes more than {largest:,}. "
                    "Restore the file, or remove it."
                )
            return path.read_bytes()
        except OSError as error:
            raise RunError(
                f"{path} cannot be read: {error.strerror}. Check its permissions and the disk."
            ) from error

    def _object(self, name: str) -> dict[str, Any] | None:
        """Return the JSON object in a file, or None if there is no such file."""
        path = self._folder / name
        content = self._bytes(name, _LARGEST_TEXT)
        if content is None:
            return None
        try:
            found = json.loads(content.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise RunError(
                f"{path} is not valid JSON ({why(error)}), so it was damaged after it was "
                "written. Resume the run, or restore the file."
            ) from error
        if not isinstance(found, dict):
            raise RunError(
                f"{path} contains a {type(found).__name__} instead of a JSON object. "
                "Resume the run, or restore the file."
            )
        return found

    def _lines(self, name: str, parse: Callable[[dict[str, Any]], T]) -> list[T]:
        path = self._folder / name
        # Split the bytes: str.splitlines would also split at U+2028 inside a text, and a truncated
        # UTF-8 character must not spoil the other lines.
        content = self._bytes(name, _LARGEST_LINES) or b""
        lines = [
            (number, line) for number, line in enumerate(content.split(b"\n"), 1) if line.strip()
        ]
        records = []
        for position, (number, line) in enumerate(lines, 1):
            try:
                found = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                if position == len(lines):
                    self.notes.append(
                        f"{path.parent.name}/{path.name}: the last line ({number}) is half-written "
                        "and was left out."
                    )
                    break
                raise RunError(
                    f"{path} line {number} is not valid JSON ({why(error)}). "
                    "Fix or remove that line, or resume the run."
                ) from error
            try:
                records.append(parse(found))
            except _UNREADABLE as error:
                raise RunError(
                    f"{path} line {number} violates docs/reference/run-folder.md: {why(error)}. "
                    "Fix or remove that line, or read it with the version that wrote it."
                ) from error
        return records

    def _record(self, name: str, read: Callable[[dict[str, Any]], T]) -> T:
        try:
            return read(self._object(name) or {})
        except _UNREADABLE as error:
            again = _AGAIN.get(name, "Resume the run")
            raise RunError(
                f"{self._folder / name} violates docs/reference/run-folder.md: {why(error)}. "
                f"{again}, or restore the file."
            ) from error
