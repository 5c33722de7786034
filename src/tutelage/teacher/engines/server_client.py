"""Requests to an OpenAI-compatible server, or to several of them.

Their number and duration and the size of a reply are bounded, failures are retried at another
server or with growing pauses, and no API key ever appears in a message.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import email.utils
import json
import math
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from tutelage.errors import TeacherError
from tutelage.teacher.engines.server_fleet import LONGEST_PAUSE, Differs, Fleet, Member, pause
from tutelage.teacher.engines.server_lanes import Lanes
from tutelage.teacher.engines.server_replies import message_of, on_one_line, read_json

_LONGEST_CONNECT = 10.0
_LARGEST = 8 * 2**20
"""Bytes of a reply at most, before and after decompression; real ones have a few thousand."""
_REFUSALS = (400, 413, 414, 415, 422, 431, 451)
_NOT_THERE = (404, 405, 501)
_BUSY = (503, 529)
"""Too busy, as HTTP 429 is, where there is a ``Retry-After``."""


class Refused(Exception):
    """The server refused one request, for instance by HTTP 400; the message is the server's own."""


class Lasting(Exception):
    """One request failed in every attempt.

    Attributes:
        answers: Number of the client's answers before the last attempt. If there are no more by
            now, the server may be down.
    """

    def __init__(self, message: str, answers: int) -> None:
        super().__init__(message)
        self.answers = answers


class Ended(Exception):
    """The batch ended before this request was sent."""


class UnexpectedError(TeacherError):
    """The server answered by a status that no other attempt would change, such as HTTP 403 or 302.

    Attributes:
        status: The HTTP status.
        said: The server's own message.
    """

    def __init__(self, message: str, status: int, said: str) -> None:
        super().__init__(message)
        self.status = status
        self.said = said


class NotFoundError(UnexpectedError):
    """The server lacks the model or the address, by HTTP 404, 405 or 501."""


class _TryAgain(Exception):
    """One attempt failed, and another one may not.

    Attributes:
        wish: Pause that the server asks for, in seconds.
        gone: Whether nothing listens at the address.
    """

    def __init__(self, message: str, wish: float = 0.0, *, gone: bool = False) -> None:
        super().__init__(message)
        self.wish = wish
        self.gone = gone


class _Busy(_TryAgain):
    """The server wants fewer requests."""


class _Waiting(Exception):
    """The server was too busy, and rests now."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the servers are, and how patient their client is.

    Attributes:
        fleet: The servers.
        concurrency: Largest number of requests at once, for each server.
        timeout: Longest duration of one attempt, in seconds.
        retries: Further attempts after HTTP 408, 5xx and connection errors.
        backoff: Longest first pause before another attempt, in seconds. It doubles with each
            attempt, with jitter, up to 60 seconds; a server's ``Retry-After`` counts too.
        patience: Longest time without an answer while servers are busy, in seconds.
    """

    fleet: Fleet
    concurrency: int
    timeout: float
    retries: int
    backoff: float
    patience: float

    @property
    def root(self) -> str:
        """Address of the server, without ``/v1``; of several, all for messages."""
        return self.fleet.roots

    def mask(self, text: str, *, cut: bool = True) -> str:
        """Replaces the API keys in a text; see :meth:`ApiKey.mask`."""
        return self.fleet.mask(text, cut=cut)


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
        # The test request of a stalled batch, and the questions to one server, have no seat.
        count = (connection.concurrency + 2) * len(self._members)
        self._http = httpx.AsyncClient(
            # No compression, so that a small body cannot become a huge one.
            headers={"Accept-Encoding": "identity"},
            timeout=httpx.Timeout(None, connect=min(connection.timeout, _LONGEST_CONNECT)),
            limits=httpx.Limits(max_connections=count, max_keepalive_connections=count),
        )

    async def __aenter__(self) -> ServerClient:
        """Returns the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes every connection."""
        await self._lanes.close()
        await self._http.aclose()

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
        # Cut last, or a part of a key at the border would stay.
        return on_one_line(self._to.mask(text[: 20 * length]))[:length]

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
            if not isinstance(failure, _TryAgain):
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
            except (_TryAgain, TeacherError) as error:
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
                wish = failure.wish if isinstance(failure, _TryAgain) else 0.0
                await self._sleep(min(max(wish, pause(spent, self._to.backoff)), LONGEST_PAUSE))
        raise last or Ended

    async def _attempt(
        self, member: Member, method: str, path: str, body: dict[str, Any] | None, *, patient: bool
    ) -> Any:
        """Asks one server once, and gives its place back.

        Raises:
            _Waiting: The server is too busy; only if ``patient``.
            _TryAgain: The attempt failed.
            Refused: The server refused this one request.
            TeacherError: No other attempt at this server would help.
        """
        sent = time.monotonic()
        try:
            return await self._once(member, method, path, body)
        except _Busy as error:
            if not patient:
                raise
            self._lanes.was_busy(member, sent, error.wish, str(error))
            raise _Waiting from error
        except _TryAgain as error:
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
        code, headers, data = await self._exchange(member, method, path, body)
        if code in (408, 429) or (code >= 500 and code not in _NOT_THERE):
            wish = _seconds(headers.get("retry-after", ""))
            busy = code == 429 or (code in _BUSY and wish > 0)
            kind = _Busy if busy else _TryAgain
            raise kind(f"HTTP {code} {self.clean(message_of(data))}", wish)
        if code != 200:
            # Whoever refuses everything is no better than whoever answers nothing.
            self._lanes.answered(member if code in _REFUSALS else None)
            raise self._refusal(member, code, path, self.clean(message_of(data)), headers)
        try:
            answer = read_json(data)
        except ValueError as error:
            raise _TryAgain(f"an answer other than JSON: {self.clean(message_of(data))}") from error
        self._lanes.answered(member)
        return answer

    async def _exchange(
        self, member: Member, method: str, path: str, body: dict[str, Any] | None
    ) -> tuple[int, httpx.Headers, bytes]:
        """Sends once and returns status, headers and body, within the time of one attempt."""
        content = None if body is None else json.dumps(body).encode()
        # The type of a body only: some servers read an empty body of GET as JSON, too.
        headers = {"Content-Type": "application/json"} if content else {}
        headers |= member.key.headers
        try:
            async with (
                asyncio.timeout(self._to.timeout),
                self._http.stream(
                    method, member.root + path, content=content, headers=headers
                ) as answer,
            ):
                return answer.status_code, answer.headers, await _read(answer)
        except TimeoutError as error:
            raise _TryAgain(
                f"no whole reply within {self._to.timeout:g} s (teacher.timeout)"
            ) from error
        except (httpx.HTTPError, httpx.StreamError, zlib.error, OSError) as error:
            gone = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            said = self.clean(f"{type(error).__name__} {error}".strip())
            raise _TryAgain(said, gone=gone) from error

    def _refusal(
        self, member: Member, code: int, path: str, said: str, headers: httpx.Headers
    ) -> Exception:
        """Returns the error of an answer that no other attempt would change."""
        server = f"the server at {member.root}"
        if code in _REFUSALS:
            return Refused(said)
        if code in (401, 403):
            name = member.key.variable
            advice = (
                f"Set the environment variable {name} to a valid key"
                if name
                else "Put a key into an environment variable, and set teacher.api_key_env to the "
                "name of that variable"
            )
            had = "refused the API key" if member.key.headers else "wants an API key"
            message = f"{server} {had} (HTTP {code}: {said}). {advice}."
            # Some servers answer 403 to a single prompt that they do not like.
            return TeacherError(message) if code == 401 else UnexpectedError(message, code, said)
        if code in _NOT_THERE:
            return NotFoundError(
                f"{server} has no such model or address (HTTP {code} at {path}: {said}). Check "
                "teacher.url and teacher.model.",
                code,
                said,
            )
        if code == 402:
            return TeacherError(
                f"{server} wants to be paid first (HTTP 402: {said}). Check the account; the "
                "replies so far are kept."
            )
        where = self.clean(headers.get("location", ""))
        to = f" and points to {where}" if where else ""
        return UnexpectedError(
            f"{server} answered HTTP {code} at {path}{to}: {said}. Check teacher.url.", code, said
        )


async def _read(answer: httpx.Response) -> bytes:
    """Reads a body of bounded size.

    Raises:
        ValueError: The body is larger.
        zlib.error: The body is not compressed as its headers say.
    """
    coding = answer.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "", "gzip", "x-gzip", "deflate"):
        raise httpx.DecodingError(f"a body compressed as {coding[:20]!r}, which was not asked for")
    unpack = (
        zlib.decompressobj(wbits=zlib.MAX_WBITS | 32) if coding not in ("identity", "") else None
    )
    data = bytearray()
    async for chunk in answer.aiter_raw():
        data += unpack.decompress(chunk, _LARGEST + 1) if unpack else chunk
        if len(data) > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST // 2**20} MB")
    return bytes(data)


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


def _seconds(text: str) -> float:
    """Returns the pause that a Retry-After header asks for: seconds, or until a date."""
    try:
        pause = float(text)
    except ValueError:
        try:
            pause = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return max(pause, 0.0) if math.isfinite(pause) else 0.0
