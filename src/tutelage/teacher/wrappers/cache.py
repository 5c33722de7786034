"""The reply cache: no request is ever computed twice, and all jobs of a sweep share the replies.

Reproducibility rests on this module.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tutelage.errors import TeacherError
from tutelage.teacher.base import (
    GenerateRequest,
    OnReply,
    Prompt,
    Reply,
    Request,
    Teacher,
    prompt_content,
)
from tutelage.teacher.replies import ReplyCollector, cleaned
from tutelage.teacher.wrappers.cache_store import CacheStore, Claimant

_LOG = logging.getLogger(__name__)
_RENEW_SECONDS = 30.0
_POLL_SECONDS = 0.1
_FIRST_TOLD_SECONDS, _TOLD_SECONDS = 5.0, 60.0
"""Waiting for another process is told after the first, and then every so many seconds."""
_MANY_DAMAGED = 20
"""So many damaged replies, and more than whole ones, are an error."""


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
            prompt_content(request.prompt),
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
        content = ["score", prompt_content(request.prompt), list(request.choices)]
    return hashlib.sha256(
        json.dumps([fingerprint, *content], ensure_ascii=True, separators=(",", ":")).encode()
    ).hexdigest()


class CachedTeacher:
    """Answers requests from an SQLite file, and asks ``inner`` only for replies missing from it.

    Each reply is written as it arrives. Identical requests of one batch are asked once. A request
    currently in progress in another process is waited for instead of paid twice. Failed replies are
    passed on and never written, and so are replies that would become failures when cleaned. A
    stored reply that was damaged is asked again.

    Args:
        inner: The teacher to ask.
        path: The SQLite file; created with its folder if missing.
        claim_seconds: Seconds after which another process's claim on a request expires; see
            :class:`tutelage.teacher.wrappers.cache_store.CacheStore`.

    Attributes:
        tell: Shows the user a message; a run's display, or else the log.

    Raises:
        TeacherError: The file cannot be used.
    """

    def __init__(self, inner: Teacher, path: Path, *, claim_seconds: float = 600.0) -> None:
        self._inner = inner
        self._path = path
        self._store = CacheStore(path, claim_seconds=claim_seconds)
        self._damaged = 0
        self._in_place = True
        self.tell: Callable[[str], None] = _LOG.warning

    @property
    def fingerprint(self) -> str:
        """The engine's fingerprint."""
        return self._inner.fingerprint

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        """Returns the engine's token ids of each text."""
        return self._inner.tokenize(texts)

    def settle(self) -> None:
        """Lets an engine find out its fingerprint, which a server's is only once it is asked.

        Raises:
            TeacherError: The engine cannot find out.
        """
        settle = getattr(self._inner, "settle", None)
        if settle is not None:
            settle(self)

    def recall(self, names: Sequence[str]) -> dict[str, str]:
        """Returns what the engine remembered under these names, as far as it did."""
        keys = {_memory_key(name): name for name in names}
        return {keys[key]: reply.text for key, reply in self._store.get(list(keys)).items()}

    def remember(self, texts: Mapping[str, str]) -> None:
        """Keeps texts of the engine by name, beside the replies."""
        for name, text in texts.items():
            self._store.put(_memory_key(name), Reply("", text))

    def close(self) -> None:
        """Closes the file and the engine."""
        self._store.close()
        self._inner.close()

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answers every request, in order; replies from the file have ``cached`` set.

        Raises:
            TeacherError: The engine or the file failed, or most replies in the file are damaged.
                Earlier replies are in the file.
            ValueError: An id occurs twice.
        """
        collector = ReplyCollector(requests, on_reply)
        self._tell_of_loss()
        self.settle()
        fingerprint = self.fingerprint
        waiting: dict[bytes, list[Request]] = {}
        for request in requests:
            waiting.setdefault(bytes.fromhex(request_key(fingerprint, request)), []).append(request)

        def deliver(key: bytes, reply: Reply, *, stored: bool = False) -> None:
            # Only the first of identical requests was sent, so the others count as cached.
            for position, request in enumerate(waiting.pop(key)):
                cached = stored or reply.cached or (position > 0 and not reply.error)
                collector.keep(_named(reply, request.id, cached=cached))

        # Each pass answers from the file, then claims and asks the rest. Requests claimed by
        # another process stay in the loop until its replies are in the file or its claims expire.
        tell_at = time.monotonic() + _FIRST_TOLD_SECONDS
        while waiting:
            found = self._store.get(list(waiting))
            self._tell_of_damage()
            for key, reply in found.items():
                deliver(key, reply, stored=True)
            mine = self._store.claim(list(waiting)) if waiting else []
            if mine:
                self._ask_inner({key: waiting[key][0] for key in mine}, deliver)
            if mine or found:
                tell_at = time.monotonic() + _FIRST_TOLD_SECONDS
                continue
            if time.monotonic() > tell_at:
                self._tell_of_waiting(list(waiting))
                tell_at = time.monotonic() + _TOLD_SECONDS
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
            kept = cleaned(reply)
            if not kept.error:
                # The characters stay as they came: they are counted where they are read.
                self._store.put(key, reply if kept is reply else replace(kept, text=reply.text))
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

    def _tell_of_damage(self) -> None:
        damaged = self._store.damaged
        if len(damaged) == self._damaged:
            return
        told = (
            f"{len(damaged):,} stored replies of the teacher's cache {self._path} are damaged "
            f"({self._store.whole:,} are whole); the first begins {next(iter(damaged.values()))}."
        )
        if len(damaged) >= _MANY_DAMAGED and len(damaged) > self._store.whole:
            raise TeacherError(
                f"{told} Move the file away (its replies will be paid for again), or set "
                "teacher.cache to another file."
            )
        self._damaged = len(damaged)
        self.tell(f"{told} They are asked again. Check the disk if there are more.")

    def _tell_of_loss(self) -> None:
        if self._in_place and not self._store.in_place:
            self._in_place = False
            self.tell(
                f"the teacher's cache {self._path} was moved or removed while it is in use, so no "
                "other run will find what is answered from now on. Stop this run, and continue it "
                "with resume=true."
            )

    def _tell_of_waiting(self, keys: Sequence[bytes]) -> None:
        claimants = self._store.claimants(keys)
        if claimants:
            self.tell(
                f"waiting for {' and '.join(map(_shown, claimants))}, so that no request is paid "
                f"for twice (cache {self._path})."
            )


def _shown(claimant: Claimant) -> str:
    where = f" on {claimant.host}" if claimant.host else ""
    return (
        f"process {claimant.pid}{where}, which is asking {claimant.claims:,} of the same requests "
        f"(until it answers or ends, at most {claimant.expires:.0f} s after its last reply)"
    )


def _memory_key(name: str) -> bytes:
    return hashlib.sha256(f"memory {name}".encode(errors="backslashreplace")).digest()


def _named(reply: Reply, name: str, *, cached: bool) -> Reply:
    # Spelt out because replace is too slow for every reply of a cached run.
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
