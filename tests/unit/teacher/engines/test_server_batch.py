"""A request that fails costs itself, a server that fails ends the batch, and no reply is lost."""

from __future__ import annotations

import asyncio
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
from tutelage.teacher.base import GenerateRequest, Sampling
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
    return [
        GenerateRequest(str(number), prompt, Sampling()) for number, prompt in enumerate(prompts)
    ]


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


@pytest.mark.parametrize("concurrency", [2, 4, 16])
def test_a_server_that_dies_under_way_ends_the_batch(server: FakeServer, concurrency: int):
    """Its last requests began while others were answered, but are no failures of their own."""
    answered: list[str] = []

    def dying(path: str, body: dict[str, Any]) -> Answer:
        if len(answered) >= 30:
            return 0, b""  # the connection closes without an answer
        answered.append(body["prompt"])
        return 200, completion("ok")

    server.answer = dying
    kept: list[bool] = []
    requests = batch(*(f"text {number}" for number in range(36)))
    with pytest.raises(TeacherError, match=r"a short test request failed, too"):
        teacher(server, concurrency=concurrency).ask(
            requests, lambda reply: kept.append(not reply.error)
        )
    assert sum(kept) == len(answered)


@pytest.mark.parametrize("prompts", [["bad"] * 40, ["good", *["bad", "bad", "bad"] * 10]])
def test_where_most_requests_fail_the_batch_ends_and_names_one(
    server: FakeServer, prompts: list[str]
):
    server.answer = poisoned
    kept: list[str] = []
    with pytest.raises(
        TeacherError,
        match=r"failed in \d+ of \d+ requests.*ends with '(very )+bad', failed 2 times.*HTTP 500 "
        r"internal.*tutelage doctor teacher=server.*lower teacher\.concurrency or raise",
    ):
        teacher(server, concurrency=2).ask(
            batch(*[f"{'very ' * 3}{prompt}" if prompt == "bad" else prompt for prompt in prompts]),
            lambda reply: kept.append(reply.text),
        )
    assert kept.count("ok") == prompts.count("good")
    assert len(server.bodies) < 40


@pytest.mark.parametrize("answer", [(403, {"detail": "blocked"}), (404, {}), (200, {"a": 1})])
def test_an_odd_answer_to_one_prompt_costs_that_one(server: FakeServer, answer: Answer):
    server.answer = lambda path, body: (
        answer if "bad" in body["prompt"] else (200, completion("ok"))
    )
    made = teacher(server)
    made.settle()
    replies = made.ask(batch("bad", *["good"] * 9))
    assert [bool(reply.error) for reply in replies] == [True, *[False] * 9]
    assert "the server failed with" in replies[0].error
    with pytest.raises(TeacherError, match="failed in 8 of 8 requests"):
        made.ask(batch(*["bad"] * 20))


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


class Together:
    """Answers 8 requests after all of them arrived; it refuses the key of one a little earlier."""

    def __init__(self, server: FakeServer, refused: str = "") -> None:
        self._refused = refused
        self._barrier = threading.Barrier(8)
        self._lock = threading.Lock()
        self._arrived = 0
        self.waiting = threading.Event()
        server.answer = self._answer

    def _answer(self, path: str, body: dict[str, Any]) -> Answer:
        with self._lock:
            self._arrived += 1
            first = self._arrived <= 8
        # A free place may be taken before the batch hears of its end.
        if first:
            self._barrier.wait(timeout=20)
            self.waiting.set()
        if body["prompt"] == self._refused:
            return 401, {"error": {"message": "no"}}
        time.sleep(0.2)
        return 200, completion("ok")


FIRST = {str(number) for number in range(8)}


def test_replies_under_way_are_kept_when_another_request_ends_the_batch(server: FakeServer):
    Together(server, refused="0")
    kept: list[str] = []
    with pytest.raises(TeacherError, match="HTTP 401"):
        teacher(server, concurrency=8).ask(
            batch(*map(str, range(200))), lambda reply: kept.append(reply.id)
        )
    assert FIRST - {"0"} <= {*kept}
    assert len(kept) == len(server.bodies) - 1 < 12


def test_replies_under_way_are_kept_when_the_user_stops_the_run(server: FakeServer):
    Together(server)
    kept: list[str] = []

    def stop(reply: Any) -> None:
        kept.append(reply.id)
        raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        teacher(server, concurrency=8).ask(batch(*map(str, range(200))), stop)
    assert {*kept} >= FIRST
    assert len(kept) == len(server.bodies) < 20


@pytest.mark.parametrize("in_a_notebook", [False, True])
def test_replies_under_way_are_kept_at_ctrl_c(server: FakeServer, in_a_notebook: bool):
    together = Together(server)
    kept: list[str] = []

    def interrupt() -> None:
        together.waiting.wait(timeout=20)
        os.kill(os.getpid(), signal.SIGINT)

    def ask() -> None:
        teacher(server, concurrency=8).ask(
            batch(*map(str, range(200))), lambda reply: kept.append(reply.id)
        )

    async def cell() -> None:
        # A notebook's loop leaves the signal to Python.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        ask()

    def ask_in_a_notebook() -> None:
        asyncio.run(cell())

    helper = threading.Thread(target=interrupt)
    helper.start()
    run = ask_in_a_notebook if in_a_notebook else ask
    with pytest.raises(KeyboardInterrupt):
        run()
    helper.join()
    assert {*kept} >= FIRST
    assert len(kept) == len(server.bodies) < 20


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
