"""The run folder, and the only code that writes its small files (docs/reference/run-folder.md)."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tutelage.errors import RunError

_SUBFOLDERS = (
    "",
    "pool",
    "feedback",
    "growth",
    "predictions",
    "teacher",
    "checkpoints",
    "review",
)
_SCRATCH = re.compile(r"\..+\.\d+\.part|\.report-.+\.html")
"""Files that are renamed once they are whole: small files, and the report."""

DONE = "done"
REPORT = "report"
"""Phases of a run whose state is "done": all of it, or all but its report."""


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
            RunError: If another process still holds the lock after ``wait`` seconds, or the folder
                cannot be written.
        """
        try:
            handle = (self.path / ".lock").open("a")
        except OSError as error:
            raise _disk(self.path / ".lock", error) from error
        with handle:
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
                            "or stop it, then continue with resume=true; or start in another "
                            "folder."
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
            # A lone surrogate (of a path that is not UTF-8) gets the escaped form of JSON.
            scratch.write_text(text, encoding="utf-8", errors="backslashreplace")
            scratch.replace(target)
        except OSError as error:
            scratch.unlink(missing_ok=True)
            raise _disk(target, error) from error

    def remove_scratch(self) -> None:
        """Remove what a killed process left half-written; call it while holding the lock.

        The mirror's folder is left alone: its process may outlive the run's for a moment.
        """
        folders = [
            base / name for base in (self.path, self.path / "supervised") for name in _SUBFOLDERS
        ]
        for scratch in (one for folder in folders for one in folder.glob("*")):
            if _SCRATCH.fullmatch(scratch.name) or scratch.match("checkpoints/*.part"):
                scratch.unlink(missing_ok=True)
        for scratch in (self.path / "figures").glob(".*"):
            shutil.rmtree(scratch, ignore_errors=True)

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
            with target.open("a", encoding="utf-8", errors="backslashreplace") as handle:
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
        except (ValueError, RecursionError) as error:
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


def new_folder(wanted: Path) -> Path:
    """Make a folder that no other process has; a number is added to the name of one that exists.

    Returns:
        The path of the new, empty folder.

    Raises:
        OSError: It cannot be made.
    """
    wanted.parent.mkdir(parents=True, exist_ok=True)
    # mkdir decides between processes that want the same folder in the same moment.
    path, number = wanted, 1
    while True:
        with suppress(FileExistsError):
            path.mkdir()
            return path
        number += 1
        path = wanted.with_name(f"{wanted.name}-{number}")


def holds_run(path: Path) -> bool:
    """Whether a run has begun in a folder, finished or not."""
    names = {one.name for one in path.iterdir()} if path.is_dir() else set()
    return bool(names & {"manifest.json", "result.json"}) or {"config.yaml", "status.json"} <= names


def refuse_taken(path: Path) -> None:
    """Refuse the folder of a run for another one.

    Raises:
        RunError: ``path`` holds a run.
    """
    if holds_run(path):
        raise RunError(
            f"{path} holds a run already. Start in another folder (hydra.run.dir=…, or folder=… "
            f"in Python), or give the overrides of that run and {shlex.quote(f'resume={path}')} to "
            "continue it."
        )


def identity_of(path: Path) -> Mapping[str, Any] | None:
    """The "config_hash" and "config_format" of the run in a folder; None if it holds no run.

    They are in status.json, the first file of a run; runs of earlier versions have them in
    manifest.json alone.
    """
    if not path.is_dir():
        return None
    folder = RunFolder(path)
    status: Mapping[str, Any] = folder.read_json("status.json") or {}
    manifest: Mapping[str, Any] | None = folder.read_json("manifest.json")
    return manifest or (status if "config_hash" in status else None)


def holds_nothing(path: Path) -> bool:
    """Whether a folder is that of a run that was killed before it wrote its first file."""
    return path.is_dir() and all(
        one.name == ".lock" or _SCRATCH.fullmatch(one.name) for one in path.iterdir()
    )


def runs_with(config_hash: str, folders: Iterable[Path]) -> Iterator[tuple[str, RunFolder]]:
    """Find the runs of one configuration.

    Args:
        config_hash: Hash from :func:`~tutelage.runs.manifest.config_hash`.
        folders: Candidate run folders; symbolic links and folders without a run are skipped.

    Returns:
        Pairs of the ISO time at which the run started ("" if unknown) and its folder.
    """
    for path in folders:
        if path.is_symlink() or (identity_of(path) or {}).get("config_hash") != config_hash:
            continue
        folder = RunFolder(path)
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
        identity: What a resume finds the run by (:func:`~tutelage.runs.manifest.identity`).
    """

    def __init__(
        self, folder: RunFolder, resume_command: str, identity: Mapping[str, Any] | None = None
    ) -> None:
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
            **(identity or {}),
        }
        self._write()

    def phase(self, name: str, round: int) -> None:
        """Record the beginning of a phase."""
        self._record |= {"phase": name, "round": round}
        self._write()

    def end(self, state: str, error: str = "") -> None:
        """Record the end of a run that is not done.

        Args:
            state: "interrupted" or "failed".
            error: What ended it.
        """
        self._record |= {"state": state, "error": error}
        self._write()

    def _write(self) -> None:
        self._record["updated"] = _now()
        self._folder.write_json("status.json", self._record)


def is_closed(folder: RunFolder, unless: str = "") -> bool:
    """Return whether a run is done, in another phase than ``unless``."""
    status = folder.read_json("status.json") or {}
    return status.get("state") == "done" and status.get("phase") != unless


def finish(folder: RunFolder, phase: str = DONE) -> None:
    """Record in status.json that a run is done, whoever did it.

    Args:
        folder: The folder of a run with a result.
        phase: ``REPORT`` while its report is still to be drawn.
    """
    record = folder.read_json("status.json") or {}
    ended = {"state": "done", "phase": phase, "error": "", "resume_command": ""}
    folder.write_json("status.json", {**record, **ended, "updated": _now()})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
