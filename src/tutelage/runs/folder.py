"""The run folder, and the only code that writes its small files (docs/reference/run-folder.md)."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tutelage.errors import RunError


def _dump(record: Any) -> str:
    return json.dumps(record, ensure_ascii=False, allow_nan=False)


class RunFolder:
    """Writes the small files of one run: JSON atomically, JSON lines one at a time.

    Args:
        path: The folder; created with its parents if it does not exist.

    Raises:
        RunError: If the disk refuses a file; the message names it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"The run folder {path} cannot be created: {error.strerror}. "
                "Choose another one with hydra.run.dir=…"
            ) from error

    @contextmanager
    def lock(self, wait: float = 10.0) -> Iterator[None]:
        """Hold the folder's lock, so that no other process works in it.

        The operating system releases the lock when the process ends, even after ``kill -9``.

        Args:
            wait: Seconds to wait for the lock. A run whose sweep was killed takes a moment to stop.

        Raises:
            RunError: If another process still holds the lock after ``wait`` seconds.
        """
        with (self.path / ".lock").open("a") as handle:
            end = time.monotonic() + wait
            while True:
                try:
                    # Non-blocking in a loop, because a blocking flock has no timeout.
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise RunError(
                            f"Another process is using {self.path}. Wait for it to finish, "
                            "or stop it, then continue with resume=true."
                        ) from None
                    time.sleep(0.2)
            yield

    def __truediv__(self, name: str) -> Path:
        """Return the path of a file in this folder."""
        return self.path / name

    def write_json(self, name: str, record: Any) -> None:
        """Atomically replace ``name`` with ``record`` as indented JSON; NaN is refused."""
        self.write_text(
            name, json.dumps(record, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
        )

    def write_lines(self, name: str, records: Iterable[Any]) -> None:
        """Atomically replace ``name`` with one JSON line per record."""
        self.write_text(name, "".join(_dump(record) + "\n" for record in records))

    def write_text(self, name: str, text: str) -> None:
        """Atomically replace ``name`` with ``text`` in UTF-8; missing parent folders are created.

        Raises:
            RunError: If the file cannot be written; the previous file is then still intact.
        """
        target = self.path / name
        # Write next to the target and rename, so that readers see the old file or the new one.
        scratch = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_text(text, encoding="utf-8")
            scratch.replace(target)
        except OSError as error:
            scratch.unlink(missing_ok=True)
            raise _disk(target, error) from error

    def keep_lines(self, name: str, count: int) -> None:
        """Truncate a JSON-lines file to its first ``count`` lines, its state at a checkpoint."""
        path = self.path / name
        if path.exists():
            # Split at newlines only: a text may contain other line separators.
            lines = path.read_bytes().split(b"\n")
            self.write_text(
                name, b"".join(line + b"\n" for line in lines[:count] if line).decode("utf-8")
            )

    def append_line(self, name: str, record: Any) -> None:
        """Append ``record`` to a JSON-lines file.

        Raises:
            RunError: If the line cannot be written.
        """
        target = self.path / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("a", encoding="utf-8") as handle:
                handle.write(_dump(record) + "\n")
        except OSError as error:
            raise _disk(target, error) from error

    def read_json(self, name: str) -> Any:
        """Read a JSON file.

        Returns:
            The parsed value, or None if there is no such file.

        Raises:
            RunError: If the file is not valid JSON.
        """
        path = self.path / name
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(
                f"{path} is not valid JSON ({error}), so it was altered after it was written. "
                "Start the run again in another folder."
            ) from error

    def read_lines(self, name: str) -> Sequence[Any]:
        """Read a JSON-lines file, without a half-written last line; an absent file is empty."""
        path = self.path / name
        if not path.is_file():
            return []
        # A complete line ends in a newline; anything after the last one is still being written.
        whole = path.read_bytes().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.strip()]


def runs_with(config_hash: str, folders: Iterable[Path]) -> Iterator[tuple[str, RunFolder]]:
    """Find the runs of one configuration.

    Args:
        config_hash: Hash from :func:`~tutelage.runs.manifest.config_hash`.
        folders: Candidate run folders; symbolic links and folders without a manifest are skipped.

    Returns:
        Pairs of the ISO time at which the run started ("" if unknown) and its folder.
    """
    for path in folders:
        if path.is_symlink() or not (path / "manifest.json").is_file():
            continue
        folder = RunFolder(path)
        if folder.read_json("manifest.json").get("config_hash") == config_hash:
            yield str((folder.read_json("status.json") or {}).get("started", "")), folder


def _disk(path: Path, error: OSError) -> RunError:
    return RunError(
        f"{path} could not be written: {error.strerror}. "
        "Free some disk space (or choose another folder), then continue with resume=true."
    )


class Status:
    """Keeps ``status.json`` up to date: state, phase, round, and the command that resumes the run.

    Args:
        folder: The run's folder. A start time recorded there earlier is kept.
        resume_command: The shell command that continues the run; shown if it ends early.
    """

    def __init__(self, folder: RunFolder, resume_command: str) -> None:
        self._folder = folder
        # A resumed run keeps the time of its first start.
        before = folder.read_json("status.json") or {}
        self._record: dict[str, Any] = {
            "state": "running",
            "phase": "starting",
            "round": 0,
            "started": before.get("started") or _now(),
            "updated": _now(),
            "error": "",
            "resume_command": resume_command,
        }
        self._write()

    def phase(self, name: str, round: int) -> None:
        """Record the beginning of a phase."""
        self._record |= {"phase": name, "round": round}
        self._write()

    def end(self, state: str, error: str = "") -> None:
        """Record the end of the run.

        Args:
            state: "done", "interrupted" or "failed".
            error: The error message of a failed run.
        """
        self._record |= {"state": state, "error": error}
        if state == "done":
            # A finished run has nothing to resume.
            self._record["resume_command"] = ""
        self._write()

    def _write(self) -> None:
        self._record["updated"] = _now()
        self._folder.write_json("status.json", self._record)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
