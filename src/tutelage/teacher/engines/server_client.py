"""Requests to an OpenAI-compatible server: bounded in number, tried again with growing pauses, never logged with their key."""

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
    """The server refused this one request (HTTP 400, 413 or 422); its words are the message."""


class _TryAgain(Exception):
    def __init__(self, said: str, pause: float = 0.0) -> None:
        super().__init__(said)
        self.pause = pause


class ServerClient:
    """An open connection pool; use it as an async context manager.

    Args:
        root: the server's address without ``/v1``.
        api_key_env: the environment variable that holds the key; read here, kept nowhere else.
        concurrency: requests at once.
        timeout: seconds a request may take.
        retries: further tries after HTTP 429, 5xx and connection errors.
        backoff: the first pause in seconds; it doubles, with jitter.
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
        """Open."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send ``body`` to ``path`` and return the parsed answer.

        Raises:
            Refused: the server refused this request.
            TeacherError: it cannot be reached, refuses the key or the model, or kept failing.
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
                f"the server at {self._root} failed {self._retries + 1} times, at last with: {error}. What was answered is kept; "
                "check that it runs (`tutelage doctor`) and run again, or lower teacher.concurrency."
            ) from error

    def _pause(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.pause if isinstance(error, _TryAgain) else 0.0
        own = tenacity.wait_random_exponential(multiplier=self._backoff, max=_LONGEST_PAUSE)(state)
        return min(max(asked, own), _LONGEST_PAUSE)

    async def _once(self, path: str, body: dict[str, Any]) -> Any:
        try:
            answer = await self._http.post(self._root + path, json=body)
        except httpx.TransportError as error:
            raise _TryAgain(self._clean(f"{type(error).__name__} {error}".strip())) from error
        code = answer.status_code
        said = self._clean(_message(answer))
        if code == 429 or code >= 500 or code == 408:
            raise _TryAgain(f"HTTP {code} {said}", _seconds(answer.headers.get("retry-after", "")))
        if code in (401, 403):
            raise TeacherError(
                f"the server at {self._root} refused the key (HTTP {code}: {said}). "
                f"Set the environment variable {self._key_name} to a valid one."
            )
        if code == 404:
            raise TeacherError(
                f"the server at {self._root} has no such model or address (HTTP 404 at {path}: {said}). "
                "Check teacher.url and teacher.model."
            )
        if code in (400, 413, 422):
            raise Refused(said)
        if code != 200:
            raise TeacherError(
                f"the server at {self._root} answered HTTP {code} at {path}: {said}. Check teacher.url."
            )
        try:
            return answer.json()
        except ValueError as error:
            raise _TryAgain(f"an answer that is not JSON: {said}") from error

    def _clean(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def run_async(make: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine to its end, also from inside a running event loop (a notebook's)."""

    async def whole() -> None:
        await make()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(whole())
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, whole()).result()


def _message(answer: httpx.Response) -> str:
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
