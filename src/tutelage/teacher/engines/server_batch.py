"""Answers the requests of one batch at once, and decides when failures end the batch."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tutelage.errors import TeacherError
from tutelage.teacher.base import Reply, Request
from tutelage.teacher.engines.server_client import Client
from tutelage.teacher.engines.server_watch import LabelWatch

_FEW = 8
"""Fewer failures are those of single requests, whatever their share."""
_LAST_WAIT = 30.0
"""Seconds in which requests under way may still be answered after the batch ended."""
_SHOWN = 160


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one request.

    Attributes:
        reply: Its reply.
        failure: How the server failed; "" if it answered, which a refusal does, too.
        blind: Whether the reply says nothing about any label.
    """

    reply: Reply
    failure: str = ""
    blind: bool = False


@dataclass(slots=True)
class Health:
    """Failures of a server over several batches.

    Attributes:
        in_a_row: Failed requests since the last answer.
    """

    in_a_row: int = 0


class Batch:
    """The requests of one batch.

    A request that keeps failing while others are answered becomes a failed reply. The batch ends
    where most requests fail. Whatever ends it, requests under way may still be answered.

    Args:
        client: The client of the server.
        requests: The requests.
        answer: Answers one of them.
        keep: Called with each reply, in the order of their arrival.
        health: Failures so far.
        watch: Counts replies without labels; they are kept back until a label is found.
        advice: What to do where most requests fail.
    """

    def __init__(
        self,
        client: Client,
        requests: Sequence[Request],
        answer: Callable[[Request], Awaitable[Outcome]],
        keep: Callable[[Reply], None],
        health: Health,
        watch: LabelWatch,
        advice: str,
    ) -> None:
        self._client = client
        self._requests = requests
        self._answer = answer
        self._keep = keep
        self._health = health
        self._watch = watch
        self._advice = advice
        self._ended: asyncio.Queue[Outcome | Exception] = asyncio.Queue()
        self._held: list[Reply] = []
        self._first_failure = ""
        self._answered = self._failed = 0

    async def run(self) -> None:
        """Answers all requests.

        Raises:
            TeacherError: Most requests failed, or one failed in a way that all others would.
        """
        # All at once; the client bounds their number.
        tasks = [asyncio.create_task(self._one(request)) for request in self._requests]
        try:
            for _ in tasks:
                self._take(await self._ended.get())
            self._release()
        except BaseException:
            await self._finish(tasks)
            raise

    async def _one(self, request: Request) -> None:
        try:
            self._ended.put_nowait(await self._answer(request))
        except Exception as error:
            self._ended.put_nowait(error)

    def _take(self, outcome: Outcome | Exception) -> None:
        if isinstance(outcome, Exception):
            raise outcome
        if outcome.failure:
            self._failed += 1
            self._health.in_a_row += 1
            self._first_failure = self._first_failure or self._told(outcome)
        else:
            self._answered += 1
            self._health.in_a_row = 0
        if outcome.blind and self._watch.never_found:
            # Not passed on, so that useless replies are in no cache when the run ends here.
            self._held.append(outcome.reply)
        else:
            self._release()
            self._keep(outcome.reply)
        if verdict := self._watch.verdict:
            raise TeacherError(verdict)
        most = self._failed >= _FEW and self._failed > self._answered
        if most or (self._health.in_a_row >= _FEW and not self._answered):
            raise TeacherError(
                f"the server at {self._client.root} failed in {self._failed} of "
                f"{self._failed + self._answered} requests. {self._first_failure} The replies so "
                f"far are kept. {self._advice}"
            )

    def _told(self, outcome: Outcome) -> str:
        prompt = next(one.prompt for one in self._requests if one.id == outcome.reply.id)
        return (
            f"The first of them, whose prompt ends with {ending(str(prompt))!r}, failed "
            f"{outcome.failure}."
        )

    def _release(self) -> None:
        held, self._held = self._held, []
        for reply in held:
            self._keep(reply)

    async def _finish(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Waits for requests under way, keeps their replies, and cancels what is left."""
        try:
            self._client.end()
            await asyncio.wait(tasks, timeout=_LAST_WAIT)
            while not self._ended.empty():
                outcome = self._ended.get_nowait()
                if isinstance(outcome, Outcome) and not (outcome.reply.error or outcome.blind):
                    # The first error counts; whoever raised it may raise it again.
                    with contextlib.suppress(Exception):
                        self._keep(outcome.reply)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def ending(prompt: str) -> str:
    """Returns the end of a prompt, which tells one request from another, on one line."""
    text = " ".join(prompt.split())
    return text if len(text) <= _SHOWN else f"…{text[-_SHOWN:]}"
