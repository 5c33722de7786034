"""Gives each request of a batch a server: the one with the fewest requests under way."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence

from tutelage.errors import TeacherError
from tutelage.teacher.engines.server_fleet import Differs, Fleet, Member

Check = Callable[[Member], Awaitable[str]]
"""Asks a server that was left out what it is; returns why it is not there yet, "" if it is."""


class Lanes:
    """The requests under way in one batch, by server.

    Args:
        fleet: The servers.
        patience: Longest time without an answer while servers are busy, in seconds.
        check: Asks a server that comes back; None to take its word.

    Attributes:
        ended: Set when no further request may begin.
        answers: Number of HTTP answers so far, other than temporary failures.
    """

    def __init__(self, fleet: Fleet, patience: float, check: Check | None) -> None:
        self.ended = asyncio.Event()
        self.answers = 0
        self._fleet = fleet
        self._patience = patience
        self._check = check
        self._under_way: Counter[Member] = Counter()
        self._changed = asyncio.Event()
        self._busy_since: float | None = None
        self._checks: dict[Member, asyncio.Task[None]] = {}
        self._fault: Exception | None = None

    async def take(self, among: Sequence[Member], tried: Collection[Member]) -> Member | None:
        """Waits for a place at a server.

        Args:
            among: The servers to choose from.
            tried: Those that failed this request already; they are asked if no other is there.

        Returns:
            The server, to be given back by :meth:`leave`; None if the batch ended.

        Raises:
            TeacherError: Every server is left out for good.
        """
        while not self.ended.is_set():
            if self._fault is not None:
                raise self._fault
            now = time.monotonic()
            self._ask_the_absent(now)
            candidates = self._fleet.candidates(among, tried)
            free = [
                member
                for member in candidates
                if member.rests_until <= now and self._under_way[member] < member.places
            ]
            if free:
                chosen = min(free, key=self._order)
                self._under_way[chosen] += 1
                chosen.asked += 1
                return chosen
            await self._change(now, candidates)
        return None

    def _order(self, member: Member) -> tuple[bool, int, int]:
        # A server that fails at once always has the fewest requests under way.
        return member.is_doubtful, self._under_way[member], member.asked

    def leave(self, member: Member) -> None:
        """Gives a place back."""
        self._under_way[member] -= 1
        self._notify()

    def answered(self, member: Member | None) -> None:
        """Counts an answer, in favour of a server if one is given."""
        self.answers += 1
        self._busy_since = None
        if member is not None:
            member.answered()

    def was_busy(self, member: Member, sent: float, wish: float, said: str) -> None:
        """Counts HTTP 429.

        Args:
            member: The server.
            sent: When the request was sent.
            wish: Pause that the server asks for, in seconds.
            said: The server's own words.

        Raises:
            TeacherError: For too long a time, no server answered anything else.
        """
        self._fleet.was_busy(member, sent, wish, self._patience)
        now = time.monotonic()
        self._busy_since = now if self._busy_since is None else self._busy_since
        if now - self._busy_since >= self._patience:
            raise TeacherError(
                f"for {self._patience:g} s, no request was answered: the server at {member.root} "
                f"is too busy ({said.rstrip('.')}). The replies so far are kept. Check the "
                "account's limits, or wait, and run again with a lower teacher.concurrency, more "
                "servers in teacher.url or a longer teacher.patience."
            )

    def end(self) -> None:
        """Lets no further request begin."""
        self.ended.set()
        self._notify()

    async def close(self) -> None:
        """Stops asking servers that are left out."""
        for task in self._checks.values():
            task.cancel()
        await asyncio.gather(*self._checks.values(), return_exceptions=True)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _change(self, now: float, candidates: Sequence[Member]) -> None:
        """Waits until a place may be free."""
        times = [member.rests_until for member in candidates if member.rests_until > now]
        times += [member.returns_at for member in self._fleet.members if self._is_due(member)]
        seconds = max(min(times) - now, 0) if times else math.inf
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                await self._changed.wait()

    def _is_due(self, member: Member) -> bool:
        return member.is_out and member not in self._checks and member.returns_at < math.inf

    def _ask_the_absent(self, now: float) -> None:
        for member in self._fleet.members:
            if self._is_due(member) and member.returns_at <= now:
                self._checks[member] = asyncio.create_task(self._ask(member))

    async def _ask(self, member: Member) -> None:
        try:
            reason = await self._check(member) if self._check is not None else ""
        except Differs as error:
            self._fleet.tell(f"the server at {member.root} stays left out: {error}")
            self._fleet.leave_out(member, str(error), forever=True)
        except Exception as error:  # Nobody awaits this task.
            self._fault = error
        else:
            if reason:
                self._fleet.leave_out(member, reason)
            else:
                self._fleet.back(member)
        finally:
            del self._checks[member]
            self._notify()
