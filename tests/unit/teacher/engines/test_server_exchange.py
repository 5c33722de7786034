"""One exchange: its time and size are bounded, and its failures are told without the key."""

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
from tutelage.teacher.engines import server_exchange
from tutelage.teacher.engines.server_errors import NotFoundError, Refused
from tutelage.teacher.engines.server_exchange import Busy, Connection, Exchange, TryAgain
from tutelage.teacher.engines.server_fleet import Fleet, Member
from tutelage.teacher.engines.server_key import ApiKey

KEY = "sk-sesame-77aabbccddeeff001122"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer()
    yield made
    made.stop()


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> ApiKey:
    monkeypatch.setenv("MY_KEY", KEY)
    return ApiKey("MY_KEY")


def post(server: FakeServer, key: ApiKey, *, timeout: float = 10.0) -> Any:
    member = Member(server.url.removesuffix("/v1"), key, 1)
    fleet = Fleet([member], 0.001, [].append)

    async def send() -> Any:
        exchange = Exchange(Connection(fleet, 1, timeout, 0, 0.001, patience=60.0))
        try:
            return await exchange.send(member, "POST", "/v1/completions", {"prompt": "a \ud83d"})
        finally:
            await exchange.close()

    return asyncio.run(send())


def drip() -> Iterator[bytes]:
    while True:
        yield b" "
        time.sleep(0.02)


@pytest.mark.parametrize("code", [200, 400, 500])
def test_a_body_that_drips_takes_no_longer_than_the_timeout(
    server: FakeServer, key: ApiKey, code: int
):
    server.answer = lambda path, body: (code, drip())
    began = time.monotonic()
    with pytest.raises(TryAgain, match=r"no whole reply within 0\.2 s \(teacher\.timeout\)"):
        post(server, key, timeout=0.2)
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
def test_a_huge_body_is_not_taken(
    server: FakeServer, key: ApiKey, body: bytes, headers: dict[str, str]
):
    server.answer = lambda path, _: (200, body, headers)
    with pytest.raises(ValueError, match="larger than 8 MB"):
        post(server, key)
    assert len(server.bodies) == 1


def test_compression_is_understood_although_it_was_not_asked_for(server: FakeServer, key: ApiKey):
    packed = gzip.compress(b'{"a": 1}')
    server.answer = lambda path, body: (200, packed, {"Content-Encoding": "gzip"})
    assert post(server, key) == {"a": 1}
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
    server: FakeServer, key: ApiKey, code: int, body: bytes, headers: dict[str, str]
):
    server.answer = lambda path, _: (code, body, headers)
    try:
        assert post(server, key) is not None
    except (TryAgain, Refused) as error:
        text = str(error)
        assert text.encode()
        assert "\n" not in text
        assert len(text) < 400


@pytest.mark.parametrize("code", [400, 401, 403, 402, 404, 418, 500, 302])
@pytest.mark.parametrize("before", [0, 270, 280, 290, 299])
def test_a_key_that_the_server_echoes_is_not_shown(
    server: FakeServer, key: ApiKey, code: int, before: int
):
    echo = "x" * before + f" key {KEY} and %73k-{KEY[3:]}"
    server.answer = lambda path, body: (
        code,
        {"error": {"message": echo}},
        {"Location": f"/?{KEY}"},
    )
    with pytest.raises((TeacherError, Refused, TryAgain)) as caught:
        post(server, key)
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
        (503, TryAgain, "^HTTP 503 no$"),
        (429, Busy, "^HTTP 429 no$"),
    ],
)
def test_each_status_has_its_error(
    server: FakeServer, key: ApiKey, code: int, error: type[Exception], message: str
):
    server.answer = lambda path, body: (code, {"detail": "no"}, {"Location": "/new"})
    with pytest.raises(error, match=message):
        post(server, key)


def test_without_a_key_the_advice_is_to_name_one(server: FakeServer):
    server.answer = lambda path, body: (401, {"detail": "who are you?"})
    with pytest.raises(TeacherError, match=r"wants an API key.*set teacher\.api_key_env to"):
        post(server, ApiKey(""))


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
    assert least <= server_exchange._seconds(header) <= most


def test_a_stream_is_read_as_one_reply(server: FakeServer, key: ApiKey):
    events = [f"data: {json.dumps({'choices': [{'text': word}]})}\n\n" for word in ("a ", "b")]
    chunks = [*events, "data: [DONE]\n\n"]
    server.answer = lambda path, body: (200, (chunk.encode() for chunk in chunks))
    assert post(server, key)["choices"][0]["text"] == "a b"
