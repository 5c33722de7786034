"""The reproducibility guarantee: what was asked once is never asked again, and every job of a sweep shares it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tutelage.errors import TeacherError
from tutelage.teacher.base import GenerateRequest, OnReply, Reply, Request, Teacher
from tutelage.teacher.replies import ReplyCollector
from tutelage.teacher.wrappers.cache_store import CacheStore

_RENEW_SECONDS = 30.0
_POLL_SECONDS = 0.1


def request_key(fingerprint: str, request: Request) -> str:
    """Return the key of a request: SHA-256 (64 hex digits) of the canonical JSON of the fingerprint and everything in it but its id."""
    if isinstance(request, GenerateRequest):
        sampling = request.sampling
        # Written out, not asdict: it is called for every request of a cached run. float() so that 1 and 1.0 are one temperature.
        content: list[object] = [
            "generate",
            request.prompt,
            [
                float(sampling.temperature),
                float(sampling.top_p),
                sampling.top_k,
                sampling.max_tokens,
                list(sampling.stop),
            ],
            request.seed,
            request.json_schema,
        ]
    else:
        content = ["score", request.prompt, list(request.choices)]
    return hashlib.sha256(
        json.dumps([fingerprint, *content], ensure_ascii=True, separators=(",", ":")).encode()
    ).hexdigest()


class CachedTeacher:
    """Answers from an SQLite file what is there, asks ``inner`` for the rest, and writes each reply as it arrives.

    Identical requests of one batch are asked once. A request that another process is asking at this moment is waited for, not paid
    twice. Failed replies are handed on and never written.
    """

    def __init__(self, inner: Teacher, path: Path, *, claim_seconds: float = 600.0) -> None:
        """Wrap ``inner``; see :class:`tutelage.teacher.wrappers.cache_store.CacheStore` for the file and its errors."""
        self._inner = inner
        self._path = path
        self._store = CacheStore(path, claim_seconds=claim_seconds)

    @property
    def fingerprint(self) -> str:
        """The engine's own."""
        return self._inner.fingerprint

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, by the engine."""
        return self._inner.tokenize(texts)

    def close(self) -> None:
        """Close the file and the engine."""
        self._store.close()
        self._inner.close()

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answer every request, in order; what the file holds comes back with ``cached`` set.

        Raises:
            TeacherError: the engine or the file failed; what was answered before is in the file.
            ValueError: an id occurs twice.
        """
        collector = ReplyCollector(requests, on_reply)
        fingerprint = self.fingerprint
        waiting: dict[bytes, list[Request]] = {}
        for request in requests:
            waiting.setdefault(bytes.fromhex(request_key(fingerprint, request)), []).append(request)

        def deliver(key: bytes, reply: Reply) -> None:
            # Only the first of identical requests was sent.
            for position, request in enumerate(waiting.pop(key)):
                collector.keep(
                    _named(
                        reply, request.id, cached=reply.cached or (position > 0 and not reply.error)
                    )
                )

        while waiting:
            found = self._store.get(list(waiting))
            for key, text in found.items():
                deliver(key, self._read(text))
            mine = self._store.claim(list(waiting)) if waiting else []
            if mine:
                self._ask_inner({key: waiting[key][0] for key in mine}, deliver)
            elif waiting and not found:
                time.sleep(_POLL_SECONDS)
        return collector.in_order()

    def _ask_inner(
        self, claimed: dict[bytes, Request], deliver: Callable[[bytes, Reply], None]
    ) -> None:
        keys = {request.id: key for key, request in claimed.items()}
        renewed = time.monotonic()

        def arrived(reply: Reply) -> None:
            nonlocal renewed
            key = keys.pop(reply.id)
            if not reply.error:
                self._store.put(key, _written(reply))
            deliver(key, reply)
            if time.monotonic() - renewed > _RENEW_SECONDS:
                self._store.renew()
                renewed = time.monotonic()

        try:
            answered = self._inner.ask(list(claimed.values()), arrived)
            for reply in answered:
                if reply.id in keys:
                    arrived(reply)
            if keys:
                raise TeacherError(
                    f"the engine gave no reply to {len(keys)} of {len(claimed)} requests, the first is {next(iter(keys))!r}."
                )
        finally:
            self._store.release(claimed)

    def _read(self, text: str) -> Reply:
        try:
            record = json.loads(text)
            return Reply(
                id="",
                text=record["text"],
                logprobs=tuple(record["logprobs"]),
                prompt_tokens=record["prompt_tokens"],
                completion_tokens=record["completion_tokens"],
                finish_reason=record["finish_reason"],
                cached=True,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise TeacherError(
                f"the teacher's cache {self._path} holds a reply that cannot be read ({error}); move the file away."
            ) from error


def _named(reply: Reply, name: str, *, cached: bool) -> Reply:
    return Reply(
        id=name,
        text=reply.text,
        logprobs=reply.logprobs,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        finish_reason=reply.finish_reason,
        error=reply.error,
        cached=cached,
    )


def _written(reply: Reply) -> str:
    return json.dumps(
        {
            "text": reply.text,
            "logprobs": reply.logprobs,
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "finish_reason": reply.finish_reason,
        },
        separators=(",", ":"),
    )
