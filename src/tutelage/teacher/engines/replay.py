"""Records the replies of a run's teacher, and replays them without a teacher.

Recordings serve tests, demonstrations and reproductions. They are JSON Lines files: a header
``{"recording": 1, "fingerprint": …, "context_length": …, "suits_chat": …}``, then
``{"key", "request", "reply"}`` per reply and ``{"tokenize": text, "ids": […]}`` per tokenised text.
The last line of a key counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tutelage.errors import ReplayMiss, TeacherError
from tutelage.teacher.base import (
    Chat,
    OnReply,
    Prompt,
    Reply,
    Request,
    Teacher,
    request_to_dict,
)
from tutelage.teacher.replies import ReplyCollector, ask_noting, read_reply
from tutelage.teacher.wrappers.cache import request_key

_FORMAT = 1
_SHOWN = 200


class _Recording:
    """The content of a recording. A half-written last line of a killed run is ignored."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fingerprint = ""
        self.replies: dict[str, Reply] = {}
        self.prompts: dict[str, str] = {}
        self.ids: dict[str, list[int]] = {}
        self.context_length: int | None = None
        self.suits_chat: bool | None = None
        self.asks_in_messages = self.scores_texts = False
        self.whole_bytes = 0
        try:
            data = path.read_bytes()
        except OSError as error:
            raise TeacherError(
                f"the recording {path} cannot be read: {error.strerror}. Record one with "
                f"teacher.record={path}."
            ) from error
        # Only complete lines count, and later lines replace earlier ones with the same key.
        for number, line in enumerate(data.splitlines(keepends=True), start=1):
            if not line.endswith(b"\n"):
                break
            try:
                self._take(number, json.loads(line))
            except (
                ValueError,
                KeyError,
                TypeError,
                OverflowError,
                RecursionError,
            ) as error:
                raise TeacherError(
                    f"line {number} of the recording {path} cannot be read ({error!r}). Move the "
                    f"file away and record the run again with teacher.record={path}."
                ) from error
            self.whole_bytes += len(line)
        if not self.fingerprint:
            raise TeacherError(
                f"{path} is not a recording: its first line has no fingerprint. Record one with "
                "teacher.record=<file>."
            )

    def _take(self, number: int, record: dict[str, Any]) -> None:
        if number == 1:
            if record["recording"] != _FORMAT:
                raise ValueError(f"format {record['recording']}, expected {_FORMAT}")
            self.fingerprint = str(record["fingerprint"])
            self.context_length = record.get("context_length")
            self.suits_chat = record.get("suits_chat")
        elif "tokenize" in record:
            self.ids[_text_key(record["tokenize"])] = [int(token) for token in record["ids"]]
        else:
            self.replies[record["key"]] = read_reply(record["reply"])
            prompt = record["request"]["prompt"]
            self.asks_in_messages |= not isinstance(prompt, str)
            self.scores_texts |= isinstance(prompt, str)
            self.prompts[record["key"]] = _text_key(prompt)


class ReplayTeacher:
    """Answers only from a recording of another run.

    Recorded failures are replayed as failures, so the run takes the same course.

    Args:
        recording: Path of the file, written by a run with ``teacher.record=<file>``. ``~`` stands
            for the home directory.

    Raises:
        TeacherError: The recording cannot be read.
    """

    def __init__(self, recording: str | Path) -> None:
        self._recording = _Recording(Path(recording).expanduser())

    @property
    def fingerprint(self) -> str:
        """The recorded engine's fingerprint, so both runs share a cache and are comparable."""
        return self._recording.fingerprint

    @property
    def speaks_chat(self) -> bool:
        """Whether chats suited the recorded engine.

        Recordings that do not say it are of runs whose prompts were all chats, or none.
        """
        said = self._recording.suits_chat
        return self._recording.asks_in_messages if said is None else said

    @property
    def scores_texts(self) -> bool:
        """Whether the recorded engine scored what follows a text."""
        return self._recording.scores_texts

    @property
    def context_length(self) -> int | None:
        """What the recorded engine read at once, in tokens; None if it did not say it."""
        return self._recording.context_length

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answers every request, in order, with ``cached`` set.

        Raises:
            ReplayMiss: The recording has no reply to a request. The message names the request and
                the most similar recorded prompt.
            ValueError: An id occurs twice.
        """
        collector = ReplyCollector(requests, on_reply)
        for request in requests:
            reply = self._recording.replies.get(request_key(self.fingerprint, request))
            if reply is None:
                raise self._miss(request)
            collector.keep(replace(reply, id=request.id, cached=True))
        return collector.in_order()

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        """Returns the recorded token ids of each text.

        Raises:
            ReplayMiss: The recorded run did not tokenise one of the texts.
        """
        keys = [_prompt_key(text) for text in texts]
        for text, key in zip(texts, keys, strict=True):
            if key not in self._recording.ids:
                raise ReplayMiss(
                    f"the recording {self._recording.path} has no token ids for "
                    f"{str(text)[:_SHOWN]!r}. Record the run again with a real engine and "
                    f"teacher.record={self._recording.path}."
                )
        return [list(self._recording.ids[key]) for key in keys]

    def close(self) -> None:
        """Does nothing; there is no engine to free."""

    def _miss(self, request: Request) -> ReplayMiss:
        from rapidfuzz import process

        # A similar prompt usually reveals the changed setting.
        kind = request_to_dict(request)["kind"]
        prompt = _prompt_key(request.prompt)
        near = process.extractOne(prompt, self._recording.prompts)
        if near is None:
            nearest = "The recording has no replies at all."
        elif near[0] == prompt:
            nearest = "The same prompt was recorded with other choices, sampling, seed or schema."
        else:
            nearest = (
                f"The most similar recorded prompt ({near[1]:.0f} % alike): {near[0][:_SHOWN]!r}."
            )
        return ReplayMiss(
            f"the recording {self._recording.path} has no reply to request {request.id!r} "
            f"({kind}): {prompt[:_SHOWN]!r}. {nearest} Use the settings and the seed of "
            "the recorded run, or record again with a real engine and teacher.record=<file>."
        )


class RecordingTeacher:
    """Records every answer of ``inner`` to a file for :class:`ReplayTeacher`.

    An existing recording of the same fingerprint is continued, so a resumed run ends with one
    complete recording.

    Args:
        inner: The teacher to ask.
        path: The file; opened at the first call and created with its folder if missing.
        context_length: What the engine reads at once, in tokens; None if it does not say it.
        suits_chat: Tells whether chats suit the engine. A server knows it once it was asked.
    """

    def __init__(
        self,
        inner: Teacher,
        path: Path,
        context_length: int | None = None,
        suits_chat: Callable[[], bool] = lambda: False,
    ) -> None:
        self._inner = inner
        self._path = path
        self._context_length, self._suits_chat = context_length, suits_chat
        self._ready = False
        self._keys: set[str] = set()
        self._texts: set[str] = set()

    @property
    def fingerprint(self) -> str:
        """The engine's fingerprint."""
        return self._inner.fingerprint

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answers every request, in order, and writes each reply as it arrives.

        Raises:
            TeacherError: The engine failed, the file cannot be written, or it is a recording of
                another engine.
            ValueError: An id occurs twice.
        """
        self._prepare()
        return ask_noting(self._inner, requests, self._record, on_reply)

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        """Returns the engine's token ids of each text, and records them once per text."""
        self._prepare()
        rows = self._inner.tokenize(texts)
        for text, ids in zip(texts, rows, strict=True):
            if (key := _prompt_key(text)) not in self._texts:
                recorded = asdict(text) if isinstance(text, Chat) else text
                self._append({"tokenize": recorded, "ids": ids})
                self._texts.add(key)
        return rows

    def close(self) -> None:
        """Closes the engine."""
        self._inner.close()

    def _record(self, request: Request, reply: Reply) -> None:
        key = request_key(self.fingerprint, request)
        if key in self._keys:
            return
        self._append({"key": key, "request": request_to_dict(request), "reply": asdict(reply)})
        # A later attempt may succeed after a failure, and then replaces it.
        if not reply.error:
            self._keys.add(key)

    def _prepare(self) -> None:
        if self._ready:
            return
        if self._path.is_file() and self._path.stat().st_size:
            existing = _Recording(self._path)
            if existing.fingerprint != self.fingerprint:
                raise TeacherError(
                    f"{self._path} is a recording of {existing.fingerprint}, but this run's "
                    f"teacher is {self.fingerprint}. Set teacher.record to another file."
                )
            self._keys = {key for key, reply in existing.replies.items() if not reply.error}
            self._texts = set(existing.ids)
            # Drop the half-written last line of a killed run before anything is appended.
            with self._path.open("rb+") as file:
                file.truncate(existing.whole_bytes)
        else:
            header: dict[str, Any] = {"recording": _FORMAT, "fingerprint": self.fingerprint}
            if self._context_length is not None:
                header["context_length"] = self._context_length
            if self._suits_chat():
                header["suits_chat"] = True
            self._append(header)
        self._ready = True

    def _append(self, record: dict[str, Any]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # A lone surrogate of a user's own template gets the escaped form that JSON has for it.
            with self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        except OSError as error:
            raise TeacherError(
                f"the recording {self._path} cannot be written: {error.strerror or error}. Free "
                "some disk space, or set teacher.record to another file."
            ) from error


def _prompt_key(prompt: Prompt) -> str:
    """Returns a text as it is, and a chat as the text of its JSON form."""
    return _text_key(asdict(prompt) if isinstance(prompt, Chat) else prompt)


def _text_key(recorded: Any) -> str:
    """Returns the same for a prompt as a recording holds it."""
    if isinstance(recorded, str):
        return recorded
    return json.dumps(recorded, ensure_ascii=False, sort_keys=True)
