"""One request: its time and size are bounded, and its failures are told without the key."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from tests.helpers.fake_server import FakeServer

from tutelage.errors import TeacherError
from tutelage.teacher.engines import server_client
from tutelage.teacher.engines.server_client import (
    Connection,
    Ended,
    Lasting,
    NotFoundError,
    Refused,
    ServerClient,
)
from tutelage.teacher.engines.server_fleet import Fleet, Member
from tutelage.teacher.engines.server_key import ApiKey

KEY = "sk-sesame-77aabbccddeeff001122"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer()
    yield made
    made.stop()


def connection(
    server: FakeServer, key: ApiKey, concurrency: int, timeout: float, retries: int
) -> Connection:
    member = Member(server.url.removesuffix("/v1"), key, concurrency)
    fleet = Fleet([member], 0.001, [].append)
    return Connection(fleet, concurrency, timeout, retries, 0.001, patience=60.0)


def post(server: FakeServer, *, timeout: float = 10.0, retries: int = 0) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MY_KEY", KEY)
        key = ApiKey("MY_KEY")

    async def send() -> Any:
        async with ServerClient(connection(server, key, 4, timeout, retries)) as client:
            return await client.post("/v1/completions", {"prompt": "a \ud83d"})

    return asyncio.run(send())


def drip() -> Iterator[bytes]:
    while True:
        yield b" "
        time.sleep(0.02)


@pytest.mark.parametrize("code", [200, 400, 500])
def test_a_body_that_drips_takes_no_longer_than_the_timeout(server: FakeServer, code: int):
    server.answer = lambda path, body: (code, drip())
    began = time.monotonic()
    with pytest.raises(Lasting, match=r"no whole reply within 0\.2 s \(teacher\.timeout\)"):
        post(server, timeout=0.2)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b" " * 9_000_000, {}),
        (gzip.compress(b" " * 50_000_000), {"Content-Encoding": "gzip"}),
        (zlib.compress(b" " * 50_000_000), {"Content-Encoding": "deflate"}),
    ],
    ids=["huge", "gzip bomb", "deflate bomb"],
)
def test_a_huge_body_is_not_taken(server: FakeServer, body: bytes, headers: dict[str, str]):
    server.answer = lambda path, _: (200, body, headers)
    with pytest.raises(ValueError, match="larger than 8 MB"):
        post(server)
    assert len(server.bodies) == 1


def test_compression_is_understood_although_it_was_not_asked_for(server: FakeServer):
    packed = gzip.compress(b'{"a": 1}')
    server.answer = lambda path, body: (200, packed, {"Content-Encoding": "gzip"})
    assert post(server) == {"a": 1}
    assert server.headers[0]["Accept-Encoding"] == "identity"
    assert server.bodies[0]["prompt"] == "a \ud83d"


@pytest.mark.parametrize("code", [200, 400, 500])
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"[" * 100_000, {}),
        (b"no gzip", {"Content-Encoding": "gzip"}),
        (b"{}", {"Content-Encoding": "br"}),
        (b"\xff\xfe", {"Content-Type": "application/json; charset=rot13"}),
        (b"broken", {"Content-Type": "text/plain; charset=zlib"}),
        (b'{"error": {"message": "\\ud83d"}}', {"Content-Type": "nonsense"}),
        (b"<html><title>\x00Busy</title>", {}),
        (b"", {}),
    ],
)
def test_no_body_is_a_traceback(
    server: FakeServer, code: int, body: bytes, headers: dict[str, str]
):
    server.answer = lambda path, _: (code, body, headers)
    try:
        assert post(server, retries=1) is not None
    except (Lasting, Refused) as error:
        text = str(error)
        assert text.encode()
        assert "\n" not in text
        assert len(text) < 400


@pytest.mark.parametrize("code", [400, 401, 403, 402, 404, 418, 500, 302])
@pytest.mark.parametrize("before", [0, 270, 280, 290, 299])
def test_a_key_that_the_server_echoes_is_not_shown(server: FakeServer, code: int, before: int):
    echo = "x" * before + f" key {KEY} and %73k-{KEY[3:]}"
    server.answer = lambda path, body: (
        code,
        {"error": {"message": echo}},
        {"Location": f"/?{KEY}"},
    )
    with pytest.raises((TeacherError, Refused, Lasting)) as caught:
        post(server)
    assert "sesame" not in str(caught.value)
    assert KEY[:8] not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        (400, Refused, "^no$"),
        (422, Refused, "^no$"),
        (451, Refused, "^no$"),
        (401, TeacherError, "refused the API key .HTTP 401: no.* variable MY_KEY to a valid key"),
        (402, TeacherError, "wants to be paid first .HTTP 402: no.*Check the account"),
        (404, NotFoundError, "no such model or address .HTTP 404 at /v1/completions: no"),
        (405, NotFoundError, "HTTP 405"),
        (
            302,
            TeacherError,
            "HTTP 302 at /v1/completions and points to /new: no. Check ",
        ),
        (503, Lasting, "^2 times, most recently with: HTTP 503 no$"),
    ],
)
def test_each_status_has_its_error(
    server: FakeServer, code: int, error: type[Exception], message: str
):
    server.answer = lambda path, body: (code, {"detail": "no"}, {"Location": "/new"})
    with pytest.raises(error, match=message):
        post(server, retries=1)
    assert len(server.bodies) == (2 if code == 503 else 1)


def test_without_a_key_the_advice_is_to_name_one(server: FakeServer):
    server.answer = lambda path, body: (401, {"detail": "who are you?"})

    async def send() -> None:
        async with ServerClient(connection(server, ApiKey(""), 1, 9.0, 0)) as client:
            await client.post("/v1/completions", {})

    with pytest.raises(TeacherError, match=r"wants an API key.*set teacher\.api_key_env to"):
        asyncio.run(send())


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7, 7),
        ("-7", 0, 0),
        ("nan", 0, 0),
        ("inf", 0, 0),
        ("soon", 0, 0),
        ("", 0, 0),
        ("Fri, 31 Dec 2100 07:28:00 GMT", 1e9, 1e10),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("Wed, 99 Oct 99999 07:28:00 GMT", 0, 0),
    ],
)
def test_a_pause_is_in_seconds_or_until_a_date(header: str, least: float, most: float):
    assert least <= server_client._seconds(header) <= most


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
        async with ServerClient(connection(server, ApiKey(""), 1, 9.0, 5)) as client:
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


def test_a_stream_is_read_as_one_reply(server: FakeServer):
    events = [f"data: {json.dumps({'choices': [{'text': word}]})}\n\n" for word in ("a ", "b")]
    chunks = [*events, "data: [DONE]\n\n"]
    server.answer = lambda path, body: (200, (chunk.encode() for chunk in chunks))
    assert post(server)["choices"][0]["text"] == "a b"
