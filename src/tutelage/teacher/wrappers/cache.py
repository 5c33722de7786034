"""The reply cache: no request is ever computed twice, and all jobs of a sweep share the replies.

Reproducibility rests on this module.
"""

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
    """Returns the cache key of a request.

    Args:
        fingerprint: The engine's fingerprint.
        request: The request; its id is not part of the key.

    Returns:
        SHA-256 (64 hex digits) of the canonical JSON of the fingerprint and the request.
    """
    if isinstance(request, GenerateRequest):
        sampling = request.sampling
        # Spelt out because asdict is too slow for every request of a cached run. float() makes 1
        # and 1.0 the same temperature.
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
    """Answers requests from an SQLite file, and asks ``inner`` only for replies missing from it.

    Each reply is written as it arrives. Identical requests of one batch are asked once. A request
    currently in progress in another process is waited for instead of paid twice. Failed replies are
    passed on and never written.

    Args:
        inner: The teacher to ask.
        path: The SQLite file; created with its folder if missing.
        claim_seconds: Seconds after which another process's claim on a request expires; see
            :class:`tutelage.teacher.wrappers.cache_store.CacheStore`.

    Raises:
        TeacherError: The file cannot be used.
    """

    def __init__(self, inner: Teacher, path: Path, *, claim_seconds: float = 600.0) -> None:
        self._inner = inner
        self._path = path
        self._store = CacheStore(path, claim_seconds=claim_seconds)

    @property
    def fingerprint(self) -> str:
        """The engine's fingerprint."""
        return self._inner.fingerprint

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the engine's token ids of each text."""
        return self._inner.tokenize(texts)

    def close(self) -> None:
        """Closes the file and the engine."""
        self._store.close()
        self._inner.close()

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answers every request, in order; replies from the file have ``cached`` set.

        Raises:
            TeacherError: The engine or the file failed. Earlier replies are in the file.
            ValueError: An id occurs twice.
        """
        collector = ReplyCollector(requests, on_reply)
        fingerprint = self.fingerprint
        waiting: dict[bytes, list[Request]] = {}
        for request in requests:
            waiting.setdefault(bytes.fromhex(request_key(fingerprint, request)), []).append(request)

        def deliver(key: bytes, reply: Reply) -> None:
            # Only the first of identical requests was sent, so the others count as cached.
            for position, request in enumerate(waiting.pop(key)):
                collector.keep(
                    _named(
                        reply, request.id, cached=reply.cached or (position > 0 and not reply.error)
                    )
                )

        # Each pass answers from the file, then claims and asks the rest. Requests claimed by
        # another process stay in the loop until its replies are in the file or its claims expire.
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
        # Written as they arrive, so that a killed run loses no reply.
        keys = {request.id: key for key, request in claimed.items()}
        renewed = time.monotonic()

        def arrived(reply: Reply) -> None:
            nonlocal renewed
            key = keys.pop(reply.id)
            if not reply.error:
                self._store.put(key, _written(reply))
            deliver(key, reply)
            # A long batch keeps its claims alive.
            if time.monotonic() - renewed > _RENEW_SECONDS:
                self._store.renew()
                renewed = time.monotonic()

        # Claims are released even after a failure, so that other processes can ask.
        try:
            answered = self._inner.ask(list(claimed.values()), arrived)
            for reply in answered:
                if reply.id in keys:
                    arrived(reply)
            if keys:
                raise TeacherError(
                    f"the engine gave no reply to {len(keys)} of {len(claimed)} requests, starting "
                    f"with {next(iter(keys))!r}. This is a fault of the engine. Run again; the "
                    "replies that did arrive are cached."
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
                f"the teacher's cache {self._path} holds an unreadable reply ({error}). Move the "
                "file away; its replies will be paid for again."
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
