"""A request that fails costs itself; a server that fails ends the batch, and nothing paid is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.helpers.fake_server import Answer, FakeServer, completion

from tutelage.errors import TeacherError
from tutelage.interruption import Interrupted
from tutelage.teacher.base import GenerateRequest
from tutelage.teacher.engines import server_batch
from tutelage.teacher.engines.server import ServerTeacher


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer()
    yield made
    made.stop()


def teacher(server: FakeServer, **settings: Any) -> ServerTeacher:
    given = {"backoff": 0.001, "timeout": 10.0, "retries": 1, **settings}
    return ServerTeacher(server.url, "m", **given)


def batch(*prompts: str) -> list[GenerateRequest]:
    return [GenerateRequest(str(number), prompt) for number, prompt in enumerate(prompts)]


def poisoned(path: str, body: dict[str, Any]) -> Answer:
    if "bad" in body["prompt"]:
        return 500, {"error": {"message": "internal"}}
    return 200, completion("ok")


@pytest.mark.parametrize("concurrency", [1, 4, 64])
@pytest.mark.parametrize(
    "prompts",
    [
        ["bad", *["good"] * 20],
        [*["good"] * 20, *["bad"] * 9],
        [*["bad", "good", "good"] * 8],
        ["bad"],
        ["bad", "bad"],
    ],
)
def test_a_request_that_keeps_failing_is_a_failed_reply(
    server: FakeServer, prompts: list[str], concurrency: int
):
    server.answer = poisoned
    replies = teacher(server, concurrency=concurrency).ask(batch(*prompts))
    assert [reply.error for reply in replies] == [
        "the server failed 2 times, most recently with: HTTP 500 internal" * (prompt == "bad")
        for prompt in prompts
    ]


@pytest.mark.parametrize("prompts", [["bad"] * 40, ["good", *["bad", "bad", "bad"] * 10]])
def test_where_most_requests_fail_the_batch_ends_and_names_one(
    server: FakeServer, prompts: list[str]
):
    server.answer = poisoned
    kept: list[str] = []
    with pytest.raises(
        TeacherError,
        match=r"failed in \d+ of \d+ requests.*ends with '(very )+bad', failed 2 times.*HTTP 500 "
        r"internal.*lower teacher\.concurrency or raise teacher\.timeout",
    ):
        teacher(server, concurrency=2).ask(
            batch(*[f"{'very ' * 3}{prompt}" if prompt == "bad" else prompt for prompt in prompts]),
            lambda reply: kept.append(reply.text),
        )
    assert kept.count("ok") == prompts.count("good")
    assert len(server.bodies) < 40


def test_failures_add_up_over_small_batches(server: FakeServer):
    server.answer = poisoned
    made = teacher(server)
    for _ in range(7):
        assert made.ask(batch("bad"))[0].error
    assert made.ask(batch("good"))[0].text == "ok"
    for _ in range(7):
        assert made.ask(batch("bad"))[0].error
    with pytest.raises(TeacherError, match="failed in 1 of 1 requests"):
        made.ask(batch("bad"))


def test_a_server_that_dies_ends_the_batch_at_once(server: FakeServer):
    answered: list[str] = []

    def dies(path: str, body: dict[str, Any]) -> Answer:
        answered.append(body["prompt"])
        return (200, completion("ok")) if len(answered) <= 5 else (0, b"")

    server.answer = dies
    with pytest.raises(
        TeacherError, match=r"ends with 'p\d+'; a short test request failed, too.*tutelage doctor"
    ):
        teacher(server, concurrency=2).ask(batch(*[f"p{number}" for number in range(500)]))
    assert len(answered) < 20


def answers_at_once(server: FakeServer, count: int, *, then_fails: bool) -> threading.Barrier:
    """Lets ``count`` requests arrive together; one of them fails before the others are answered."""
    together = threading.Barrier(count)

    def answer(path: str, body: dict[str, Any]) -> Answer:
        together.wait(timeout=20)
        if then_fails and body["prompt"] == "0":
            return 401, {"error": {"message": "no"}}
        time.sleep(0.2)
        return 200, completion("ok")

    server.answer = answer
    return together


def test_replies_under_way_are_kept_when_another_request_ends_the_batch(server: FakeServer):
    answers_at_once(server, 8, then_fails=True)
    kept: list[str] = []
    with pytest.raises(TeacherError, match="HTTP 401"):
        teacher(server, concurrency=8).ask(
            batch(*map(str, range(200))), lambda reply: kept.append(reply.id)
        )
    assert sorted(kept) == [str(number) for number in range(1, 8)]
    assert len(server.bodies) == 8


def test_replies_under_way_are_kept_when_the_user_stops_the_run(server: FakeServer):
    answers_at_once(server, 8, then_fails=False)
    kept: list[str] = []

    def stop(reply: Any) -> None:
        kept.append(reply.id)
        raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        teacher(server, concurrency=8).ask(batch(*map(str, range(200))), stop)
    assert sorted(kept) == [str(number) for number in range(8)]
    assert len(server.bodies) == 8


def test_replies_under_way_are_kept_at_ctrl_c(server: FakeServer):
    together = answers_at_once(server, 8, then_fails=False)
    kept: list[str] = []

    def interrupt() -> None:
        while together.n_waiting < 7 and not server.bodies[7:]:
            time.sleep(0.01)
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    helper.start()
    with pytest.raises(KeyboardInterrupt):
        teacher(server, concurrency=8).ask(
            batch(*map(str, range(200))), lambda reply: kept.append(reply.id)
        )
    helper.join()
    assert sorted(kept) == [str(number) for number in range(8)]
    assert len(server.bodies) == 8


def test_the_last_wait_has_an_end(server: FakeServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server_batch, "_LAST_WAIT", 0.1)
    done = threading.Event()

    def hangs(path: str, body: dict[str, Any]) -> Answer:
        if body["prompt"] == "0":
            return 401, {}
        done.wait(timeout=20)
        return 200, completion("ok")

    server.answer = hangs
    began = time.monotonic()
    with pytest.raises(TeacherError, match="HTTP 401"):
        teacher(server).ask(batch("0", "1"))
    assert time.monotonic() - began < 5
    done.set()
