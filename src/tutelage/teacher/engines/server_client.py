"""Requests to an OpenAI-compatible server.

Their number and duration and the size of a reply are bounded, failures are retried with growing
pauses, and the API key never appears in a message.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import math
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import tenacity

from tutelage.errors import TeacherError
from tutelage.teacher.engines.server_key import ApiKey
from tutelage.teacher.engines.server_replies import message_of, on_one_line, read_json

_LONGEST_PAUSE = 60.0
_LONGEST_CONNECT = 10.0
_LARGEST = 8 * 2**20
"""Bytes of a reply at most, before and after decompression; real ones have a few thousand."""
_REFUSALS = (400, 413, 414, 415, 422, 431, 451)
_NOT_THERE = (404, 405, 501)


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
    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a server is, and how patient its client is.

    Attributes:
        root: Address of the server, without ``/v1``.
        key: The API key.
        concurrency: Largest number of requests at once.
        timeout: Longest duration of one attempt, in seconds.
        retries: Further attempts after HTTP 408, 429, 5xx and connection errors.
        backoff: Longest first pause before another attempt, in seconds. It doubles with each
            attempt, with jitter, up to 60 seconds; a server's ``Retry-After`` counts too.
    """

    root: str
    key: ApiKey
    concurrency: int
    timeout: float
    retries: int
    backoff: float


class ServerClient:
    """A connection pool for one batch; use it as an async context manager.

    Args:
        connection: The server and the client's patience.

    Attributes:
        answers: Number of HTTP answers so far, other than temporary failures.
    """

    def __init__(self, connection: Connection) -> None:
        self._to = connection
        self._gate = asyncio.Semaphore(connection.concurrency)
        self._ended = asyncio.Event()
        self.answers = 0
        count = connection.concurrency + 1  # The test request of a stalled batch passes the gate.
        self._http = httpx.AsyncClient(
            # No compression, so that a small body cannot become a huge one.
            headers={**connection.key.headers, "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(None, connect=min(connection.timeout, _LONGEST_CONNECT)),
            limits=httpx.Limits(max_connections=count, max_keepalive_connections=count),
        )

    async def __aenter__(self) -> ServerClient:
        """Returns the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes every connection."""
        await self._http.aclose()

    @property
    def root(self) -> str:
        """Address of the server, without ``/v1``."""
        return self._to.root

    def end(self) -> None:
        """Lets attempts under way finish, and starts no other one."""
        self._ended.set()

    def clean(self, text: str, length: int = 300) -> str:
        """Returns a server's text for a message: on one line, without the key, and short."""
        # Cut last, or a part of a key at the border would stay.
        return on_one_line(self._to.key.mask(text[: 20 * length]))[:length]

    async def post(self, path: str, body: dict[str, Any], *, retries: int | None = None) -> Any:
        """Posts a JSON body and returns the parsed answer.

        Args:
            path: Path below the server's address, such as "/v1/completions".
            body: The request body.
            retries: Further attempts; None for those of the connection.

        Raises:
            Refused: The server refused this one request.
            Lasting: Every attempt failed.
            Ended: The batch ended before the request was sent.
            ValueError: The answer is too large.
            TeacherError: The server refused the key or lacks the model or address.
        """
        async with self._gate:
            return await self._retried("POST", path, body, retries)

    async def get(self, path: str) -> Any:
        """Gets the parsed answer of an address, in one attempt; raises as :meth:`post` does."""
        return await self._retried("GET", path, None, 0)

    async def test(self, path: str, body: dict[str, Any]) -> None:
        """Posts in one attempt, without waiting for other requests; raises as :meth:`post` does."""
        await self._retried("POST", path, body, 0)

    async def _retried(
        self, method: str, path: str, body: dict[str, Any] | None, retries: int | None
    ) -> Any:
        attempts = (self._to.retries if retries is None else retries) + 1
        answers = self.answers

        def begin(_: tenacity.RetryCallState) -> None:
            # A server can die between the attempts of a request that others outlived.
            nonlocal answers
            answers = self.answers

        retrying = tenacity.AsyncRetrying(
            before=begin,
            stop=lambda state: state.attempt_number >= attempts or self._ended.is_set(),
            wait=self._pause,
            sleep=self._sleep,
            retry=tenacity.retry_if_exception_type(_TryAgain),
            reraise=True,
        )
        try:
            return await retrying(self._once, method, path, body)
        except _TryAgain as error:
            count = retrying.statistics.get("attempt_number", attempts)
            times = f"{count} times, most recently with" if count > 1 else "with"
            raise Lasting(f"{times}: {str(error).rstrip('.')}", answers) from error

    def _pause(self, state: tenacity.RetryCallState) -> float:
        # The server's wish (Retry-After) and the growing pause; the longer one wins.
        error = state.outcome.exception() if state.outcome is not None else None
        wanted = error.pause if isinstance(error, _TryAgain) else 0.0
        own = tenacity.wait_random_exponential(multiplier=self._to.backoff, max=_LONGEST_PAUSE)(
            state
        )
        return min(max(wanted, own), _LONGEST_PAUSE)

    async def _sleep(self, seconds: float) -> None:
        # A batch that ends waits for no pause.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    async def _once(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        if self._ended.is_set():
            raise Ended
        code, headers, data = await self._exchange(method, path, body)
        if code == 429 or code == 408 or (code >= 500 and code not in _NOT_THERE):
            said = self.clean(message_of(data))
            raise _TryAgain(f"HTTP {code} {said}", _seconds(headers.get("retry-after", "")))
        if code != 200:
            self.answers += 1
            raise self._refusal(code, path, self.clean(message_of(data)), headers)
        try:
            answer = read_json(data)
        except ValueError as error:
            raise _TryAgain(f"an answer other than JSON: {self.clean(message_of(data))}") from error
        self.answers += 1
        return answer

    async def _exchange(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> tuple[int, httpx.Headers, bytes]:
        """Sends once and returns status, headers and body, within the time of one attempt."""
        content = None if body is None else json.dumps(body).encode()
        # The type of a body only: some servers read an empty body of GET as JSON, too.
        headers = {"Content-Type": "application/json"} if content else {}
        try:
            async with (
                asyncio.timeout(self._to.timeout),
                self._http.stream(
                    method, self._to.root + path, content=content, headers=headers
                ) as answer,
            ):
                return answer.status_code, answer.headers, await _read(answer)
        except TimeoutError as error:
            raise _TryAgain(
                f"no whole reply within {self._to.timeout:g} s (teacher.timeout)"
            ) from error
        except (httpx.HTTPError, httpx.StreamError, zlib.error, OSError) as error:
            raise _TryAgain(self.clean(f"{type(error).__name__} {error}".strip())) from error

    def _refusal(self, code: int, path: str, said: str, headers: httpx.Headers) -> Exception:
        """Returns the error of an answer that no other attempt would change."""
        server = f"the server at {self._to.root}"
        if code in _REFUSALS:
            return Refused(said)
        if code in (401, 403):
            name = self._to.key.variable
            advice = (
                f"Set the environment variable {name} to a valid key"
                if name
                else "Put a key into an environment variable, and set teacher.api_key_env to the "
                "name of that variable"
            )
            had = "refused the API key" if self._to.key.headers else "wants an API key"
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
