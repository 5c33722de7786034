"""The pool: an append-only ledger of rows over ``pool/rows.jsonl``, one line a row, written before anything is trained on it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from tutelage.errors import RunError
from tutelage.records import Row, row_from_dict


class Pool:
    """Every row of a run, accepted or not, in the order in which it came.

    A row is on disk when :meth:`append` returns. Lines are only ever added at the end; :meth:`truncate` takes back those that
    came after a checkpoint, when a run resumes from it.
    """

    def __init__(self, path: Path, rows: Sequence[Row] = (), ends: Sequence[int] = ()) -> None:
        """Use :meth:`open`; ``ends`` are the places in the file where the lines of ``rows`` end, in bytes."""
        self.path = path
        self._rows = list(rows)
        self._ends = list(ends)
        self._ids = {row.id for row in rows}

    @classmethod
    def open(cls, path: Path | str) -> Pool:
        """Read the ledger at ``path``, or begin one. A half-written last line, as ``kill -9`` leaves it, is cut away.

        Raises:
            RunError: a line is not a row, an id stands twice, or the file cannot be read or made.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            data = path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                _cut(path, whole)
        except OSError as error:
            raise _not_written(path, error) from error
        rows: list[Row] = []
        ends: list[int] = []
        seen: set[str] = set()
        index = 0
        for number, line in enumerate(data[:whole].split(b"\n")[:-1], start=1):
            index += len(line) + 1
            try:
                row = row_from_dict(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise RunError(
                    f"{path}:{number} is not a row of a pool ({error}). The file was altered; start the run anew in another folder."
                ) from error
            if row.id in seen:
                raise RunError(
                    f"{path}:{number} repeats the id '{row.id}'. The file was altered; start the run anew in another folder."
                )
            seen.add(row.id)
            rows.append(row)
            ends.append(index)
        return cls(path, rows, ends)

    def __len__(self) -> int:
        """The number of rows, rejected ones included."""
        return len(self._rows)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every row, in order."""
        return tuple(self._rows)

    def accepted(self) -> tuple[Row, ...]:
        """The accepted rows, in order."""
        return tuple(row for row in self._rows if row.accepted)

    def of_round(self, round: int) -> tuple[Row, ...]:
        """The rows of one round, rejected ones included, in order."""
        return tuple(row for row in self._rows if row.round == round)

    def append(self, rows: Iterable[Row]) -> None:
        """Write ``rows`` at the end and wait until the disk has them: all of them, or none.

        Raises:
            RunError: an id is in the pool already or stands twice, a number is not finite, or the disk did not take the rows.
        """
        new = list(rows)
        ids: set[str] = set()
        for row in new:
            if row.id in self._ids or row.id in ids:
                raise RunError(
                    f"Row '{row.id}' ({row.text[:60]!r}) is in {self.path} already. A row is written once; give a new one an id of its own."
                )
            ids.add(row.id)
        lines = [_line(row) for row in new]
        start = self._ends[-1] if self._ends else 0
        try:
            with self.path.open("r+b", buffering=0) as handle:
                if os.fstat(handle.fileno()).st_size > start:
                    os.ftruncate(handle.fileno(), start)  # what an interrupted append left
                handle.seek(start)
                try:
                    _write_all(handle.fileno(), b"".join(lines))
                    os.fsync(handle.fileno())
                except OSError:
                    # What was written of them goes, so that no half line stays; a full disk allows that. Where it cannot, the
                    # next append or open cuts it away, and the reason to tell is the first one.
                    with contextlib.suppress(OSError):
                        os.ftruncate(handle.fileno(), start)
                    raise
        except OSError as error:
            raise _not_written(self.path, error) from error
        for row, line in zip(new, lines, strict=True):
            start += len(line)
            self._rows.append(row)
            self._ends.append(start)
        self._ids |= ids

    def digest(self, length: int | None = None) -> str:
        """SHA-256 (64 hex digits) over id, text, target, source, round, accepted and reason of the first ``length`` rows (None: all).

        Distributions, confidences and weights are left out: they are floats, whose last digits differ between machines.
        """
        total = hashlib.sha256()
        for row in self._rows[:length]:
            total.update(
                json.dumps(
                    [row.id, row.text, row.target, row.source, row.round, row.accepted, row.reason]
                ).encode()
                + b"\n"
            )
        return total.hexdigest()

    def truncate(self, length: int, digest: str) -> None:
        """Take back every row after the first ``length``, which must have ``digest``; the file changes in one step, or not at all.

        Raises:
            RunError: the pool is shorter, or its rows are not those of the checkpoint; nothing is cut then.
        """
        if not 0 <= length <= len(self):
            raise RunError(
                f"The checkpoint knows {length} rows, but {self.path} has {len(self)}. They do not belong together, or rows were lost; "
                "resume with the run's own folder, or start anew."
            )
        if (found := self.digest(length)) != digest:
            raise RunError(
                f"The first {length} rows of {self.path} have the hash {found[:12]}…, and the checkpoint expects {digest[:12]}…. "
                "The pool was altered since; resume with the run's own folder, or start anew."
            )
        if length == len(self):
            return
        try:
            _cut(self.path, self._ends[length - 1] if length else 0)
        except OSError as error:
            raise _not_written(self.path, error) from error
        del self._rows[length:], self._ends[length:]
        self._ids = {row.id for row in self._rows}


def _line(row: Row) -> bytes:
    try:
        try:
            return json.dumps(asdict(row), ensure_ascii=False, allow_nan=False).encode() + b"\n"
        except UnicodeEncodeError:
            # A model may write half a surrogate pair, which UTF-8 has no bytes for; JSON's escapes do.
            return json.dumps(asdict(row), allow_nan=False).encode() + b"\n"
    except ValueError as error:
        raise RunError(
            f"Row '{row.id}' ({row.text[:60]!r}) holds a number that is not finite ({error}); its weight or distribution is broken."
        ) from error


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _cut(path: Path, size: int) -> None:
    with path.open("r+b") as handle:
        os.ftruncate(handle.fileno(), size)
        os.fsync(handle.fileno())


def _not_written(path: Path, error: OSError) -> RunError:
    return RunError(
        f"{path} could not be written ({error.strerror or error}). Free some space or mend the permissions, then resume the run; "
        "every row that was written before is still there."
    )
