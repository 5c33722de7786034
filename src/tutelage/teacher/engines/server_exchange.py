"""One request to one OpenAI-compatible server: sent once, read within bounds, and judged.

The duration of an exchange and the size of a reply are bounded, and no API key ever appears in a
message.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import time
import zlib
from dataclasses import dataclass
from typing import Any

import httpx

from tutelage.errors import TeacherError
from tutelage.teacher.engines.server_errors import NotFoundError, Refused, UnexpectedError
from tutelage.teacher.engines.server_fleet import Fleet, Member
from tutelage.teacher.engines.server_replies import message_of, on_one_line, read_json

_LONGEST_CONNECT = 10.0
_LARGEST = 8 * 2**20
"""Bytes of a reply at most, before and after decompression; real ones have a few thousand."""
REFUSALS = (400, 413, 414, 415, 422, 431, 451)
"""Statuses that refuse one request, and say nothing about others."""
_NOT_THERE = (404, 405, 501)
_BUSY = (503, 529)
"""Too busy, as HTTP 429 is, where there is a ``Retry-After``."""


class TryAgain(Exception):
    """One attempt failed, and another one may not.

    Attributes:
        wish: Pause that the server asks for, in seconds.
        gone: Whether nothing listens at the address.
    """

    def __init__(self, message: str, wish: float = 0.0, *, gone: bool = False) -> None:
        super().__init__(message)
        self.wish = wish
        self.gone = gone


class Busy(TryAgain):
    """The server wants fewer requests."""


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

    def clean(self, text: str, length: int = 300) -> str:
        """Returns a server's text for a message: on one line, without the key, and short."""
        # Cut last, or a part of a key at the border would stay.
        return on_one_line(self.mask(text[: 20 * length]))[:length]


class Exchange:
    """Sends requests to single servers, each of them once.

    Args:
        connection: The servers and the longest duration of an attempt.
    """

    def __init__(self, connection: Connection) -> None:
        self._to = connection
        # The test request of a stalled batch, and the questions to one server, have no seat.
        count = (connection.concurrency + 2) * len(connection.fleet.members)
        self._http = httpx.AsyncClient(
            # No compression, so that a small body cannot become a huge one.
            headers={"Accept-Encoding": "identity"},
            timeout=httpx.Timeout(None, connect=min(connection.timeout, _LONGEST_CONNECT)),
            limits=httpx.Limits(max_connections=count, max_keepalive_connections=count),
        )

    async def close(self) -> None:
        """Closes every connection."""
        await self._http.aclose()

    async def send(
        self, member: Member, method: str, path: str, body: dict[str, Any] | None
    ) -> Any:
        """Sends a request once, and returns the parsed answer.

        Args:
            member: The server.
            method: "GET" or "POST".
            path: Path below the server's address, such as "/v1/completions".
            body: The request body; None for none.

        Raises:
            TryAgain: The attempt failed, and another one may not.
            Refused: The server refused this one request.
            TeacherError: No other attempt at this server would help.
            ValueError: The answer is too large.
        """
        code, headers, data = await self._exchange(member, method, path, body)
        clean = self._to.clean
        if code in (408, 429) or (code >= 500 and code not in _NOT_THERE):
            wish = _seconds(headers.get("retry-after", ""))
            busy = code == 429 or (code in _BUSY and wish > 0)
            kind = Busy if busy else TryAgain
            raise kind(f"HTTP {code} {clean(message_of(data))}", wish)
        if code != 200:
            raise self._refusal(member, code, path, clean(message_of(data)), headers)
        try:
            return read_json(data)
        except ValueError as error:
            raise TryAgain(f"an answer other than JSON: {clean(message_of(data))}") from error

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
            raise TryAgain(
                f"no whole reply within {self._to.timeout:g} s (teacher.timeout)"
            ) from error
        except (httpx.HTTPError, httpx.StreamError, zlib.error, OSError) as error:
            gone = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            said = self._to.clean(f"{type(error).__name__} {error}".strip())
            raise TryAgain(said, gone=gone) from error

    def _refusal(
        self, member: Member, code: int, path: str, said: str, headers: httpx.Headers
    ) -> Exception:
        """Returns the error of an answer that no other attempt would change."""
        server = f"the server at {member.root}"
        if code in REFUSALS:
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
        where = self._to.clean(headers.get("location", ""))
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
