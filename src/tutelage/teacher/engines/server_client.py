"""Requests to an OpenAI-compatible server, or to several of them.

Their number is bounded, and failures are retried at another server or with growing pauses.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from tutelage.errors import TeacherError
from tutelage.teacher.engines.server_errors import Ended, Lasting, Refused
from tutelage.teacher.engines.server_exchange import Busy, Connection, Exchange, TryAgain
from tutelage.teacher.engines.server_fleet import LONGEST_PAUSE, Differs, Member, pause
from tutelage.teacher.engines.server_lanes import Lanes


class _Waiting(Exception):
    """The server was too busy, and rests now."""


class Client(Protocol):
    """Takes the bodies of requests and returns those of answers: a live server, or reply files."""

    @property
    def root(self) -> str:
        """Address of the server, for messages."""
        ...

    def clean(self, text: str, length: int = 300) -> str:
        """Returns a server's text for a message: on one line, without the key, and short."""
        ...

    async def post(self, path: str, body: dict[str, Any], *, retries: int | None = None) -> Any:
        """Returns the parsed answer; see :meth:`ServerClient.post`."""
        ...

    def end(self) -> None:
        """Starts no other request."""
        ...


class ServerClient:
    """A connection pool for one batch; use it as an async context manager.

    Args:
        connection: The servers and the client's patience.
        admit: Asks a server that was left out what it is, through a client of that server alone;
            raises what :meth:`post` does, and :class:`Differs`. None to take its word.
    """

    def __init__(
        self,
        connection: Connection,
        admit: Callable[[ServerClient], Awaitable[None]] | None = None,
    ) -> None:
        self._to = connection
        self._members = connection.fleet.members
        self._admit = admit
        self._lanes = Lanes(connection.fleet, connection.patience, self._still_missing)
        # A request keeps its seat through its pauses, so that failures slow the batch down.
        self._seats: asyncio.Semaphore | None = asyncio.Semaphore(
            connection.concurrency * len(self._members)
        )
        self._exchange = Exchange(connection)

    async def __aenter__(self) -> ServerClient:
        """Returns the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes every connection."""
        await self._lanes.close()
        await self._exchange.close()

    @property
    def root(self) -> str:
        """Address of the server, without ``/v1``; of several, all for messages."""
        return self._members[0].root if len(self._members) == 1 else self._to.root

    @property
    def answers(self) -> int:
        """Number of HTTP answers so far, other than temporary failures."""
        return self._lanes.answers

    def only(self, member: Member) -> ServerClient:
        """Returns a client that asks one server alone, also one that is left out."""
        view = copy.copy(self)  # It shares the connections and the counts.
        view._members = (member,)
        view._seats = None
        return view

    def end(self) -> None:
        """Lets attempts under way finish, and starts no other one."""
        self._lanes.end()

    def clean(self, text: str, length: int = 300) -> str:
        """Returns a server's text for a message: on one line, without the key, and short."""
        return self._to.clean(text, length)

    async def post(self, path: str, body: dict[str, Any], *, retries: int | None = None) -> Any:
        """Posts a JSON body and returns the parsed answer.

        A server that is too busy is waited for, which is no attempt unless ``retries`` is 0.

        Args:
            path: Path below the server's address, such as "/v1/completions".
            body: The request body.
            retries: Further attempts; None for those of the connection.

        Raises:
            Refused: The server refused this one request.
            Lasting: Every attempt failed.
            Ended: The batch ended before the request was sent.
            ValueError: The answer is too large.
            TeacherError: The server refused the key, lacks the model or address, or is too busy for
                too long.
        """
        attempts = (self._to.retries if retries is None else retries) + 1
        async with self._seats or contextlib.nullcontext():
            return await self._asked("POST", path, body, attempts)

    async def get(self, path: str) -> Any:
        """Gets the parsed answer of an address, in one attempt; raises as :meth:`post` does."""
        return await self._asked("GET", path, None, 1)

    async def test(self, path: str, body: dict[str, Any]) -> None:
        """Posts to every server, once and without waiting for other requests.

        Raises:
            Refused: A server refused the request, and none answered.
            Lasting: No server answers.
            TeacherError: A server refused the key or lacks the model or address, and none answered.
        """
        outcomes = await asyncio.gather(
            *(self._once(member, "POST", path, body) for member in self._members),
            return_exceptions=True,
        )
        for member, outcome in zip(self._members, outcomes, strict=True):
            if not isinstance(outcome, BaseException):
                self._to.fleet.back(member)
        failures = [one for one in outcomes if isinstance(one, BaseException)]
        if len(failures) < len(outcomes):
            return
        for failure in failures:
            if not isinstance(failure, TryAgain):
                raise failure
        raise Lasting(f"with: {'; '.join(map(str, failures))}", self.answers)

    async def _asked(
        self, method: str, path: str, body: dict[str, Any] | None, attempts: int
    ) -> Any:
        """Asks until a server answers: another one at once, the same ones after a pause."""
        fleet = self._to.fleet
        failed: dict[Member, str] = {}
        tried: set[Member] = set()
        count = spent = 0
        last: Lasting | None = None
        while (member := await self._lanes.take(self._members, tried)) is not None:
            answers = self.answers
            try:
                answer = await self._attempt(member, method, path, body, patient=attempts > 1)
            except _Waiting:
                continue
            except Refused:
                self._blame(failed, member, path)
                raise
            except (TryAgain, TeacherError) as error:
                failure = error
            else:
                self._blame(failed, member, path)
                return answer
            failed[member] = str(failure)
            tried.add(member)
            count += 1
            others = fleet.untried(self._members, tried)
            member.is_doubtful = bool(others)
            if isinstance(failure, TeacherError) and not others:
                raise failure
            # Whatever is the fault of one server alone costs the request no attempt.
            spent += not (others and (isinstance(failure, TeacherError) or failure.gone))
            times = f"{count} times, most recently with" if count > 1 else "with"
            last = Lasting(f"{times}: {self._told(member, failure)}", answers)
            if not others:
                if spent >= attempts:
                    raise last
                tried.clear()
                wish = failure.wish if isinstance(failure, TryAgain) else 0.0
                await self._sleep(min(max(wish, pause(spent, self._to.backoff)), LONGEST_PAUSE))
        raise last or Ended

    async def _attempt(
        self, member: Member, method: str, path: str, body: dict[str, Any] | None, *, patient: bool
    ) -> Any:
        """Asks one server once, and gives its place back.

        Raises:
            _Waiting: The server is too busy; only if ``patient``.
            TryAgain: The attempt failed.
            Refused: The server refused this one request.
            TeacherError: No other attempt at this server would help.
        """
        sent = time.monotonic()
        try:
            return await self._once(member, method, path, body)
        except Busy as error:
            if not patient:
                raise
            self._lanes.was_busy(member, sent, error.wish, str(error))
            raise _Waiting from error
        except TryAgain as error:
            if error.gone and not member.is_out:
                self._to.fleet.leave_out(member, str(error))
            raise
        finally:
            self._lanes.leave(member)

    def _blame(self, failed: dict[Member, str], answered: Member, path: str) -> None:
        """Counts a request against the servers that failed it, as another one answered it."""
        # Not every server has /tokenize, and those without it may answer prompts all the same.
        if path.startswith("/v1/"):
            for member, reason in failed.items():
                if member is not answered:
                    self._to.fleet.blame(member, reason)

    def _told(self, member: Member, failure: Exception) -> str:
        where = "" if self._to.fleet.is_one else f"{member.root} "
        return f"{where}{str(failure).rstrip('.')}"

    async def _still_missing(self, member: Member) -> str:
        """Asks a server that was left out; returns why it stays out, "" if it is back."""
        if self._admit is None:
            return ""
        try:
            await self._admit(self.only(member))
        except Differs:
            raise
        except Ended:
            return "the batch ended before it was back"
        except (Lasting, Refused, ValueError, TeacherError) as error:
            return str(error)
        return ""

    async def _sleep(self, seconds: float) -> None:
        # A batch that ends waits for no pause.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._lanes.ended.wait()

    async def _once(
        self, member: Member, method: str, path: str, body: dict[str, Any] | None
    ) -> Any:
        try:
            answer = await self._exchange.send(member, method, path, body)
        except Refused:
            self._lanes.answered(member)
            raise
        except TeacherError:
            # Whoever refuses everything is no better than whoever answers nothing.
            self._lanes.answered(None)
            raise
        self._lanes.answered(member)
        return answer


def run_async(make: Callable[[], Awaitable[None]]) -> None:
    """Runs a coroutine to its end, even inside a running event loop, as in a notebook."""

    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    async def whole() -> None:
        task = asyncio.current_task()
        assert task is not None
        running.append((asyncio.get_running_loop(), task))
        await make()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        # The first Ctrl-C cancels the coroutine, which may still finish what is under way.
        asyncio.run(whole())
        return
    # A running loop cannot be nested, so the coroutine runs in a thread with a loop of its own.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(asyncio.run, whole())
        try:
            future.result()
        except KeyboardInterrupt:
            # Ctrl-C reaches the notebook's own thread only.
            for loop, task in running:
                with contextlib.suppress(RuntimeError):  # The loop may have just ended.
                    loop.call_soon_threadsafe(task.cancel)
            raise
