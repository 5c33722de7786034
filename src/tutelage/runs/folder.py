"""One run, one folder: the only place that writes its small files (docs/run-folder.md says what is in each)."""

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
    """Writes JSON whole or not at all, and JSON lines one at a time.

    Raises:
        RunError: the disk does not take a file; the message names it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"The run folder {path} cannot be made: {error.strerror}. Give another with hydra.run.dir=…"
            ) from error

    @contextmanager
    def lock(self, wait: float = 10.0) -> Iterator[None]:
        """Be the only process that works in this folder; it is free again when the process ends, however it ends.

        Args:
            wait: seconds; a run whose sweep was killed needs a moment to notice.

        Raises:
            RunError: another process works in it still.
        """
        with (self.path / ".lock").open("a") as handle:
            end = time.monotonic() + wait
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise RunError(
                            f"Another process works in {self.path}. Wait until it has ended, or stop it, and go on with resume=true."
                        ) from None
                    time.sleep(0.2)
            yield

    def __truediv__(self, name: str) -> Path:
        """The path of a file of this run."""
        return self.path / name

    def write_json(self, name: str, record: Any) -> None:
        """Replace ``name`` atomically."""
        self.write_text(
            name, json.dumps(record, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
        )

    def write_lines(self, name: str, records: Iterable[Any]) -> None:
        """Replace ``name`` atomically by one line a record."""
        self.write_text(name, "".join(_dump(record) + "\n" for record in records))

    def write_text(self, name: str, text: str) -> None:
        """Replace ``name`` atomically."""
        target = self.path / name
        scratch = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_text(text, encoding="utf-8")
            scratch.replace(target)
        except OSError as error:
            scratch.unlink(missing_ok=True)
            raise _disk(target, error) from error

    def keep_lines(self, name: str, count: int) -> None:
        """Cut a JSON-lines file back to its first ``count`` lines, as they were at a checkpoint."""
        path = self.path / name
        if path.exists():
            lines = path.read_bytes().split(b"\n")
            self.write_text(
                name, b"".join(line + b"\n" for line in lines[:count] if line).decode("utf-8")
            )

    def append_line(self, name: str, record: Any) -> None:
        """Add one line."""
        target = self.path / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("a", encoding="utf-8") as handle:
                handle.write(_dump(record) + "\n")
        except OSError as error:
            raise _disk(target, error) from error

    def read_json(self, name: str) -> Any:
        """Read a JSON file; None where it is not there.

        Raises:
            RunError: it is not JSON.
        """
        path = self.path / name
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(
                f"{path} is not JSON ({error}); it was altered. Start the run anew in another folder."
            ) from error

    def read_lines(self, name: str) -> Sequence[Any]:
        """Read a JSON-lines file; a half-written last line is left out."""
        path = self.path / name
        if not path.is_file():
            return []
        whole = path.read_bytes().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.strip()]


def runs_with(config_hash: str, indices: Iterable[Path]) -> Iterator[tuple[str, RunFolder]]:
    """The runs of one configuration among folders, links left out, each with the ISO time at which it was started ("" where not known)."""
    for index in indices:
        if index.is_symlink() or not (index / "manifest.json").is_file():
            continue
        folder = RunFolder(index)
        if folder.read_json("manifest.json").get("config_hash") == config_hash:
            yield str((folder.read_json("status.json") or {}).get("started", "")), folder


def _disk(path: Path, error: OSError) -> RunError:
    return RunError(
        f"{path} could not be written: {error.strerror}. Free some space (or name another folder) and add resume=true."
    )


class Status:
    """Keeps ``status.json`` true: state, phase, round, and what to do next.

    Args:
        resume_command: what a user types to go on, shown when a run ends early.
    """

    def __init__(self, folder: RunFolder, resume_command: str) -> None:
        self._folder = folder
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
        """Note that a phase begins."""
        self._record |= {"phase": name, "round": round}
        self._write()

    def end(self, state: str, error: str = "") -> None:
        """Note how the run ended: "done", "interrupted" or "failed"."""
        self._record |= {"state": state, "error": error}
        if state == "done":
            self._record["resume_command"] = ""
        self._write()

    def _write(self) -> None:
        self._record["updated"] = _now()
        self._folder.write_json("status.json", self._record)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
