"""Several servers of one model: shared work, and no request lost with a server."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.helpers.fake_server import Answer, FakeServer, completion

from tutelage.errors import ConfigError, TeacherError
from tutelage.teacher.base import GenerateRequest, Sampling, ScoreRequest
from tutelage.teacher.engines import server_fleet
from tutelage.teacher.engines.server import ServerTeacher
from tutelage.teacher.engines.server_fleet import Member
from tutelage.teacher.engines.server_key import ApiKey
from tutelage.teacher.engines.server_probe import PROBE

SCHEMA = '{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}'


@pytest.fixture
def servers() -> Iterator[list[FakeServer]]:
    made = [FakeServer() for _ in range(3)]
    for server in made:
        server.answer = exact
    yield made
    for server in made:
        server.stop()


def exact(path: str, body: dict[str, Any]) -> Answer:
    top = {f"token_id:{token}": -float(token) for token in body.get("logprob_token_ids", ())}
    return 200, completion(body["prompt"] + "!", top)


def fleet(*servers: FakeServer, **settings: Any) -> ServerTeacher:
    given = {"backoff": 0.001, "timeout": 10.0, "retries": 1, "concurrency": 4, **settings}
    return ServerTeacher([server.url for server in servers], "m", **given)


def batch(count: int) -> list[GenerateRequest]:
    return [GenerateRequest(f"{n}", f"text {n}", Sampling()) for n in range(count)]


def asked(server: FakeServer) -> list[str]:
    """The prompts of the batch that a server got, without those that ask what it is."""
    return [body["prompt"] for body in server.bodies if body["prompt"].startswith("text ")]


def after(count: int, then: Answer) -> Callable[[str, dict[str, Any]], Answer]:
    """Answers some requests of the batch, then with the same trouble to everything."""
    lock = threading.Lock()
    seen: list[str] = []

    def answer(path: str, body: dict[str, Any]) -> Answer:
        with lock:
            seen.append(body["prompt"])
            over = sum(prompt.startswith("text ") for prompt in seen) > count
        return then if over else exact(path, body)

    return answer


def test_a_fast_server_gets_more_requests_than_a_slow_one(servers: list[FakeServer]):
    def slow(path: str, body: dict[str, Any]) -> Answer:
        time.sleep(0.15)
        return exact(path, body)

    servers[0].answer = slow
    made = fleet(*servers[:2], concurrency=2)
    replies = made.ask(batch(60))
    assert [reply.text for reply in replies] == [f"text {n}!" for n in range(60)]
    slow_ones, fast_ones = len(asked(servers[0])), len(asked(servers[1]))
    assert slow_ones + fast_ones == 60, "nothing is asked twice"
    assert 2 <= slow_ones < fast_ones / 2
    made.close()
    assert any(f"{servers[1].url.removesuffix('/v1')}: " in note for note in made.notes)


def test_equal_servers_get_equal_shares_and_no_more_at_once_than_allowed(
    servers: list[FakeServer],
):
    together = threading.Barrier(6)

    def answer(path: str, body: dict[str, Any]) -> Answer:
        if body["prompt"].startswith("text "):
            together.wait(timeout=20)
        return exact(path, body)

    for server in servers:
        server.answer = answer
    fleet(*servers, concurrency=2, timeout=60.0).ask(batch(18))
    assert [len(asked(server)) for server in servers] == [6, 6, 6]
    assert [server.most_at_once for server in servers] == [2, 2, 2]


@pytest.mark.parametrize(
    "trouble",
    [
        (0, b""),
        (500, {"error": {"message": "out of memory"}}),
        (404, {"detail": "no model m"}),
        (401, {"detail": "key expired"}),
        (200, b"<html>"),
    ],
    ids=["reset", "500", "404", "401", "html"],
)
def test_a_server_that_dies_under_way_is_left_out_and_nothing_is_lost(
    servers: list[FakeServer], trouble: Answer
):
    servers[0].answer = after(10, trouble)
    # It takes longer than this batch until the server is asked again.
    made = fleet(*servers[:2], backoff=1.0)
    told: list[str] = []
    made.on_note = told.append
    replies = made.ask(batch(80))
    assert [reply.text for reply in replies] == [f"text {n}!" for n in range(80)]
    failed = asked(servers[0])[10:]
    assert 3 <= len(failed) <= 3 + 4, "those under way when it was left out"
    counts = Counter(asked(servers[0]) + asked(servers[1]))
    assert {prompt for prompt, count in counts.items() if count == 2} == {*failed}
    (note,) = [note for note in told if "is left out" in note]
    assert servers[0].url.removesuffix("/v1") in note
    made.close()
    summary = next(note for note in made.notes if "10 answers" not in note and "moved" in note)
    assert f"{len(failed)} requests moved to other servers; left out at 2" in summary
    assert "to the end" in summary


def test_a_server_that_is_not_there_costs_one_attempt_and_no_pause(servers: list[FakeServer]):
    servers[0].stop()
    made = fleet(*servers[:2], retries=5, backoff=10.0)
    began = time.monotonic()
    made.settle()
    assert {reply.error for reply in made.ask(batch(30))} == {""}
    assert time.monotonic() - began < 5
    assert "ConnectError" in made.notes[0]
    assert made.fingerprint == fleet(servers[1], servers[2]).fingerprint


def test_a_server_comes_back(servers: list[FakeServer]):
    away = threading.Event()

    def sometimes(path: str, body: dict[str, Any]) -> Answer:
        return (0, b"") if away.is_set() else exact(path, body)

    def always(path: str, body: dict[str, Any]) -> Answer:
        time.sleep(0.005)
        return exact(path, body)

    servers[0].answer, servers[1].answer = sometimes, always
    made = fleet(*servers[:2], concurrency=2)
    made.on_note = (told := []).append
    made.settle()
    away.set()
    assert {reply.error for reply in made.ask(batch(60))} == {""}
    away.clear()
    before = len(asked(servers[0]))
    assert {reply.error for reply in made.ask(batch(300))} == {""}
    assert len(asked(servers[0])) - before > 20
    assert ["left out" in told[0], told[1].endswith("is back.")] == [True, True]
    made.close()
    assert any(" until 2" in note for note in made.notes)


def test_a_server_that_comes_back_as_another_model_stays_out(servers: list[FakeServer]):
    now = ["m"]
    servers[0].answer = lambda path, body: (
        (0, b"") if now[0] == "dead" else (200, {**exact(path, body)[1], "model": now[0]})
    )
    servers[1].answer = lambda path, body: (200, {**exact(path, body)[1], "model": "m"})
    made = fleet(*servers[:2], concurrency=2)
    made.settle()
    now[0] = "dead"
    asked_before = -1
    while len(servers[0].bodies) != asked_before:  # a slow machine may not miss it at once
        asked_before = len(servers[0].bodies)
        made.ask(batch(40))
    now[0] = "other"
    for _ in range(100):  # until it has been asked again what it is
        assert {reply.error for reply in made.ask(batch(300))} == {""}
        if any("stays left out: it is 'other'" in note for note in made.notes):
            break
    else:
        pytest.fail(f"nobody asked what it is: {made.notes}")
    sent = len(servers[0].bodies)
    made.ask(batch(50))
    assert len(servers[0].bodies) == sent
    made.close()
    assert any(" to the end (it is 'other'" in note for note in made.notes), "the reason by now"


def test_when_every_server_is_dead_the_run_ends_with_all_of_them_and_keeps_the_replies(
    servers: list[FakeServer],
):
    for server in servers[:2]:
        server.answer = after(10, (0, b""))
    kept: list[str] = []
    with pytest.raises(TeacherError, match="a short test request failed, too") as caught:
        fleet(*servers[:2]).ask(batch(200), lambda reply: kept.append(reply.error))
    for server in servers[:2]:
        assert server.url.removesuffix("/v1") in str(caught.value)
    assert "teacher.url=[http" in str(caught.value)
    assert kept.count("") == 20
    assert len(asked(servers[0])) < 40


def test_a_request_that_no_server_can_answer_costs_itself_and_no_server(
    servers: list[FakeServer],
):
    for server in servers[:2]:
        server.answer = lambda path, body: (
            (500, {"detail": "bad"}) if body["prompt"] == "text 7" else exact(path, body)
        )
    made = fleet(*servers[:2], retries=3)
    replies = made.ask(batch(40))
    assert [reply.id for reply in replies if reply.error] == ["7"]
    assert "4 times, most recently with: http" in replies[7].error
    assert not any("left out" in note for note in made.notes)


# What the servers are.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda reply: {**reply, "model": "small"}, "is 'm' .scores: exact.*is 'small'"),
        (lambda reply: {**reply, "choices": [{**reply["choices"][0], "logprobs": None}]}, "none"),
    ],
)
def test_servers_must_be_the_same(servers: list[FakeServer], change: Any, message: str):
    servers[1].answer = lambda path, body: (200, change(exact(path, body)[1]))
    with pytest.raises(TeacherError, match=message) as caught:
        fleet(*servers[:2]).settle()
    assert all(server.url.removesuffix("/v1") in str(caught.value) for server in servers[:2])
    assert "must have the same model and score in the same way" in str(caught.value)


def test_schemas_are_tested_at_every_server(servers: list[FakeServer]):
    def keeps(path: str, body: dict[str, Any]) -> Answer:
        if "bird" in json.dumps(body.get("response_format", {})):
            return 200, completion('{"bird": "canary"}')
        return exact(path, body) if "logprobs" in body else (200, completion('{"a": 1}'))

    servers[0].answer = keeps
    request = GenerateRequest("1", "p", Sampling(), json_schema=SCHEMA)
    with pytest.raises(TeacherError, match="does not enforce JSON schemas") as caught:
        fleet(*servers[:2]).ask([request])
    assert servers[1].url.removesuffix("/v1") in str(caught.value)
    servers[1].answer = keeps
    assert fleet(*servers[:2]).ask([request])[0].text == '{"a": 1}'


def test_one_cache_for_a_list_whoever_is_in_it(servers: list[FakeServer]):
    folders = ["/data/models/big", "/home/me/big", "/data/models/big"]
    for server, folder in zip(servers, folders, strict=True):
        server.models = [{"id": "m", "root": folder}]
    fingerprints = set()
    for members in (servers, servers[1:], servers[:1]):
        made = fleet(*members)
        made.settle()
        assert made.ask([ScoreRequest("1", "p", (5, 3))])[0].logprobs == (-5.0, -3.0)
        fingerprints.add(made.fingerprint)
    assert len(fingerprints) == 1
    assert '"served":"big"' in fingerprints.pop()
    alone = ServerTeacher(servers[0].url, "m")
    assert servers[0].url.removesuffix("/v1") in alone.fingerprint


def test_each_server_gets_its_own_key_and_none_is_shown(
    servers: list[FakeServer], monkeypatch: pytest.MonkeyPatch
):
    keys = {"A_KEY": "sk-canary-first-1122334455", "B_KEY": "sk-sesame-second-5544332211"}
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    made = fleet(*servers[:2], api_key_env=[*keys])
    made.ask(batch(10))
    for server, value in zip(servers, keys.values(), strict=False):
        assert {one["Authorization"] for one in server.headers} == {f"Bearer {value}"}
    # A server may know the key of another one, for instance behind one gateway.
    servers[0].answer = servers[1].answer = lambda path, body: (
        500,
        {"detail": " ".join(keys.values())},
    )
    with pytest.raises(TeacherError, match=r"teacher\.api_key_env=\[A_KEY,B_KEY\]") as caught:
        made.ask(batch(10))
    shown = " ".join([str(caught.value), *made.notes, repr(vars(made)), made.fingerprint])
    assert not any(word in shown for word in ("canary", "sesame"))


@pytest.mark.parametrize(
    ("url", "keys", "message"),
    [
        ([], "A_KEY", "empty list"),
        (["http://a/v1", "http://a"], "A_KEY", "names http://a twice"),
        (["http://a", "b"], "A_KEY", "teacher.url='b' is not an address"),
        (["http://a", "http://b"], ["A_KEY"], "has 1 entries and teacher.url names 2 servers"),
        (["http://a"], ["sk-sesame 1"], "is not the name of an environment variable"),
    ],
)
def test_lists_that_cannot_be(url: list[str], keys: str | list[str], message: str):
    with pytest.raises(ConfigError, match=message) as caught:
        ServerTeacher(url, "m", api_key_env=keys)
    assert "sesame" not in str(caught.value)


# Too many requests.


def limited(most: int, headers: dict[str, str]) -> Callable[[str, dict[str, Any]], Answer]:
    """Takes no more than some requests at once."""
    places = threading.Semaphore(most)
    refused = threading.Event()

    def answer(path: str, body: dict[str, Any]) -> Answer:
        if not places.acquire(blocking=False):
            refused.set()
            return 429, {"error": {"message": "slow down"}}, headers
        # However slow the machine is, the first requests of the batch meet.
        if body["prompt"].startswith("text "):
            refused.wait(10)
        time.sleep(0.005)
        places.release()
        return exact(path, body)

    return answer


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "0.02"}])
@pytest.mark.parametrize("members", [1, 2])
def test_a_stream_of_429_ends_no_run(
    servers: list[FakeServer], headers: dict[str, str], members: int
):
    for server in servers:
        server.answer = limited(2, headers)
    # Without patience for 429, two attempts would be too few.
    made = fleet(*servers[:members], concurrency=16, retries=1)
    made.on_note = (told := []).append
    assert {reply.error for reply in made.ask(batch(120))} == {""}
    waiting = [note for note in told if "is too busy" in note]
    assert 1 <= len(waiting) <= members, "it is told once for each server"
    refused = sum(len(asked(server)) for server in servers) - 120
    assert 0 < refused < 120, "fewer requests at once are refused less often"
    made.close()
    assert any("came too soon (HTTP 429)" in note for note in made.notes)


def test_a_busy_server_s_requests_go_to_the_others(servers: list[FakeServer]):
    servers[0].answer = after(5, (429, {}, {"Retry-After": "3600"}))
    made = fleet(*servers[:2])
    made.settle()
    began = time.monotonic()
    assert {reply.error for reply in made.ask(batch(60))} == {""}
    assert time.monotonic() - began < 5
    assert len(asked(servers[0])) <= 5 + 4
    assert any("more than 300 s (Retry-After)" in note for note in made.notes)
    assert not any("left out" in note for note in made.notes)


@pytest.mark.parametrize("trouble", [(429, {"detail": "quota"}), (503, {}, {"Retry-After": "9"})])
def test_a_server_that_stays_busy_ends_the_run_with_advice(
    servers: list[FakeServer], trouble: Answer
):
    servers[0].answer = after(3, trouble)
    made = ServerTeacher(servers[0].url, "m", backoff=0.01, patience=0.3)
    kept: list[str] = []
    began = time.monotonic()
    with pytest.raises(TeacherError, match=r"for 0\.3 s, no request was answered.*patience"):
        made.ask(batch(40), lambda reply: kept.append(reply.text))
    assert 0.2 < time.monotonic() - began < 5
    assert len(kept) == 3


def test_refusals_of_requests_sent_together_count_once_and_answers_raise_the_limit():
    member = Member("http://a", ApiKey(""), 16)
    sent = time.monotonic()
    for _ in range(16):
        member.was_busy(sent, 0.0, 0.001)
    assert member.limit == 8
    member.was_busy(time.monotonic(), 7.0, 0.001)
    assert member.limit == 4
    assert 6 < member.rests_until - time.monotonic() <= 7
    for _ in range(4):
        member.answered()
    assert 4.8 < member.limit < 5
    for _ in range(500):
        member.answered()
    assert member.limit == 16


def test_a_pause_doubles_up_to_a_minute():
    assert max(server_fleet.pause(1, 0.5) for _ in range(200)) <= 0.5
    assert 30 < max(server_fleet.pause(5000, 0.5) for _ in range(200)) <= 60


def test_doctor_examines_each_server_and_compares_them(servers: list[FakeServer]):
    for server in servers:
        server.models = [{"id": "m"}]
        server.answer = lambda path, body: (
            (200, {"tokens": [5]}) if path == "/tokenize" else exact(path, body)
        )
    lines = {line.name: line for line in fleet(*servers[:2]).examine()}
    assert lines["server 2"].found == servers[1].url.removesuffix("/v1")
    assert lines["1 scores"].found == lines["2 scores"].found
    assert lines["one model"].ok is True
    servers[1].stop()
    lines = {line.name: line for line in fleet(*servers[:2]).examine()}
    assert (lines["1 completions"].ok, lines["2 reachable"].ok) == (True, False)
    assert PROBE in {body["prompt"] for body in servers[0].bodies if "prompt" in body}
    servers[2].answer = lambda path, body: (
        (200, {"tokens": [5]})
        if path == "/tokenize"
        else (200, {**exact(path, body)[1], "model": "x"})
    )
    (compared,) = [
        line for line in fleet(servers[0], servers[2]).examine() if line.name == "one model"
    ]
    assert compared.ok is False
    assert "'x'" in compared.advice
