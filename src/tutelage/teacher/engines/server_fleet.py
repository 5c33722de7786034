"""The servers of one teacher: which of them are there, and how much each of them takes."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from tutelage.errors import TeacherError
from tutelage.teacher.engines.server_key import ApiKey

LONGEST_PAUSE = 60.0
"""Seconds between two attempts at most, unless a server asks for more by ``Retry-After``."""
LONGEST_WISH = 300.0
"""Seconds at most that a server's ``Retry-After`` is followed."""
_LONGEST_ABSENCE = 300.0
_FEW = 3
"""Requests in a row that one server failed and another one answered, until it is left out."""
_SHOWN = 3


class Differs(TeacherError):
    """A server has another model than the others, or scores in another way."""


class Member:
    """One of the servers, over all batches of a run.

    Args:
        root: Its address, without ``/v1``.
        key: Its API key.
        concurrency: Largest number of requests at once.

    Attributes:
        limit: Largest number of requests at once by now. HTTP 429 halves it, and each answer raises
            it a little: additive increase, multiplicative decrease, as in TCP.
        rests_until: No request is sent before this time of the monotonic clock.
        is_doubtful: Whether it failed a request since its last answer.
        is_out: Whether it is left out.
        returns_at: When a server that is left out is asked again; infinity for never.
        asked: Number of requests that were sent to it.
        counts: Numbers for the notes: "answered", "moved" and "busy".
        absences: Begin, end ("" for none) and reason of each time it was left out.
    """

    def __init__(self, root: str, key: ApiKey, concurrency: int) -> None:
        self.root = root
        self.key = key
        self.limit = float(concurrency)
        self.rests_until = 0.0
        self.is_doubtful = self.is_out = False
        self.returns_at = 0.0
        self.asked = 0
        self.counts: Counter[str] = Counter()
        self.absences: list[tuple[str, str, str]] = []
        self._concurrency = concurrency
        self._lowered_at = 0.0
        self._busy_in_a_row = self._failed_in_a_row = self._out_in_a_row = 0

    def answered(self) -> None:
        """Counts an answer."""
        self.counts["answered"] += 1
        self.limit = min(self._concurrency, self.limit + 1 / self.limit)
        self._busy_in_a_row = self._failed_in_a_row = 0
        self.is_doubtful = False

    @property
    def places(self) -> int:
        """Largest number of requests at once by now; one while the server is doubtful."""
        return 1 if self.is_doubtful else int(self.limit)

    def was_busy(self, sent: float, wish: float, backoff: float) -> None:
        """Lowers the number of requests at once, and lets the server rest.

        Args:
            sent: When the request was sent.
            wish: Pause that the server asks for, in seconds.
            backoff: Longest first pause, in seconds.
        """
        self.counts["busy"] += 1
        now = time.monotonic()
        # The refusals of requests that were sent together are a single one.
        if sent >= self._lowered_at:
            self._lowered_at = now
            self.limit = max(1.0, self.limit / 2)
            self._busy_in_a_row += 1
            wish = max(wish, pause(self._busy_in_a_row, backoff))
        self.rests_until = max(self.rests_until, now + wish)

    def failed(self) -> bool:
        """Counts a request that another server answered; returns whether there are too many."""
        self._failed_in_a_row += 1
        return self._failed_in_a_row >= _FEW

    def leave(self, reason: str, backoff: float, *, forever: bool = False) -> None:
        """Leaves the server out for a time that doubles until it is back."""
        self._out_in_a_row += 1
        self._failed_in_a_row = 0
        # A server takes longer to start than a request to be accepted.
        absence = min(8 * backoff * 2 ** (self._out_in_a_row - 1), _LONGEST_ABSENCE)
        self.returns_at = math.inf if forever else time.monotonic() + absence
        if not self.is_out:
            self.absences.append((_clock(), "", reason))
        elif forever:
            # What keeps it out is no longer what it was left out for.
            self.absences[-1] = *self.absences[-1][:2], reason
        self.is_out = True

    def back(self) -> None:
        """Takes the server in again."""
        if self.is_out:
            begin, _, reason = self.absences[-1]
            self.absences[-1] = begin, _clock(), reason
        self.is_doubtful = self.is_out = False
        self._out_in_a_row = self._failed_in_a_row = 0


class Fleet:
    """All servers of a teacher, over all batches of a run.

    Args:
        members: The servers.
        backoff: Longest first pause, in seconds.
        tell: Called with what a user should know at once.

    Attributes:
        members: As given.
        tell: As given.
    """

    def __init__(
        self, members: Sequence[Member], backoff: float, tell: Callable[[str], None]
    ) -> None:
        self.members = tuple(members)
        self.tell = tell
        self._backoff = backoff

    @property
    def is_one(self) -> bool:
        """Whether there is a single server."""
        return len(self.members) == 1

    @property
    def roots(self) -> str:
        """The addresses for messages; of many servers the first ones."""
        roots = [member.root for member in self.members]
        more = f" and {len(roots) - _SHOWN} more" if len(roots) > _SHOWN else ""
        return ", ".join(roots[:_SHOWN]) + more

    def mask(self, text: str, *, cut: bool = True) -> str:
        """Replaces every server's key in a text; see :meth:`ApiKey.mask`."""
        for member in self.members:
            text = member.key.mask(text, cut=cut)
        return text

    def untried(self, among: Sequence[Member], tried: Collection[Member]) -> list[Member]:
        """Returns the servers that are there, without those that failed a request already."""
        return [member for member in among if not member.is_out and member not in tried]

    def candidates(self, among: Sequence[Member], tried: Collection[Member]) -> list[Member]:
        """Returns the servers for the next attempt of a request.

        Where none of them is there, those that are left out are asked all the same.

        Raises:
            TeacherError: Every server is left out for good.
        """
        there = self.untried(among, ())
        found = [member for member in there if member not in tried] or there
        found = found or [member for member in among if member.returns_at < math.inf]
        if not found:
            reasons = "; ".join(member.absences[-1][2] for member in among)
            raise TeacherError(
                f"no server of teacher.url is left ({reasons}). The replies so far are kept. Set "
                "teacher.url to servers of one model, and run again."
            )
        return found

    def leave_out(self, member: Member, reason: str, *, forever: bool = False) -> None:
        """Leaves a server out and says so; a single server stays, whatever happens to it."""
        if self.is_one:
            return
        if not member.is_out:
            later = "" if forever else " It is asked again later."
            self.tell(
                f"the server at {member.root} is left out: {reason.rstrip('.')}. Its requests go "
                f"to the other servers.{later}"
            )
        member.leave(reason, self._backoff, forever=forever)

    def blame(self, member: Member, reason: str) -> None:
        """Counts a request that one server failed and another one answered."""
        member.counts["moved"] += 1
        # A request of the time before may end late.
        if not member.is_out and member.failed():
            self.leave_out(member, reason)

    def back(self, member: Member) -> None:
        """Takes a server in again that was left out, and says so."""
        if member.is_out:
            self.tell(f"the server at {member.root} is back.")
        member.back()

    def was_busy(self, member: Member, sent: float, wish: float, patience: float) -> None:
        """Lets a server rest that is too busy, and says so once."""
        longest = min(LONGEST_WISH, patience)
        member.was_busy(sent, min(wish, longest), self._backoff)
        self.tell(
            f"the server at {member.root} is too busy (HTTP 429 or Retry-After): the run waits as "
            "long as the server asks for, and sends it fewer requests at once."
        )
        if wish > longest:
            self.tell(
                f"the server at {member.root} asks for a pause of more than {longest:g} s "
                "(Retry-After); it is asked again after that time."
            )

    def summary(self) -> list[str]:
        """Returns the counts of each server, for readers of the results."""
        return [text for member in self.members if (text := self._described(member))]

    def _described(self, member: Member) -> str:
        counts = member.counts
        busy = f"{counts['busy']:,} requests came too soon (HTTP 429)" if counts["busy"] else ""
        if self.is_one:
            return f"{member.root}: {busy}" if busy else ""
        parts = [f"{counts['answered']:,} answers"]
        if counts["moved"]:
            parts.append(f"{counts['moved']:,} requests moved to other servers")
        parts += [busy] if busy else []
        for begin, end, reason in member.absences:
            until = f" until {end}" if end else " to the end"
            parts.append(f"left out at {begin}{until} ({reason.rstrip('.')})")
        return f"{member.root}: {'; '.join(parts)}"


def pause(attempt: int, backoff: float) -> float:
    """Returns the seconds before another attempt: random, up to a bound that doubles each time.

    Args:
        attempt: Number of failed attempts, from 1.
        backoff: The bound of the first pause, in seconds.
    """
    # Clients that were refused together must not come back together. No result depends on it.
    return random.uniform(0, min(backoff * 2 ** min(attempt - 1, 30), LONGEST_PAUSE))


def _clock() -> str:
    return datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
