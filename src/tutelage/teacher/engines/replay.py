"""Record a run's teacher, and play it back where there is no teacher: in tests, demonstrations and reproductions.

A recording is JSON lines: a header ``{"recording": 1, "fingerprint": …}``, then ``{"key", "request", "reply"}`` for each reply and
``{"tokenize": text, "ids": […]}`` for each text that was tokenised. The last line for a key counts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tutelage.errors import ReplayMiss, TeacherError
from tutelage.teacher.base import OnReply, Reply, Request, Teacher, reply_from_dict, request_to_dict
from tutelage.teacher.replies import ReplyCollector, ask_noting
from tutelage.teacher.wrappers.cache import request_key

_FORMAT = 1
_SHOWN = 200


class _Recording:
    """What a file holds. A half-written last line, left by a killed run, is passed over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fingerprint = ""
        self.replies: dict[str, Reply] = {}
        self.prompts: dict[str, str] = {}
        self.ids: dict[str, list[int]] = {}
        self.whole_bytes = 0
        try:
            data = path.read_bytes()
        except OSError as error:
            raise TeacherError(
                f"the recording {path} cannot be read: {error.strerror}. Record one with teacher.record={path}."
            ) from error
        for number, line in enumerate(data.splitlines(keepends=True), start=1):
            if not line.endswith(b"\n"):
                break
            try:
                self._take(number, json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise TeacherError(
                    f"line {number} of the recording {path} cannot be read ({error!r}); record it again."
                ) from error
            self.whole_bytes += len(line)
        if not self.fingerprint:
            raise TeacherError(
                f"{path} is no recording: its first line has no fingerprint. Record one with teacher.record=<file>."
            )

    def _take(self, number: int, record: dict[str, Any]) -> None:
        if number == 1:
            if record["recording"] != _FORMAT:
                raise ValueError(f"format {record['recording']}, expected {_FORMAT}")
            self.fingerprint = record["fingerprint"]
        elif "tokenize" in record:
            self.ids[record["tokenize"]] = [int(token) for token in record["ids"]]
        else:
            self.replies[record["key"]] = reply_from_dict(record["reply"])
            self.prompts[record["key"]] = record["request"]["prompt"]


class ReplayTeacher:
    """Answers only from a recording. Failures that were recorded are given back as failures, so that a run goes the same way."""

    def __init__(self, recording: str | Path) -> None:
        """Read ``recording``.

        Raises:
            TeacherError: it cannot be read.
        """
        self._recording = _Recording(Path(recording).expanduser())

    @property
    def fingerprint(self) -> str:
        """The recorded one, so that runs are comparable and share a cache."""
        return self._recording.fingerprint

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answer every request, in order, with ``cached`` set.

        Raises:
            ReplayMiss: the recording holds no reply; names the request and the nearest recorded prompt.
            ValueError: an id occurs twice.
        """
        collector = ReplyCollector(requests, on_reply)
        for request in requests:
            reply = self._recording.replies.get(request_key(self.fingerprint, request))
            if reply is None:
                raise self._miss(request)
            collector.keep(replace(reply, id=request.id, cached=True))
        return collector.in_order()

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """The recorded token ids of each text.

        Raises:
            ReplayMiss: a text was not tokenised in the recording.
        """
        for text in texts:
            if text not in self._recording.ids:
                raise ReplayMiss(
                    f"the recording {self._recording.path} holds no token ids for {text[:_SHOWN]!r}; "
                    f"record the run again with teacher.record={self._recording.path} and a real engine."
                )
        return [list(self._recording.ids[text]) for text in texts]

    def close(self) -> None:
        """Nothing to free."""

    def _miss(self, request: Request) -> ReplayMiss:
        from rapidfuzz import process

        kind = request_to_dict(request)["kind"]
        near = process.extractOne(request.prompt, self._recording.prompts)
        if near is None:
            nearest = "The recording holds no replies at all."
        elif near[0] == request.prompt:
            nearest = (
                "The prompt itself was recorded, with other choices, sampling, seed or schema."
            )
        else:
            nearest = f"The nearest recorded prompt ({near[1]:.0f} % alike): {near[0][:_SHOWN]!r}."
        return ReplayMiss(
            f"the recording {self._recording.path} holds no reply to request {request.id!r} ({kind}): {request.prompt[:_SHOWN]!r}. "
            f"{nearest} "
            "Use the settings and seed it was recorded with, or record again with teacher.record=<file> and a real engine."
        )


class RecordingTeacher:
    """Writes everything that ``inner`` answers to a file that :class:`ReplayTeacher` reads.

    An existing recording of the same fingerprint is gone on with, so that a resumed run has one whole recording.
    """

    def __init__(self, inner: Teacher, path: Path) -> None:
        """Wrap ``inner``; the file is opened at the first call."""
        self._inner = inner
        self._path = path
        self._ready = False
        self._keys: set[str] = set()
        self._texts: set[str] = set()

    @property
    def fingerprint(self) -> str:
        """The engine's own."""
        return self._inner.fingerprint

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answer every request, in order, and write each reply as it arrives.

        Raises:
            TeacherError: the engine failed, or the file cannot be written or records another engine.
            ValueError: an id occurs twice.
        """
        self._prepare()
        return ask_noting(self._inner, requests, self._record, on_reply)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, by the engine; written down once."""
        self._prepare()
        rows = self._inner.tokenize(texts)
        for text, ids in zip(texts, rows, strict=True):
            if text not in self._texts:
                self._append({"tokenize": text, "ids": ids})
                self._texts.add(text)
        return rows

    def close(self) -> None:
        """Close the engine."""
        self._inner.close()

    def _record(self, request: Request, reply: Reply) -> None:
        key = request_key(self.fingerprint, request)
        if key in self._keys:
            return
        self._append({"key": key, "request": request_to_dict(request), "reply": asdict(reply)})
        # A failure may be followed by an answer, which then counts.
        if not reply.error:
            self._keys.add(key)

    def _prepare(self) -> None:
        if self._ready:
            return
        if self._path.is_file() and self._path.stat().st_size:
            there = _Recording(self._path)
            if there.fingerprint != self.fingerprint:
                raise TeacherError(
                    f"{self._path} is a recording of {there.fingerprint}, this run's teacher is {self.fingerprint}; "
                    "name another file in teacher.record."
                )
            self._keys = {key for key, reply in there.replies.items() if not reply.error}
            self._texts = set(there.ids)
            with self._path.open("rb+") as file:
                file.truncate(there.whole_bytes)
        else:
            self._append({"recording": _FORMAT, "fingerprint": self.fingerprint})
        self._ready = True

    def _append(self, record: dict[str, Any]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        except OSError as error:
            raise TeacherError(
                f"the recording {self._path} cannot be written: {error.strerror or error}. Free some space, or name another file."
            ) from error
