"""The SQLite file behind the reply cache: replies by key, and claims on requests in progress.

Several processes can use the file at the same time, also of different versions of tutelage:

* format 1 keeps replies in the table ``replies``;
* format 2 keeps them in ``answers``, with a checksum each. A file of format 1 gets this table
  beside its own, which is still read. A process of the older version that has the file open never
  notices.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tutelage.errors import TeacherError
from tutelage.teacher.base import Reply
from tutelage.teacher.wrappers import cache_rows

_FORMAT = 2
_TABLES = {
    "answers": "CREATE TABLE answers (key BLOB PRIMARY KEY, reply TEXT NOT NULL, "
    "checksum BLOB NOT NULL) WITHOUT ROWID",
    "claims": "CREATE TABLE claims "
    "(key BLOB PRIMARY KEY, owner TEXT NOT NULL, renewed REAL NOT NULL) WITHOUT ROWID",
}
_OF_FORMAT_1 = {
    "replies": "CREATE TABLE replies (key BLOB PRIMARY KEY, reply TEXT NOT NULL) WITHOUT ROWID",
    "claims": _TABLES["claims"],
}
_BUSY_SECONDS = 60.0
_SAME_START = 2.0
"""A process's start time is known to about a second, because the system clock is adjusted."""
_AT_ONCE = 500
"""Keys per statement; old builds of SQLite allow 999 parameters."""
# A damaged file can hold any type, and CAST makes bytes of all but NULL.
_CHECKSUMMED = (
    "SELECT CAST(key AS BLOB), CAST(reply AS BLOB), CAST(ifnull(checksum, x'') AS BLOB) "
    "FROM answers"
)
_UNCHECKED = "SELECT CAST(key AS BLOB), CAST(reply AS BLOB), NULL FROM replies"
_FULL = (
    "The disk is full or failing: free some space and run again. Every earlier reply is kept.",
    ("SQLITE_FULL", "SQLITE_IOERR"),
)
_DAMAGED = (
    "The file is damaged, or is not a cache of tutelage: move it away (its replies will be paid "
    "for again), or set teacher.cache to another file.",
    ("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_FORMAT"),
)
_LOCKED = (
    f"Another process locked it for more than {_BUSY_SECONDS:g} seconds. Stop that process, or set "
    "teacher.cache to another file.",
    ("SQLITE_BUSY", "SQLITE_LOCKED"),
)
_NETWORK = (
    "Its file system does not support the locks that a cache needs, as is usual for network "
    "folders: set teacher.cache to a file on a local disk.",
    ("SQLITE_PROTOCOL",),
)


@dataclass(frozen=True, slots=True)
class Claimant:
    """A process that other processes wait for.

    Attributes:
        host: Its machine; "" for this one.
        pid: Its process id.
        claims: Number of the wanted requests that it has claimed.
        expires: Seconds until the last of these claims expires unless renewed.
    """

    host: str
    pid: int
    claims: int
    expires: float


class CacheStore:
    """Replies by key, and short-lived claims on requests in progress.

    Claims keep two processes from paying for the same request.

    Args:
        path: The database file; created with its folder if missing.
        claim_seconds: Seconds after which a claim expires unless renewed. Claims of dead processes
            on this machine are void at once.

    Attributes:
        damaged: What was wrong with each stored reply that could not be read, by key.
        whole: Number of replies read so far.

    Raises:
        TeacherError: The file cannot be used.
    """

    def __init__(self, path: Path, *, claim_seconds: float = 600.0) -> None:
        self._path = path
        self._claim_seconds = claim_seconds
        self._lock = threading.RLock()
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"
        self.damaged: dict[bytes, str] = {}
        self.whole = 0
        with self._plain_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
                # A relative path means another file once the working folder changes.
                self._place = path.absolute()
                self._file = self._place.stat()
            except BaseException:
                self._db.close()
                raise

    @property
    def in_place(self) -> bool:
        """False once the file was moved or removed: SQLite goes on writing to it unaware."""
        try:
            return os.path.samestat(self._place.stat(), self._file)
        except OSError:
            return False

    def _prepare(self) -> None:
        # A file that is no cache is not touched, so it is looked at first.
        version = self._checked_version()
        self._db.execute("PRAGMA journal_mode=WAL")
        # With WAL this survives kill -9 at any moment. A power cut can lose the last replies, but
        # never the file.
        self._db.execute("PRAGMA synchronous=NORMAL")
        if version != _FORMAT:
            # Another process may be doing the same, so the transaction looks again.
            with self._transaction():
                if self._checked_version() != _FORMAT:
                    for statement in _TABLES.values():
                        self._db.execute(
                            statement.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS")
                        )
                    self._db.execute(f"PRAGMA user_version={_FORMAT}")
        self._sources = (
            [_CHECKSUMMED, _UNCHECKED] if "replies" in self._tables() else [_CHECKSUMMED]
        )

    def _tables(self) -> dict[str, str]:
        return dict(
            self._db.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE "
                "'sqlite~_%' ESCAPE '~'"
            ).fetchall()
        )

    def _checked_version(self) -> int:
        """Returns the file's format, 0 for an empty file; refuses files that are no cache."""
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        tables = self._tables()
        known = {**_OF_FORMAT_1, **_TABLES}
        own = {name for name, sql in tables.items() if known.get(name) == sql}
        # A file without a format may hold the first tables of a process that was killed.
        fits = {
            0: own == set(tables),
            1: own.issuperset(_OF_FORMAT_1),
            _FORMAT: own.issuperset(_TABLES),
        }
        if version > _FORMAT and "claims" in tables:
            raise TeacherError(
                f"the cache {self._path} has format {version}, but this version of tutelage reads "
                f"formats up to {_FORMAT}. Set teacher.cache to another file."
            )
        if not fits.get(version):
            raise TeacherError(
                f"{self._path} is an SQLite database, but no cache of tutelage (or a damaged one). "
                "Set teacher.cache to another file."
            )
        return int(version)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Reply]:
        """Returns the stored replies by key; missing and damaged ones are left out."""
        found: dict[bytes, Reply] = {}
        with self._lock, self._plain_errors():
            for chunk in _chunks(keys):
                for source in self._sources:
                    wanted = [key for key in chunk if key not in found] if found else chunk
                    marks = ",".join("?" * len(wanted))
                    rows = self._db.execute(f"{source} WHERE key IN ({marks})", wanted).fetchall()
                    for key, stored, checksum in rows:
                        try:
                            found[key] = cache_rows.read(key, stored or b"", checksum)
                        except ValueError as error:
                            self.damaged.setdefault(key, str(error))
        self.whole += len(found)
        return found

    def put(self, key: bytes, reply: Reply) -> None:
        """Writes one reply and releases its claim; both survive ``kill -9`` once this returns."""
        stored = cache_rows.written(reply)
        checksum = cache_rows.checksum(key, stored.encode())
        with self._lock, self._plain_errors(), self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", (key, stored, checksum)
            )
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
            taken = {*self.get(keys), *(key for key, _, _ in self._valid_claims(keys, now))}
            mine = [key for key in keys if key not in taken]
            self._db.executemany(
                "INSERT OR REPLACE INTO claims VALUES (?, ?, ?)",
                [(key, self._owner, now) for key in mine],
            )
        return mine

    def claimants(self, keys: Sequence[bytes]) -> list[Claimant]:
        """Returns the processes with a valid claim on one of the keys."""
        now = time.time()
        with self._lock, self._plain_errors():
            claims = self._valid_claims(keys, now)
        found = []
        for owner in sorted({owner for _, owner, _ in claims}):
            times = [renewed for _, other, renewed in claims if other == owner]
            host, pid, _ = owner.rsplit(":", 2)
            found.append(
                Claimant(
                    "" if host == socket.gethostname() else host,
                    int(pid),
                    len(times),
                    max(times) + self._claim_seconds - now,
                )
            )
        return found

    def _valid_claims(self, keys: Sequence[bytes], now: float) -> list[tuple[bytes, str, float]]:
        """Returns key, owner and time of each claim on ``keys`` that is young and of the living."""
        found = []
        for chunk in _chunks(keys):
            marks = ",".join("?" * len(chunk))
            rows = self._db.execute(
                "SELECT key, CAST(owner AS BLOB), CAST(renewed AS REAL) FROM claims "
                f"WHERE key IN ({marks})",
                chunk,
            ).fetchall()
            alive = {owner: _alive(owner) for owner in {owner for _, owner, _ in rows}}
            found += [
                (key, owner.decode(), renewed)
                for key, owner, renewed in rows
                # A time far in the future comes from another clock.
                if alive[owner] and abs(now - renewed) < self._claim_seconds
            ]
        return found

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
            tables = ["answers", "replies"][: len(self._sources)]
            keys = " UNION ".join(f"SELECT key FROM {table}" for table in tables)
            return int(self._db.execute(f"SELECT count(*) FROM ({keys})").fetchone()[0])

    def close(self) -> None:
        """Closes the file. Closing twice is allowed."""
        with self._lock:
            self._db.close()

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
        # SQLite may quote a damaged file in its message, and the message then has no UTF-8 form.
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            raise TeacherError(
                f"the teacher's cache {self._path} failed: {error}. {_advice(error)}"
            ) from error


def _alive(owner: bytes | None) -> bool:
    """Returns whether the owner of a claim may still answer; an unreadable owner cannot."""
    try:
        host, pid, created = (owner or b"").decode().rsplit(":", 2)
        # Processes on other machines cannot be checked; their claims end by age alone.
        if host != socket.gethostname():
            return int(pid) > 0
        process = psutil.Process(int(pid))
        # Process ids are reused, so the time of creation must match too. A zombie has ended, but
        # its parent has not asked for its exit code, as in a container without an init process.
        same = abs(process.create_time() - float(created)) < _SAME_START
        return same and str(process.status()) != str(psutil.STATUS_ZOMBIE)
    except psutil.AccessDenied:
        return True
    except (ValueError, OverflowError, psutil.NoSuchProcess):
        return False


def _advice(error: Exception) -> str:
    """Returns advice for an error of SQLite or of the system."""
    name = getattr(error, "sqlite_errorname", None) or ""
    reason = str(error).lower()
    for advice, names in (_FULL, _DAMAGED, _LOCKED, _NETWORK):
        if name.startswith(names):
            return advice
    if "no space" in reason:
        return _FULL[0]
    if "no such" in reason or "decode" in reason:
        return _DAMAGED[0]
    if "closed" in reason:
        return "The teacher was asked after it was closed; build a new one."
    return "Check that the folder exists and is writable, or set teacher.cache to another file."


def _chunks(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(keys), _AT_ONCE):
        yield keys[start : start + _AT_ONCE]
