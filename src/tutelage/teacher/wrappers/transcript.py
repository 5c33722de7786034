"""The transcript: every request with its reply, for people to read afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from tutelage.errors import TeacherError
from tutelage.teacher.base import OnReply, Prompt, Reply, Request, Teacher, request_to_dict
from tutelage.teacher.replies import ask_noting
from tutelage.teacher.wrappers.routing import Layers, others_of


class TranscriptTeacher:
    """Appends ``{"request": …, "reply": …}`` to a JSON Lines file as each reply arrives.

    Cached and failed replies are included. Requests contain prompts and settings only; API keys and
    server addresses never reach this layer.

    Args:
        inner: The teacher to ask.
        path: The file; created with its folder by the first batch.
    """

    def __init__(self, inner: Teacher, path: Path) -> None:
        self._inner = inner
        self._path = path

    @property
    def fingerprint(self) -> str:
        """The engine's fingerprint."""
        return self._inner.fingerprint

    @property
    def others(self) -> Mapping[str, Layers]:
        """The further teachers behind this layer, by name."""
        return others_of(self._inner)

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answers every request, in order, and writes each reply as it arrives.

        Raises:
            TeacherError: The engine failed, or the file cannot be written.
            ValueError: An id occurs twice.
        """
        if not requests:
            return self._inner.ask(requests, on_reply)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # A half-written line of a killed run must not swallow the next one.
            broken = _ends_inside_a_line(self._path)
            # A lone surrogate of a user's own template gets the escaped form that JSON has for it.
            with self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                if broken:
                    file.write("\n")

                def write(request: Request, reply: Reply) -> None:
                    try:
                        file.write(
                            json.dumps(
                                {"request": request_to_dict(request), "reply": _plain(reply)},
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

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        """Returns the engine's token ids of each text; they are not written to the file."""
        return self._inner.tokenize(texts)

    def close(self) -> None:
        """Closes the engine."""
        self._inner.close()

    def _unwritable(self, error: OSError) -> TeacherError:
        return TeacherError(
            f"the transcript {self._path} cannot be written: {error.strerror or error}. "
            "Free some disk space or make the folder writable, and run again."
        )


def _plain(reply: Reply) -> dict[str, object]:
    # A reply has no records inside, for which asdict looks.
    return {name: getattr(reply, name) for name in _REPLY}


_REPLY = tuple(one.name for one in fields(Reply))


def spent_tokens(path: Path) -> int:
    """Counts the spent tokens of a transcript: those of all replies not taken from the cache.

    The count covers every process that wrote to the file. It stays correct after ``kill -9``,
    because tokens spent after the last checkpoint are in the transcript but in no checkpoint.

    Args:
        path: The transcript; a missing file counts as 0 tokens.
    """
    if not path.is_file():
        return 0
    total = 0
    with path.open("rb") as file:
        for line in file:
            try:
                reply = json.loads(line)["reply"]
                spent = reply["prompt_tokens"] + reply["completion_tokens"]
                total += 0 if reply["cached"] else spent
            except (ValueError, KeyError, TypeError, RecursionError):
                continue  # Half-written line of a killed run: at most one request is missed.
    return total


def _ends_inside_a_line(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size == 0:
        return False
    # The last byte of a complete file is a line break.
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"
