"""The pool: an append-only ledger of rows in pool/rows.jsonl.

Rows are written to disk before anything trains on them.
"""

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
    """Every row of a run, accepted or not, in order of arrival.

    A row is on disk when :meth:`append` returns. Lines are only ever added at the end;
    :meth:`truncate` takes back those after a checkpoint when a run resumes from it.
    """

    def __init__(self, path: Path, rows: Sequence[Row] = (), ends: Sequence[int] = ()) -> None:
        """Use :meth:`open` instead.

        Args:
            path: The ledger's file.
            rows: The rows in it.
            ends: Offset in bytes of the end of each row's line.
        """
        self.path = path
        self._rows = list(rows)
        self._ends = list(ends)
        self._count_again()

    @classmethod
    def open(cls, path: Path | str) -> Pool:
        """Read the ledger at ``path``, or create an empty one.

        A half-written last line, as ``kill -9`` leaves it, is cut off.

        Raises:
            RunError: If a line is not a row, an id is repeated, or the file cannot be read or
                created.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            data = path.read_bytes()
            whole = data.rfind(b"\n") + 1
            # A line without its newline was never acknowledged by append().
            if whole < len(data):
                _cut(path, whole)
        except OSError as error:
            raise _not_written(path, error) from error
        # Parse every line, and remember its end for truncate().
        rows: list[Row] = []
        ends: list[int] = []
        seen: set[str] = set()
        end = 0
        for number, line in enumerate(data[:whole].split(b"\n")[:-1], start=1):
            end += len(line) + 1
            try:
                row = row_from_dict(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise RunError(
                    f"{path}:{number} is not a row of a pool ({error}). "
                    "The file was altered; start the run again in another folder."
                ) from error
            if row.id in seen:
                raise RunError(
                    f"{path}:{number} repeats the id '{row.id}'. "
                    "The file was altered; start the run again in another folder."
                )
            seen.add(row.id)
            rows.append(row)
            ends.append(end)
        return cls(path, rows, ends)

    def __len__(self) -> int:
        """Return the number of rows, including rejected ones."""
        return len(self._rows)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every row, in order."""
        return tuple(self._rows)

    def accepted(self) -> tuple[Row, ...]:
        """Return the accepted rows, in order."""
        return tuple(row for row in self._rows if row.accepted)

    @property
    def newest_round(self) -> int:
        """The largest round of any row; 0 without rows."""
        return max(self._by_round, default=0)

    def of_round(self, round: int) -> tuple[Row, ...]:
        """Return the rows of one round, including rejected ones, in order."""
        return tuple(self._by_round.get(round, ()))

    def since(self, length: int) -> Sequence[Row]:
        """Return the rows after the first ``length``, in order."""
        return self._rows[length:]

    def append(self, rows: Iterable[Row]) -> None:
        """Write ``rows`` at the end, all or none, and wait until they are on disk.

        Raises:
            RunError: If an id is repeated or already in the pool, a number is not finite, or the
                disk refuses the rows.
        """
        # Validate and serialise everything before the first byte is written.
        new = list(rows)
        ids: set[str] = set()
        for row in new:
            if row.id in self._ids or row.id in ids:
                raise RunError(
                    f"Row '{row.id}' ({row.text[:60]!r}) is already in {self.path}. "
                    "A row is written only once; give a new row a new id."
                )
            ids.add(row.id)
        lines = [_line(row) for row in new]
        start = self._ends[-1] if self._ends else 0
        try:
            with self.path.open("r+b", buffering=0) as handle:
                if os.fstat(handle.fileno()).st_size > start:
                    os.ftruncate(handle.fileno(), start)  # the remains of an interrupted append
                handle.seek(start)
                try:
                    _write_all(handle.fileno(), b"".join(lines))
                    os.fsync(handle.fileno())
                except OSError:
                    # Remove a half-written line, which even a full disk permits. If that fails,
                    # too, the next append or open cuts it off; report the first error.
                    with contextlib.suppress(OSError):
                        os.ftruncate(handle.fileno(), start)
                    raise
        except OSError as error:
            raise _not_written(self.path, error) from error
        # Only rows on disk enter the ledger in memory.
        for row, line in zip(new, lines, strict=True):
            start += len(line)
            self._ends.append(start)
            self._count(row)
            self._rows.append(row)

    def digest(self, length: int | None = None) -> str:
        """Hash the first ``length`` rows.

        The hash covers id, text, target, source, round, accepted and reason. Distributions,
        confidences and weights are left out: the last digits of floats differ between machines.

        Args:
            length: Number of rows; None takes all.

        Returns:
            A SHA-256 digest of 64 hex digits.
        """
        if length is None or length == len(self):
            return self._hash.hexdigest()
        total = hashlib.sha256()
        for row in self._rows[:length]:
            total.update(_hashed(row))
        return total.hexdigest()

    def truncate(self, length: int, digest: str) -> None:
        """Remove every row after the first ``length`` in one atomic step.

        Args:
            length: Number of rows to keep.
            digest: Their expected hash, see :meth:`digest`.

        Raises:
            RunError: If the pool is shorter, or its rows differ from those of the checkpoint; the
                file is then left unchanged.
        """
        if not 0 <= length <= len(self):
            raise RunError(
                f"The checkpoint knows {length} rows, but {self.path} has {len(self)}. "
                "They do not belong together, or rows were lost; "
                "resume with the run's own folder, or start again."
            )
        # The same number of rows need not be the same rows.
        if (found := self.digest(length)) != digest:
            raise RunError(
                f"The first {length} rows of {self.path} have the hash {found[:12]}…, "
                f"but the checkpoint expects {digest[:12]}…. The pool was altered since; "
                "resume with the run's own folder, or start again."
            )
        if length == len(self):
            return
        try:
            _cut(self.path, self._ends[length - 1] if length else 0)
        except OSError as error:
            raise _not_written(self.path, error) from error
        del self._rows[length:], self._ends[length:]
        self._count_again()

    def _count_again(self) -> None:
        # Hash and indexes are updated as rows arrive, so that a round costs the same in a large
        # pool as in a small one.
        self._ids: set[str] = set()
        self._by_round: dict[int, list[Row]] = {}
        self._hash = hashlib.sha256()
        for row in self._rows:
            self._count(row)

    def _count(self, row: Row) -> None:
        self._ids.add(row.id)
        self._by_round.setdefault(row.round, []).append(row)
        self._hash.update(_hashed(row))


class PoolCopy(Pool):
    """The rows of another process's pool, in memory alone.

    Args:
        rows: The rows so far.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__(Path("the pool of another process"), rows, [0] * len(rows))

    def truncate(self, length: int, digest: str) -> None:
        """Remove every row after the first ``length``; the other process checks them."""
        del self._rows[length:], self._ends[length:]
        self._count_again()

    def append(self, rows: Iterable[Row]) -> None:
        """Add ``rows``, which the other process has written to disk."""
        for row in rows:
            self._ends.append(0)
            self._count(row)
            self._rows.append(row)


class RowReader:
    """Returns each row of a pool once, as it arrives, and all of them again after a truncation.

    An index over the pool uses it to read new rows only.
    """

    def __init__(self) -> None:
        self._length = 0
        self._last: Row | None = None

    def read(self, pool: Pool) -> tuple[Sequence[Row], bool]:
        """Return the rows since the last call, and whether an index must start from scratch.

        Args:
            pool: The pool, the same in each call.
        """
        anew = not self._length or self._length > len(pool)
        anew = anew or pool.since(self._length - 1)[0] is not self._last
        rows = pool.since(0 if anew else self._length)
        self._length = len(pool)
        self._last = rows[-1] if rows else self._last
        return rows, anew


def _hashed(row: Row) -> bytes:
    content = [row.id, row.text, row.target, row.source, row.round, row.accepted, row.reason]
    return json.dumps(content).encode() + b"\n"


def _line(row: Row) -> bytes:
    try:
        try:
            return json.dumps(asdict(row), ensure_ascii=False, allow_nan=False).encode() + b"\n"
        except UnicodeEncodeError:
            # A model may generate a lone surrogate: not encodable in UTF-8, but as a JSON escape.
            return json.dumps(asdict(row), allow_nan=False).encode() + b"\n"
    except ValueError as error:
        raise RunError(
            f"Row '{row.id}' ({row.text[:60]!r}) contains a number that is not finite ({error}); "
            "its weight or distribution is broken."
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
        f"{path} could not be written ({error.strerror or error}). "
        "Free some disk space or fix the permissions, then resume the run; "
        "every row written before is still there."
    )
