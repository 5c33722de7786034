from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from tests.helpers.fake_server import Answer, FakeServer, completion

from tutelage.errors import ConfigError, TeacherError
from tutelage.teacher.base import GenerateRequest, Sampling, ScoreRequest
from tutelage.teacher.engines import server_tokenizer
from tutelage.teacher.engines.server import ServerTeacher

SCHEMA = '{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}'


@pytest.fixture
def server():
    made = FakeServer()
    yield made
    made.stop()


def teacher(server: FakeServer, **settings: Any) -> ServerTeacher:
    return ServerTeacher(server.url, "m", **{"backoff": 0.001, "timeout": 10.0, **settings})


def text(name: str, prompt: str = "p", **more: Any) -> GenerateRequest:
    return GenerateRequest(name, prompt, Sampling(temperature=0.5, stop=("\n",)), **more)


def test_generation_sends_the_sampling_and_keeps_the_order(server):
    batch = [text(str(n), f"prompt {n}", seed=n) for n in range(30)]
    arrived: list[str] = []
    replies = teacher(server).ask(batch, lambda reply: arrived.append(reply.id))
    assert [reply.id for reply in replies] == [request.id for request in batch]
    assert [reply.text for reply in replies] == [f"prompt {n}!" for n in range(30)]
    assert sorted(arrived) == sorted(request.id for request in batch)
    assert (replies[0].prompt_tokens, replies[0].completion_tokens, replies[0].finish_reason) == (
        7,
        3,
        "stop",
    )
    body = next(body for body in server.bodies if body["prompt"] == "prompt 4")
    assert body == {
        "model": "m",
        "prompt": "prompt 4",
        "max_tokens": 64,
        "temperature": 0.5,
        "top_p": 1.0,
        "seed": 4,
        "stop": ["\n"],
    }


def test_no_more_requests_at_once_than_allowed(server):
    three = threading.Barrier(3)

    def together(path, body):
        # Passes only with three requests at once; 21 requests make seven such rounds.
        three.wait(timeout=20)
        time.sleep(0.01)
        return 200, completion("ok")

    server.answer = together
    teacher(server, concurrency=3, timeout=60.0).ask([text(str(n)) for n in range(21)])
    assert server.most_at_once == 3


@pytest.mark.parametrize(
    "trouble",
    [
        (429, {}, {"Retry-After": "0.05"}),
        (503, b"busy"),
        (500, {"error": {"message": "oops"}}),
        (0, b""),
        (200, b"<html>"),
    ],
)
def test_passing_trouble_is_tried_again(server, trouble):
    tries: dict[str, int] = {}

    def twice_in_trouble(path, body):
        tries[body["prompt"]] = tries.get(body["prompt"], 0) + 1
        return trouble if tries[body["prompt"]] <= 2 else (200, completion("ok"))

    server.answer = twice_in_trouble
    replies = teacher(server).ask([text("1", "a"), text("2", "b")])
    assert [reply.text for reply in replies] == ["ok", "ok"]
    assert tries == {"a": 3, "b": 3}


def test_retry_after_is_waited_for(server):
    times: list[float] = []

    def once_too_many(path, body):
        times.append(time.monotonic())
        return (429, {}, {"Retry-After": "0.3"}) if len(times) == 1 else (200, completion("ok"))

    server.answer = once_too_many
    teacher(server).ask([text("1")])
    assert times[1] - times[0] >= 0.29


def test_a_server_that_is_not_there_is_one_error(server):
    server.stop()
    with pytest.raises(TeacherError, match=r"failed 2 times, most recently with: ConnectError"):
        teacher(server, retries=1).ask([text("1")])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (401, "environment variable MY_KEY"),
        (404, "Check teacher.url and teacher.model"),
        (302, "HTTP 302"),
    ],
)
def test_what_no_retry_can_mend(server, code, message, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sesame-123")
    server.answer = lambda path, body: (code, {"error": {"message": "wrong key sesame-123"}})
    with pytest.raises(TeacherError, match=message) as caught:
        teacher(server, api_key_env="MY_KEY").ask([text("1")])
    assert "sesame" not in str(caught.value)
    assert len(server.bodies) == 1


def test_the_key_goes_into_the_header_and_nowhere_else(server, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sesame-123")
    made = teacher(server, api_key_env="MY_KEY")
    replies = made.ask([text("1")])
    assert server.headers[0]["Authorization"] == "Bearer sesame-123"
    assert "sesame" not in repr(vars(made)) + made.fingerprint + repr(replies) + repr(server.bodies)


def test_a_refused_request_stops_no_other(server):
    server.answer = lambda path, body: (
        (400, {"error": {"message": "prompt too long"}})
        if body["prompt"] == "long"
        else (200, completion("ok"))
    )
    replies = teacher(server).ask([text("1", "long"), text("2")])
    assert replies[0].error == "the server refused the request: prompt too long"
    assert replies[1].text == "ok"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "not an object"),
        ({"choices": []}, "exactly one choice"),
        ({"choices": [{"text": None}]}, "text is missing"),
    ],
)
def test_a_reply_that_is_not_as_it_must_be(server, body, message):
    server.answer = lambda path, _: (200, body)
    assert message in teacher(server).ask([text("1")])[0].error


def exact(path: str, body: dict[str, Any]) -> Answer:
    if "logprob_token_ids" not in body:
        return 200, completion("x")
    return 200, completion(
        "x", {f"token_id:{token}": -float(token) for token in [*body["logprob_token_ids"], 9]}
    )


def test_exact_scores_are_used_where_the_server_has_them(server):
    server.answer = exact
    made = teacher(server)
    assert made.ask([ScoreRequest("1", "p", (5, 3))])[0].logprobs == (-5.0, -3.0)
    assert made.notes == []
    assert all(body["max_tokens"] == 1 for body in server.bodies)


def strict(accepted: set[str], most: int, top: dict[str, float]) -> Any:
    """Refuses other fields than those of OpenAI, and more log-probabilities than ``most``."""
    usual = {"model", "prompt", "max_tokens", "temperature", "top_p", "seed", "stop", "logprobs"}

    def answer(path: str, body: dict[str, Any]) -> Answer:
        if unknown := body.keys() - usual - accepted:
            return 400, {"error": {"message": f"unknown field {min(unknown)}"}}
        if body.get("logprobs", 0) > most:
            return 422, {"detail": [{"loc": ["logprobs"], "msg": f"at most {most}"}]}
        return 200, completion("x", dict(list(top.items())[: body.get("logprobs", 0)]))

    return answer


@pytest.mark.parametrize(
    ("accepted", "most", "names", "way"),
    [
        ({"return_tokens_as_token_ids"}, 20, "token_id:{}", "top-20"),
        ({"return_tokens_as_token_ids"}, 5, "token_id:{}", "top-5"),
        (set(), 20, " {}", "top-20"),
        (set(), 10, " {}", "top-10"),
        (set(), 5, " {}", "top-5"),
        (set(), 3, " {}", "top-2"),
    ],
)
def test_other_servers_give_the_most_likely_and_a_floor_and_say_so(
    server, monkeypatch, accepted, most, names, way
):
    monkeypatch.setattr(server_tokenizer, "find_tokenizer", lambda name: Numbers())
    top = {names.format(token): -0.5 * token for token in range(5, 25)}
    server.answer = strict(accepted, most, top)
    made = teacher(server, tokenizer="numbers")
    told: list[str] = []
    made.on_note = told.append
    for _ in range(2):
        replies = made.ask([ScoreRequest("1", "p", (5, 3)), ScoreRequest("2", "q", (6,))])
        floor = -0.5 * (4 + int(way.removeprefix("top-")))
        assert [reply.logprobs for reply in replies] == [(-2.5, floor), (-3.0,)]
    assert told == made.notes
    assert f"{way.removeprefix('top-')} most likely" in told[0]
    assert len(told) == 1
    assert f'"scoring":"{way}"' in made.fingerprint
    made.close()
    assert "2 of 6 label probabilities were not among" in made.notes[1]
    assert "short requests" in made.notes[2]


class Numbers:
    """A tokenizer whose tokens are numbers."""

    def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
        return {"input_ids": [[int(word) for word in text.split()] for text in texts]}

    def convert_ids_to_tokens(self, token: int) -> str:
        return f"Ġ{token}"

    def decode(self, tokens: list[int]) -> str:
        return f" {tokens[0]}"


def test_a_server_that_ignores_the_field_is_not_believed(server):
    server.answer = lambda path, body: (
        200,
        completion("x", {"token_id:5": -0.5, "token_id:6": -2.0}),
    )
    made = teacher(server)
    assert made.ask([ScoreRequest("1", "p", (5, 3))])[0].logprobs == (-0.5, -2.0)
    assert made.notes


def test_impossible_log_probabilities_are_refused(server):
    server.answer = lambda path, body: (200, completion("x", {"token_id:5": 0.5}))
    assert "is 0.5" in teacher(server, scoring="exact").ask([ScoreRequest("1", "p", (5,))])[0].error
    assert (
        "1 to 128 choices"
        in teacher(server, scoring="exact").ask([ScoreRequest("1", "p", ())])[0].error
    )


def test_a_server_that_gives_any_number_of_tokens_is_asked_for_a_thousand(server):
    def llama_cpp(path, body):
        top = [
            {"id": number, "token": f" w{number}", "logprob": -0.01 * number}
            for number in range(1, 1 + body.get("logprobs", 0))
        ]
        reply = completion("x")
        reply["choices"][0]["logprobs"] = {"content": [{"top_logprobs": top}]} if top else None
        if path == "/tokenize":
            return 200, {"tokens": [int(body["prompt"].removeprefix(" w"))]}
        return 200, reply

    server.answer = llama_cpp
    made = teacher(server)
    choices = tuple(ids[0] for ids in made.tokenize([" w900", " w7"]))
    assert made.ask([ScoreRequest("1", "p", choices)])[0].logprobs == (-9.0, -0.07)
    assert '"top-1000"' in made.fingerprint


def test_it_works_inside_a_running_event_loop(server):
    async def notebook():
        return teacher(server).ask([text("1")])

    assert asyncio.run(notebook())[0].text == "p!"


def test_an_error_in_on_reply_ends_the_batch(server):
    def full(reply):
        raise TeacherError("disk is full")

    with pytest.raises(TeacherError, match="disk is full"):
        teacher(server).ask([text("1"), text("2")], full)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("concurrency", 0),
        ("concurrency", -1),
        ("timeout", 0.0),
        ("timeout", float("nan")),
        ("retries", -1),
        ("backoff", -0.5),
    ],
)
def test_impossible_numbers(setting, value):
    with pytest.raises(ConfigError, match=rf"teacher\.{setting}={value} must be"):
        ServerTeacher("http://host", "m", **{setting: value})


def test_settings_that_cannot_be():
    with pytest.raises(ConfigError, match="is not an address"):
        ServerTeacher("localhost:8000", "m")
    with pytest.raises(ConfigError, match="contains a password"):
        ServerTeacher("http://me:secret@host/v1", "m")
    with pytest.raises(ConfigError, match="Did you mean 'exact'"):
        ServerTeacher("http://host", "m", scoring="exakt")
    one, two = ServerTeacher("http://host/v1/", "m"), ServerTeacher("http://host", "m")
    assert one.fingerprint == two.fingerprint
    one.close()
    with pytest.raises(TeacherError, match="was closed"):
        one.ask([text("1")])
    with pytest.raises(ValueError, match="twice"):
        two.ask([text("1"), text("1")])


# What servers refuse, leave out or spell in their own way.


def test_token_counts_that_a_server_does_not_give_are_estimated_and_said_so(server):
    server.answer = lambda path, body: (200, {"choices": [{"text": "four more words here"}]})
    made = teacher(server)
    (reply,) = made.ask([text("1", "a prompt of thirty-two letters..")])
    assert (reply.error, reply.prompt_tokens, reply.completion_tokens) == ("", 8, 5)
    assert ["reports no token counts" in note for note in made.notes] == [True]


@pytest.mark.parametrize(
    ("refused", "seed", "note"),
    [
        (lambda body: body.get("seed", 0) >= 2**32, 2**31 - 1, ""),
        (lambda body: "seed" in body, None, "refuses seed"),
    ],
)
def test_a_seed_that_a_server_refuses(server, refused, seed, note):
    server.answer = lambda path, body: (
        (400, {"error": {"message": "bad seed"}}) if refused(body) else (200, completion("ok"))
    )
    made = teacher(server)
    replies = made.ask([text(str(n), seed=2**62 - 1) for n in range(5)])
    assert [reply.text for reply in replies] == ["ok"] * 5
    assert server.bodies[-1].get("seed") == seed
    assert note in "".join(made.notes)
    assert len(made.notes) == bool(note)


def test_a_prompt_about_seeds_does_not_cost_the_others_their_seed(server):
    server.answer = lambda path, body: (
        (400, {"error": {"message": f"blocked: {body['prompt']}"}})
        if "sunflower" in body["prompt"]
        else (200, completion("ok"))
    )
    made = teacher(server, concurrency=1)
    replies = made.ask([text("1", "a sunflower seed", seed=5), text("2", "b", seed=2**40)])
    assert "blocked" in replies[0].error
    assert [body["seed"] for body in server.bodies if body["prompt"] == "b"] == [2**40]


def test_labels_that_are_never_likely_stop_the_run_and_no_reply_is_kept(server, monkeypatch):
    monkeypatch.setattr(server_tokenizer, "find_tokenizer", lambda name: Numbers())
    server.answer = lambda path, body: (
        200,
        completion("x", {" the": -1.0, " a": -2.0}) if "logprobs" in body else completion("x"),
    )
    made = teacher(server, tokenizer="numbers", concurrency=2)
    kept: list[str] = []
    with pytest.raises(
        TeacherError, match=r"None of the labels.*begin with ' 5', ' 6'.*likely tokens were ' the'"
    ):
        made.ask(
            [ScoreRequest(str(n), "p", (5, 6)) for n in range(40)], lambda one: kept.append(one.id)
        )
    assert kept == []
    assert len(server.bodies) < 25


def test_the_first_label_that_is_found_lets_the_others_through(server, monkeypatch):
    monkeypatch.setattr(server_tokenizer, "find_tokenizer", lambda name: Numbers())
    server.answer = lambda path, body: (
        200,
        completion("x", {" the": -1.0, " 5" if body["prompt"] == "good" else " a": -2.0})
        if "logprobs" in body
        else completion("x"),
    )
    made = teacher(server, tokenizer="numbers", concurrency=1)
    prompts = ["bad"] * 5 + ["good"] * 15
    batch = [ScoreRequest(str(n), prompt, (5, 6)) for n, prompt in enumerate(prompts)]
    replies = made.ask(batch)
    assert [reply.logprobs for reply in replies] == [(-2.0, -2.0)] * 20
    assert "In 2 of 8 replies" in made.notes[1] or "In 5 of 8 replies" in made.notes[1]
    made.close()
    assert "5 of 20 replies had no label at all" in made.notes[2]


def test_an_unlikely_exact_score_is_told(server):
    server.answer = lambda path, body: (
        200,
        completion("x", {f"token_id:{token}": -20.0 for token in body["logprob_token_ids"]})
        if "logprob_token_ids" in body
        else completion("x"),
    )
    made = teacher(server, concurrency=1)
    sent: list[int] = []
    batch = [ScoreRequest(str(n), "p", (5, 6)) for n in range(8)]
    replies = made.ask(batch, lambda reply: sent.append(len(server.bodies)))
    assert not any(reply.error for reply in replies)
    assert "less than 0.01 %" in made.notes[0]
    assert sent[0] < sent[-1], "a reply is passed on at once"
