"""Every request with its reply, for people to read afterwards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tutelage.errors import TeacherError
from tutelage.teacher.base import OnReply, Reply, Request, Teacher, request_to_dict
from tutelage.teacher.replies import ask_noting


class TranscriptTeacher:
    """Appends ``{"request": …, "reply": …}`` to a file as each reply arrives, cached and failed ones included.

    Requests hold prompts and settings only; keys and addresses of servers never reach this layer.
    """

    def __init__(self, inner: Teacher, path: Path) -> None:
        """Wrap ``inner``; the file is opened at the first reply."""
        self._inner = inner
        self._path = path

    @property
    def fingerprint(self) -> str:
        """The engine's own."""
        return self._inner.fingerprint

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answer every request, in order.

        Raises:
            TeacherError: the engine failed, or the file cannot be written.
            ValueError: an id occurs twice.
        """
        if not requests:
            return self._inner.ask(requests, on_reply)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # A line that a killed run left half-written must not swallow the next one.
            broken = _ends_inside_a_line(self._path)
            with self._path.open("a", encoding="utf-8") as file:
                if broken:
                    file.write("\n")

                def write(request: Request, reply: Reply) -> None:
                    try:
                        file.write(
                            json.dumps(
                                {"request": request_to_dict(request), "reply": asdict(reply)},
                                ensure_ascii=False,
                            )
                            + "\n"
                        )
                        file.flush()
                    except OSError as error:
                        raise self._unwritable(error) from error

                return ask_noting(self._inner, requests, write, on_reply)
        except OSError as error:
            raise self._unwritable(error) from error

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, by the engine; not written down."""
        return self._inner.tokenize(texts)

    def close(self) -> None:
        """Close the engine."""
        self._inner.close()

    def _unwritable(self, error: OSError) -> TeacherError:
        return TeacherError(
            f"the transcript {self._path} cannot be written: {error.strerror or error}. "
            "Free some space or make the folder writable, and run again."
        )


def spent_tokens(path: Path) -> int:
    """Tokens of the replies in a transcript that were really computed, in every process that wrote to it.

    After ``kill -9`` this is the true count: what was spent after the last checkpoint is in the transcript and in no checkpoint.
    """
    if not path.is_file():
        return 0
    total = 0
    with path.open(encoding="utf-8") as file:
        for line in file:
            try:
                reply = json.loads(line)["reply"]
            except (ValueError, KeyError):
                continue  # a line that a killed run left half-written; at most one request's tokens
            total += 0 if reply["cached"] else reply["prompt_tokens"] + reply["completion_tokens"]
    return total


def _ends_inside_a_line(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"
