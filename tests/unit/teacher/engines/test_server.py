from __future__ import annotations

import asyncio
import inspect
import json
import threading
import time
from typing import Any

import pytest
from tests.helpers.classification import shipped
from tests.helpers.fake_server import Answer, FakeServer, completion

from tutelage.errors import ConfigError, TeacherError
from tutelage.teacher.base import GenerateRequest, Sampling, ScoreRequest
from tutelage.teacher.engines import server as server_engine
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


def test_lasting_trouble_is_one_error_and_loses_nothing(server):
    def half(path, body):
        if body["prompt"] == "bad":
            time.sleep(0.2)
            return 503, {"error": {"message": "overloaded"}}
        return 200, completion("ok")

    server.answer = half
    arrived: list[str] = []
    with pytest.raises(
        TeacherError,
        match=r"failed 3 times, most recently with: HTTP 503 overloaded.*tutelage doctor",
    ):
        teacher(server, retries=2).ask(
            [text("1"), text("2", "bad"), text("3")], lambda reply: arrived.append(reply.id)
        )
    assert sorted(arrived) == ["1", "3"]


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
        ({"choices": [{"text": "a"}]}, "token counts"),
        (
            {"choices": [{"text": "a"}], "usage": {"prompt_tokens": -1, "completion_tokens": 2}},
            "token counts",
        ),
    ],
)
def test_a_reply_that_is_not_as_it_must_be(server, body, message):
    server.answer = lambda path, _: (200, body)
    assert message in teacher(server).ask([text("1")])[0].error


def exact(path: str, body: dict[str, Any]) -> Answer:
    return 200, completion(
        "x", {f"token_id:{token}": -float(token) for token in [*body["logprob_token_ids"], 9]}
    )


def test_exact_scores_are_used_where_the_server_has_them(server):
    server.answer = exact
    made = teacher(server)
    assert made.ask([ScoreRequest("1", "p", (5, 3))])[0].logprobs == (-5.0, -3.0)
    assert made.notes == []
    assert all(body["max_tokens"] == 1 for body in server.bodies)


def test_other_servers_give_the_most_likely_and_a_floor_and_say_so(server):
    def openai(path, body):
        if "logprob_token_ids" in body:
            return 400, {"error": {"message": "unknown field"}}
        if body["logprobs"] > 5:
            return 400, {"error": {"message": "at most 5"}}
        return 200, completion("x", {"token_id:5": -0.5, "token_id:6": -2.0, "token_id:7": -4.0})

    server.answer = openai
    made = teacher(server)
    for _ in range(2):
        replies = made.ask([ScoreRequest("1", "p", (5, 3)), ScoreRequest("2", "q", (6,))])
        assert [reply.logprobs for reply in replies] == [(-0.5, -4.0), (-2.0,)]
    assert len(made.notes) == 1
    assert "5 most likely" in made.notes[0]


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


def test_a_server_that_ignores_schemas_is_found_out_before_anything_is_asked(server):
    with pytest.raises(TeacherError, match="does not enforce JSON schemas"):
        teacher(server).ask([text("1", json_schema=SCHEMA)])
    assert len(server.bodies) == 1


def test_structured_replies_are_validated_again_and_the_canary_is_sent_once(server):
    def keeps(path, body):
        if "bird" in json.dumps(body.get("response_format", {})):
            return 200, completion('{"bird": "canary"}')
        return 200, completion('{"a": 1}' if body["prompt"] == "good" else '{"a": ')

    server.answer = keeps
    made = teacher(server)
    replies = made.ask(
        [text("1", "good", json_schema=SCHEMA), text("2", "bad", json_schema=SCHEMA)]
    )
    assert (replies[0].error, replies[0].text) == ("", '{"a": 1}')
    assert "not JSON" in replies[1].error
    made.ask([text("1", "good", json_schema=SCHEMA)])
    assert len(server.bodies) == 4
    assert server.bodies[-1]["response_format"]["json_schema"]["schema"] == json.loads(SCHEMA)


def test_tokenizing_is_the_servers_where_it_offers_that(server):
    server.answer = lambda path, body: (
        (200, {"tokens": [len(body["prompt"]), 1]}) if path == "/tokenize" else (500, {})
    )
    assert teacher(server).tokenize(["abc", "d"]) == [[3, 1], [1, 1]]
    assert server.bodies[0]["add_special_tokens"] is False
    server.answer = lambda path, body: (200, {"tokens": "no"})
    with pytest.raises(TeacherError, match="no token ids"):
        teacher(server).tokenize(["abc"])


def test_a_named_tokenizer_is_used_and_the_server_is_not_asked(server, monkeypatch):
    loaded: list[str] = []

    def load(model: str) -> Any:
        loaded.append(model)
        return lambda texts, add_special_tokens: {"input_ids": [[len(text)] for text in texts]}

    monkeypatch.setattr(server_engine, "load_tokenizer", load)
    made = teacher(server, tokenizer="some/tokenizer")
    assert made.tokenize(["abc", "d"]) == [[3], [1]]
    assert made.tokenize(["ef"]) == [[2]]
    assert (loaded, server.bodies) == (["some/tokenizer"], [])


@pytest.mark.parametrize("unset", [None, ""])
def test_without_a_named_tokenizer_that_of_the_model_stands_in_for_the_server(
    server, monkeypatch, unset
):
    loaded: list[str] = []

    def load(model: str) -> Any:
        loaded.append(model)
        return lambda texts, add_special_tokens: {"input_ids": [[7] for _ in texts]}

    monkeypatch.setattr(server_engine, "load_tokenizer", load)
    server.answer = lambda path, body: (404, {"error": {"message": "no such path"}})
    assert teacher(server, tokenizer=unset).tokenize(["abc"]) == [[7]]
    assert loaded == ["m"]
    assert [body["prompt"] for body in server.bodies] == ["abc"]


def test_a_server_that_cannot_tokenize_says_which_setting_to_use(server):
    server.answer = lambda path, body: (400, {"error": {"message": "not supported"}})
    with pytest.raises(
        TeacherError, match=r"refused to tokenize: not supported\. Set teacher\.tok"
    ):
        teacher(server).tokenize(["abc"])
    assert "tokenizer" in inspect.signature(ServerTeacher).parameters
    assert shipped("teacher", "server")["tokenizer"] is None


def test_it_works_inside_a_running_event_loop(server):
    async def notebook():
        return teacher(server).ask([text("1")])

    assert asyncio.run(notebook())[0].text == "p!"


def test_an_error_in_on_reply_ends_the_batch(server):
    def full(reply):
        raise TeacherError("disk is full")

    with pytest.raises(TeacherError, match="disk is full"):
        teacher(server).ask([text("1"), text("2")], full)


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
