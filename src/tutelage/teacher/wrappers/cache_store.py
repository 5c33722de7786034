"""The SQLite file behind the reply cache: replies by key, and claims on requests in progress.

Several processes can use the file at the same time.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import psutil

from tutelage.errors import TeacherError

_SCHEMA_VERSION = 1
_BUSY_SECONDS = 60.0
_AT_ONCE = 500
"""Keys per statement; old builds of SQLite allow 999 parameters."""


class CacheStore:
    """Replies (JSON text) by key, and short-lived claims on requests in progress.

    Claims keep two processes from paying for the same request.

    Args:
        path: The database file; created with its folder if missing.
        claim_seconds: Seconds after which a claim expires unless renewed. Claims of dead processes
            on this machine are void at once.

    Raises:
        TeacherError: The file cannot be used.
    """

    def __init__(self, path: Path, *, claim_seconds: float = 600.0) -> None:
        self._path = path
        self._claim_seconds = claim_seconds
        self._lock = threading.RLock()
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"
        with self._plain_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        # With WAL this survives kill -9 at any moment. A power cut can lose the last replies, but
        # never the file.
        self._db.execute("PRAGMA synchronous=NORMAL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, _SCHEMA_VERSION):
            raise TeacherError(
                f"the cache {self._path} has format {version}, but this version of tutelage reads "
                f"format {_SCHEMA_VERSION}. Set teacher.cache to another file."
            )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS replies "
            "(key BLOB PRIMARY KEY, reply TEXT NOT NULL) WITHOUT ROWID"
        )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS claims "
            "(key BLOB PRIMARY KEY, owner TEXT NOT NULL, renewed REAL NOT NULL) WITHOUT ROWID"
        )
        if version == 0:
            self._db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")

    def get(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """Returns the stored replies by key; missing keys are left out."""
        found: dict[bytes, str] = {}
        with self._lock, self._plain_errors():
            for chunk in _chunks(keys):
                marks = ",".join("?" * len(chunk))
                found.update(
                    self._db.execute(
                        f"SELECT key, reply FROM replies WHERE key IN ({marks})", chunk
                    ).fetchall()
                )
        return found

    def put(self, key: bytes, reply: str) -> None:
        """Writes one reply and releases its claim; both survive ``kill -9`` once this returns."""
        with self._lock, self._plain_errors(), self._transaction():
            self._db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?)", (key, reply))
            self._db.execute("DELETE FROM claims WHERE key = ?", (key,))

    def claim(self, keys: Sequence[bytes]) -> list[bytes]:
        """Claims keys for this process.

        Args:
            keys: Keys of the wanted requests.

        Returns:
            The keys now claimed, in the given order: those without a reply and without a valid
            claim of another process.
        """
        # Answered and validly claimed keys are taken; the rest is claimed in the same transaction.
        now = time.time()
        with self._lock, self._plain_errors(), self._transaction():
            taken = set(self.get(keys))
            for chunk in _chunks(keys):
                marks = ",".join("?" * len(chunk))
                rows = self._db.execute(
                    f"SELECT key, owner, renewed FROM claims WHERE key IN ({marks})", chunk
                ).fetchall()
                alive = {owner: self._alive(owner) for owner in {owner for _, owner, _ in rows}}
                taken.update(
                    key
                    for key, owner, renewed in rows
                    if alive[owner] and renewed > now - self._claim_seconds
                )
            mine = [key for key in keys if key not in taken]
            self._db.executemany(
                "INSERT OR REPLACE INTO claims VALUES (?, ?, ?)",
                [(key, self._owner, now) for key in mine],
            )
        return mine

    def renew(self) -> None:
        """Renews every claim of this process, because its requests are still in progress."""
        with self._lock, self._plain_errors():
            self._db.execute(
                "UPDATE claims SET renewed = ? WHERE owner = ?", (time.time(), self._owner)
            )

    def release(self, keys: Iterable[bytes]) -> None:
        """Releases this process's claims on ``keys``."""
        with self._lock, self._plain_errors(), self._transaction():
            self._db.executemany(
                "DELETE FROM claims WHERE key = ? AND owner = ?",
                [(key, self._owner) for key in keys],
            )

    def __len__(self) -> int:
        """Number of stored replies."""
        with self._lock, self._plain_errors():
            return int(self._db.execute("SELECT count(*) FROM replies").fetchone()[0])

    def close(self) -> None:
        """Closes the file. Closing twice is allowed."""
        with self._lock:
            self._db.close()

    def _alive(self, owner: str) -> bool:
        host, pid, created = owner.rsplit(":", 2)
        # Processes on other machines cannot be checked; their claims end by age alone.
        if host != socket.gethostname():
            return True
        # Process ids are reused, so the time of creation must match too.
        try:
            return f"{psutil.Process(int(pid)).create_time():.2f}" == created
        except psutil.NoSuchProcess:
            return False

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # SQLite may already have rolled back by itself, for instance on a full disk.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            # The message tells the cause, for errors of SQLite and of the system alike.
            reason = str(error).lower()
            if any(
                word in reason
                for word in ("disk is full", "disk i/o", "no space", "database or disk")
            ):
                advice = (
                    "The disk is full or failing: free some space and run again. Every earlier "
                    "reply is kept."
                )
            elif any(
                word in reason for word in ("not a database", "malformed", "corrupt", "encrypted")
            ):
                advice = (
                    "The file is damaged, or is not a cache of tutelage: move it away (its replies "
                    "will be paid for again), or set teacher.cache to another file."
                )
            elif "locked" in reason or "busy" in reason:
                advice = (
                    f"Another process locked it for more than {_BUSY_SECONDS:g} seconds. Stop that "
                    "process, or set teacher.cache to another file."
                )
            elif "closed" in reason:
                advice = "The teacher was asked after it was closed; build a new one."
            else:
                advice = (
                    "Check that the folder exists and is writable, or set teacher.cache to another "
                    "file."
                )
            raise TeacherError(
                f"the teacher's cache {self._path} failed: {error}. {advice}"
            ) from error


def _chunks(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(keys), _AT_ONCE):
        yield keys[start : start + _AT_ONCE]
