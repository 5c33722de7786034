"""Requests to an OpenAI-compatible server.

Their number is bounded, failures are retried with growing pauses, and the API key never appears in
a message.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import tenacity

from tutelage.errors import TeacherError

_LONGEST_PAUSE = 60.0


class Refused(Exception):
    """The server refused one request (HTTP 400, 413 or 422); the message is the server's own."""


class _TryAgain(Exception):
    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class NotFoundError(TeacherError):
    """The server answered HTTP 404: it lacks the model, or the address."""


class ServerClient:
    """A connection pool for one batch; use it as an async context manager.

    Args:
        root: Address of the server, without ``/v1``.
        api_key_env: Environment variable with the API key; "" for no key. The key is read here and
            kept nowhere else.
        concurrency: Largest number of requests at once.
        timeout: Longest duration of a request, in seconds.
        retries: Further attempts after HTTP 408, 429, 5xx and connection errors.
        backoff: Longest first pause before another attempt, in seconds. It doubles with each
            attempt, with jitter, up to 60 seconds; a server's ``Retry-After`` counts too.
    """

    def __init__(
        self,
        root: str,
        *,
        api_key_env: str,
        concurrency: int,
        timeout: float,
        retries: int,
        backoff: float,
    ) -> None:
        self._root = root
        self._key_name = api_key_env
        self._key = os.environ.get(api_key_env, "") if api_key_env else ""
        self._gate = asyncio.Semaphore(concurrency)
        self._retries = retries
        self._backoff = backoff
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        self._http = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            limits=limits,
        )

    async def __aenter__(self) -> ServerClient:
        """Returns the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes every connection."""
        await self._http.aclose()

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Posts a JSON body and returns the parsed answer.

        Args:
            path: Path below the server's address, such as "/v1/completions".
            body: The request body.

        Raises:
            Refused: The server refused this one request.
            TeacherError: The server cannot be reached, refused the key or the model, or kept
                failing.
        """
        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self._retries + 1),
            wait=self._pause,
            retry=tenacity.retry_if_exception_type(_TryAgain),
            reraise=True,
        )
        try:
            async with self._gate:
                return await retrying(self._once, path, body)
        except _TryAgain as error:
            raise TeacherError(
                f"the server at {self._root} failed {self._retries + 1} times, most recently with: "
                f"{error}. The replies so far are kept. Check that the server is running "
                "(`tutelage doctor`) and run again, or lower teacher.concurrency."
            ) from error

    def _pause(self, state: tenacity.RetryCallState) -> float:
        # The server's wish (Retry-After) and the growing pause; the longer one wins.
        error = state.outcome.exception() if state.outcome is not None else None
        wanted = error.pause if isinstance(error, _TryAgain) else 0.0
        own = tenacity.wait_random_exponential(multiplier=self._backoff, max=_LONGEST_PAUSE)(state)
        return min(max(wanted, own), _LONGEST_PAUSE)

    async def _once(self, path: str, body: dict[str, Any]) -> Any:
        try:
            answer = await self._http.post(self._root + path, json=body)
        except httpx.TransportError as error:
            raise _TryAgain(self._clean(f"{type(error).__name__} {error}".strip())) from error
        code = answer.status_code
        message = self._clean(_message(answer))
        # Temporary failures are retried; other statuses end the batch or fail this one request.
        if code == 429 or code >= 500 or code == 408:
            raise _TryAgain(
                f"HTTP {code} {message}", _seconds(answer.headers.get("retry-after", ""))
            )
        if code in (401, 403):
            raise TeacherError(
                f"the server at {self._root} refused the API key (HTTP {code}: {message}). "
                f"Set the environment variable {self._key_name} to a valid key."
            )
        if code == 404:
            raise NotFoundError(
                f"the server at {self._root} has no such model or address (HTTP 404 at {path}: "
                f"{message}). Check teacher.url and teacher.model."
            )
        if code in (400, 413, 422):
            raise Refused(message)
        if code != 200:
            raise TeacherError(
                f"the server at {self._root} answered HTTP {code} at {path}: {message}. Check "
                "teacher.url."
            )
        try:
            return answer.json()
        except ValueError as error:
            raise _TryAgain(f"an answer other than JSON: {message}") from error

    def _clean(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def run_async(make: Callable[[], Awaitable[None]]) -> None:
    """Runs a coroutine to its end, even inside a running event loop, as in a notebook."""

    async def whole() -> None:
        await make()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(whole())
        return
    # A running loop cannot be nested, so the coroutine runs in a thread with a loop of its own.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, whole()).result()


def _message(answer: httpx.Response) -> str:
    # Error bodies differ: {"error": {"message": …}}, {"message": …}, or plain text.
    try:
        body = answer.json()
    except ValueError:
        return answer.text.strip()[:300]
    found = body.get("error", body.get("message", "")) if isinstance(body, dict) else body
    return str(found.get("message", found) if isinstance(found, dict) else found).strip()[:300]


def _seconds(text: str) -> float:
    try:
        return max(float(text), 0.0)
    except ValueError:
        return 0.0
