"""Requests of one batch: their attempts, their servers and their end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.helpers.fake_server import FakeServer

from tutelage.teacher.engines.server_client import ServerClient
from tutelage.teacher.engines.server_errors import Ended, Lasting, NotFoundError
from tutelage.teacher.engines.server_exchange import Connection
from tutelage.teacher.engines.server_fleet import Fleet, Member
from tutelage.teacher.engines.server_key import ApiKey


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer()
    yield made
    made.stop()


def connection(server: FakeServer, retries: int) -> Connection:
    fleet = Fleet([Member(server.url.removesuffix("/v1"), ApiKey(""), 1)], 0.001, [].append)
    return Connection(fleet, 1, 9.0, retries, 0.001, patience=60.0)


def test_the_last_failure_is_told_with_the_number_of_attempts(server: FakeServer):
    server.answer = lambda path, body: (503, {"detail": "no"})

    async def send() -> None:
        async with ServerClient(connection(server, retries=1)) as client:
            await client.post("/v1/completions", {})

    with pytest.raises(Lasting, match=r"^2 times, most recently with: HTTP 503 no$"):
        asyncio.run(send())
    assert len(server.bodies) == 2


@pytest.mark.parametrize("code", [0, 500, 404])
def test_every_server_is_asked_before_a_request_without_retries_fails(
    server: FakeServer, code: int
):
    other = FakeServer()
    server.answer = lambda path, body: (code, b"")
    roots = [one.url.removesuffix("/v1") for one in (server, other)]
    fleet = Fleet([Member(root, ApiKey(""), 4) for root in roots], 0.001, [].append)

    async def send(times: int) -> list[Any]:
        async with ServerClient(Connection(fleet, 4, 9.0, 5, 0.001, patience=60.0)) as client:
            body = {"prompt": "p"}
            return [await client.post("/detokenize", body, retries=0) for _ in range(times)]

    assert len(asyncio.run(send(20))) == 20
    other.stop()
    # Not every server has every address, so none is left out for that.
    assert not fleet.members[0].is_out
    assert len(server.bodies) == 1, "a doubtful server is asked when the others are full"
    with pytest.raises((Lasting, NotFoundError)):
        asyncio.run(send(1))


def test_an_ended_batch_pauses_no_more_and_sends_no_more(server: FakeServer):
    server.answer = lambda path, body: (503, {}, {"Retry-After": "60"})

    async def send() -> list[Any]:
        async with ServerClient(connection(server, retries=5)) as client:
            tasks = [asyncio.create_task(client.post("/v1/completions", {})) for _ in range(3)]
            while not server.bodies:
                await asyncio.sleep(0.01)
            client.end()
            return await asyncio.gather(*tasks, return_exceptions=True)

    began = time.monotonic()
    ended = asyncio.run(send())
    assert time.monotonic() - began < 5
    assert len(server.bodies) == 1
    assert isinstance(ended[0], Lasting | Ended)
    assert [type(one) for one in ended[1:]] == [Ended, Ended]
