"""The file behind the cache: replies by key, and claims on what is being asked, in SQLite. Safe for several processes at once."""

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
"""Keys a statement; SQLite allows 999 parameters in old builds."""


class CacheStore:
    """Replies (as JSON texts) by key, and short-lived claims that keep two processes from paying for one request.

    Args:
        path: the database file; made with its folder when it is not there.
        claim_seconds: a claim that was not renewed for so long is void. Claims of dead processes of this machine are void at once.

    Raises:
        TeacherError: the file cannot be used; the message names it and says what to do.
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
        # In WAL this survives kill -9 at any moment; only a power cut can lose the last replies, and never the file.
        self._db.execute("PRAGMA synchronous=NORMAL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, _SCHEMA_VERSION):
            raise TeacherError(
                f"the cache {self._path} has format {version}, this version reads {_SCHEMA_VERSION}; name another teacher.cache."
            )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS replies (key BLOB PRIMARY KEY, reply TEXT NOT NULL) WITHOUT ROWID"
        )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS claims (key BLOB PRIMARY KEY, owner TEXT NOT NULL, renewed REAL NOT NULL) WITHOUT ROWID"
        )
        if version == 0:
            self._db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")

    def get(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """The replies that are there."""
        found: dict[bytes, str] = {}
        with self._lock, self._plain_errors():
            for some in _portions(keys):
                marks = ",".join("?" * len(some))
                found.update(
                    self._db.execute(
                        f"SELECT key, reply FROM replies WHERE key IN ({marks})", some
                    ).fetchall()
                )
        return found

    def put(self, key: bytes, reply: str) -> None:
        """Write one reply and drop its claim, durably once this returns."""
        with self._lock, self._plain_errors(), self._transaction():
            self._db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?)", (key, reply))
            self._db.execute("DELETE FROM claims WHERE key = ?", (key,))

    def claim(self, keys: Sequence[bytes]) -> list[bytes]:
        """Claim those keys that have no reply and that no living process has claimed; return them in the given order."""
        now = time.time()
        with self._lock, self._plain_errors(), self._transaction():
            taken = set(self.get(keys))
            for some in _portions(keys):
                marks = ",".join("?" * len(some))
                rows = self._db.execute(
                    f"SELECT key, owner, renewed FROM claims WHERE key IN ({marks})", some
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
        """Say that the work behind this process's claims goes on."""
        with self._lock, self._plain_errors():
            self._db.execute(
                "UPDATE claims SET renewed = ? WHERE owner = ?", (time.time(), self._owner)
            )

    def release(self, keys: Iterable[bytes]) -> None:
        """Give up this process's claims on ``keys``."""
        with self._lock, self._plain_errors(), self._transaction():
            self._db.executemany(
                "DELETE FROM claims WHERE key = ? AND owner = ?",
                [(key, self._owner) for key in keys],
            )

    def __len__(self) -> int:
        """How many replies are kept."""
        with self._lock, self._plain_errors():
            return int(self._db.execute("SELECT count(*) FROM replies").fetchone()[0])

    def close(self) -> None:
        """Close the file; twice is not an error."""
        with self._lock:
            self._db.close()

    def _alive(self, owner: str) -> bool:
        host, pid, created = owner.rsplit(":", 2)
        if host != socket.gethostname():
            return True
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
            # After "disk is full" SQLite may have rolled back by itself.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            said = str(error).lower()
            if any(
                word in said
                for word in ("disk is full", "disk i/o", "no space", "database or disk")
            ):
                todo = "The disk is full or failing: free some space and run again; every reply that came before is kept."
            elif any(
                word in said for word in ("not a database", "malformed", "corrupt", "encrypted")
            ):
                todo = "The file is broken or is no cache of this program: move it away (the replies in it are paid again), or name another."
            elif "locked" in said or "busy" in said:
                todo = f"Another process held it for more than {_BUSY_SECONDS:g} seconds; see which one, or name another file."
            elif "closed" in said:
                todo = "The teacher was closed and asked again; build a new one."
            else:
                todo = "Check that the folder exists and may be written, or name another file with teacher.cache."
            raise TeacherError(
                f"the teacher's cache {self._path} failed: {error}. {todo}"
            ) from error


def _portions(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(keys), _AT_ONCE):
        yield keys[start : start + _AT_ONCE]
