"""Starts runs in children of a process that has everything imported, so that they can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.helpers.teachers import ASKS

ROOT = Path(__file__).parents[2]


class Runs:
    """Starts commands in children of a process with all imports done."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None
        self._running: set[int] = set()

    def start(self, folder: Path, *argv: str, **environment: str) -> int:
        """Start a command in ``folder``; the variables are added to its environment.

        What it prints goes to printed.txt in the folder, or to the path in ``PRINTED``.
        """
        environment = {
            ASKS: str(folder / "asks"),
            "TUTELAGE_CACHE": str(folder / "user-cache"),
            **environment,
        }
        command = {
            "argv": argv,
            "folder": str(folder),
            "environment": environment,
            "printed": environment.get("PRINTED", str(folder / "printed.txt")),
        }
        pid = int(self._tell(command)["pid"])
        self._running.add(pid)
        return pid

    def wait(self, pid: int) -> int:
        code = int(self._tell({"wait": pid})["code"])
        self._running.discard(pid)
        return code

    def clear(self) -> None:
        """Kills the children of a failed test, and closes a process that may owe an answer."""
        if self._running:
            for pid in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._running.clear()
            self.close()

    def close(self) -> None:
        if self._server is not None:
            self._server.communicate(timeout=60)
            self._server = None

    def _tell(self, command: dict[str, Any]) -> dict[str, Any]:
        if self._server is None:
            warm = [sys.executable, "-m", "tests.helpers.warm_process"]
            self._server = subprocess.Popen(
                warm, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert self._server.stdout is not None
            self._server.stdout.readline()
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(command) + "\n")
        self._server.stdin.flush()
        answer: dict[str, Any] = json.loads(self._server.stdout.readline())
        return answer
