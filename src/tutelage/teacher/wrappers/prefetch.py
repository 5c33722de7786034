"""Asks the teacher ahead of time, while the student trains (``training.prefetch``).

The replies wait in the reply cache, so a round asks for the same things as without it, and finds
them there: rows, billed tokens and the pool's hash stay the same, and a killed run goes on with
what has arrived.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import replace

from tutelage.errors import TutelageError
from tutelage.teacher.base import OnReply, Prompt, Reply, Request, Teacher
from tutelage.teacher.wrappers.cache import CachedTeacher, request_key
from tutelage.teacher.wrappers.routing import Layers, others_of

_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.2


class _Stopped(Exception):
    """The run ends while replies are awaited."""


class PrefetchingTeacher:
    """Passes requests on, and asks further ones in the background in between.

    Only one thread at a time asks: :meth:`ask` and :meth:`tokenize` wait until what was asked
    ahead has arrived. Replies that this process asked ahead are not marked as cached, since the
    run has spent their tokens.

    Args:
        inner: The teacher to ask.
        caches: The reply cache of each teacher by name; "" is the run's own. Requests to a teacher
            that is not among them are not asked ahead.
    """

    def __init__(self, inner: Teacher, caches: Mapping[str, CachedTeacher]) -> None:
        self._inner = inner
        self._caches = dict(caches)
        # One thread for the whole run, so that an engine has one parent.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._pending: Future[None] | None = None
        self._stop = threading.Event()
        self._check: Callable[[], None] = lambda: None
        self._ahead: dict[str, int] = {}

    @property
    def fingerprint(self) -> str:
        """The engine's fingerprint."""
        return self._inner.fingerprint

    @property
    def others(self) -> Mapping[str, Layers]:
        """The further teachers behind this layer, by name."""
        return others_of(self._inner)

    @property
    def unused(self) -> int:
        """Tokens of what was asked ahead and not asked for since."""
        return sum(self._ahead.values())

    def prefetch(self, requests: Sequence[Request], check: Callable[[], None]) -> None:
        """Asks in the background for replies that a later call of :meth:`ask` will want.

        Args:
            requests: The requests; their ids do not matter later.
            check: Called while anything waits for them; raises where the user stops the run.
        """
        self._check = check
        self._wait()
        if requests and not self._stop.is_set():
            self._pending = self._worker.submit(self._ask_ahead, list(requests))

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answers every request, in order.

        Raises:
            TeacherError: A teacher failed. Earlier replies have been passed to ``on_reply``.
            ValueError: An id occurs twice.
        """
        self._wait()
        if not self._ahead:
            return self._inner.ask(requests, on_reply)
        keys = {one.id: self._key(one) for one in requests}

        def counted(reply: Reply) -> Reply:
            # The first time only: asked again, it does come from the cache.
            key = keys[reply.id]
            if not reply.cached or key not in self._ahead:
                return reply
            del self._ahead[key]
            fresh.add(reply.id)
            return replace(reply, cached=False)

        fresh: set[str] = set()
        announce = None if on_reply is None else (lambda reply: on_reply(counted(reply)))
        replies = self._inner.ask(requests, announce)
        return [
            replace(reply, cached=False) if reply.id in fresh else counted(reply)
            for reply in replies
        ]

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        """Returns the engine's token ids of each text."""
        self._wait()
        return self._inner.tokenize(texts)

    def close(self) -> None:
        """Gives up what is still asked, and closes the engine."""
        self._stop.set()
        self._worker.shutdown()
        self._inner.close()

    def _wait(self) -> None:
        while self._pending is not None:
            try:
                self._pending.result(_POLL_SECONDS)
                self._pending = None
            except NotYet:
                self._check()

    def _ask_ahead(self, requests: Sequence[Request]) -> None:
        by_teacher: dict[str, list[Request]] = {}
        for request in requests:
            by_teacher.setdefault(request.teacher, []).append(replace(request, teacher=""))
        for name in by_teacher.keys() & self._caches.keys():
            keys = {one.id: self._key(replace(one, teacher=name)) for one in by_teacher[name]}

            def arrived(reply: Reply, keys: Mapping[str, str] = keys) -> None:
                if not (reply.cached or reply.error):
                    tokens = reply.prompt_tokens + reply.completion_tokens
                    self._ahead[keys[reply.id]] = tokens
                if self._stop.is_set():
                    raise _Stopped

            try:
                self._caches[name].ask(by_teacher[name], arrived)
            except _Stopped:
                return
            except TutelageError as error:
                # The round itself asks again, and reports what it meets.
                _LOG.info("asking ahead failed: %s", error)

    def _key(self, request: Request) -> str:
        cache = self._caches.get(request.teacher)
        name, bare = request.teacher, replace(request, teacher="")
        return "" if cache is None else f"{name} {request_key(cache.fingerprint, bare)}"
