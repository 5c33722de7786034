"""What a server is and can do, before anything is asked of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.helpers.fake_server import Answer, FakeServer, completion

from tutelage.errors import TeacherError
from tutelage.teacher.base import GenerateRequest, Sampling, ScoreRequest
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


def exact(path: str, body: dict[str, Any]) -> Answer:
    if "logprob_token_ids" not in body:
        return 200, completion("x")
    return 200, completion(
        "x", {f"token_id:{token}": -float(token) for token in [*body["logprob_token_ids"], 9]}
    )


class Notebook:
    """Remembers texts between teachers, as the cache does."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def recall(self, names):
        return {name: self.texts[name] for name in names if name in self.texts}

    def remember(self, texts):
        self.texts |= texts


def settled(server: FakeServer, memory: Notebook | None = None, **settings: Any) -> ServerTeacher:
    made = teacher(server, retries=0, **settings)
    made.settle(memory)
    return made


def test_the_fingerprint_of_a_server_that_is_what_it_is_called_stays_as_it_was(server):
    server.answer = exact
    server.models = [{"id": "m", "root": "m"}, {"id": "other"}]
    made = settled(server)
    assert made.fingerprint == teacher(server).fingerprint
    assert '"scoring":"auto"' in made.fingerprint
    assert made.notes == []


@pytest.mark.parametrize(
    ("reply", "models", "name"),
    [
        ({"model": "big-70b.gguf"}, None, "big-70b.gguf"),
        ({"model": "m"}, [{"id": "m", "root": "/models/big"}], "/models/big"),
        (
            {},
            [{"id": "/models/big.gguf", "meta": {"n_params": 7}}],
            "/models/big.gguf / n_params 7",
        ),
        ({"model": 3}, [{"id": "a"}, {"id": "b"}], ""),
        ({"model": "\ud83d\n"}, "nonsense", "\ufffd"),
    ],
)
def test_what_a_server_calls_its_model_is_part_of_the_fingerprint(server, reply, models, name):
    server.answer = lambda path, body: (200, {**exact(path, body)[1], **reply})
    server.models = models
    assert json.loads(settled(server).fingerprint.partition(":")[2]).get("served", "") == name


def test_another_model_under_the_same_name_is_told_and_has_its_own_cache(server):
    called = ["tiny-0.1b.gguf"]
    server.answer = lambda path, body: (200, {**exact(path, body)[1], "model": called[0]})
    memory = Notebook()
    first = settled(server, memory)
    again = settled(server, memory)
    assert (again.fingerprint, again.notes) == (first.fingerprint, [])
    called[0] = "big-70b.gguf"
    second = settled(server, memory)
    assert second.fingerprint != first.fingerprint
    assert "'big-70b.gguf'" in second.notes[0]
    assert "'tiny-0.1b.gguf'" in second.notes[0]
    with pytest.raises(
        TeacherError, match=r"'big-70b\.gguf' now, and called it 'tiny-0\.1b\.gguf'"
    ):
        first.ask([text("1")])


def test_a_server_that_is_gone_is_the_one_that_the_cache_knows(server):
    called = ["tiny"]

    def answer(path: str, body: dict[str, Any]) -> Answer:
        if path == "/tokenize":
            return 200, {"tokens": [len(body["prompt"])]}
        return (503, b"") if not called[0] else (200, {**exact(path, body)[1], "model": called[0]})

    server.answer = answer
    memory = Notebook()
    first = settled(server, memory)
    assert first.tokenize(["abc", "d"]) == [[3], [1]]
    called[0] = ""
    offline = settled(server, memory)
    assert offline.fingerprint == first.fingerprint
    sent = len(server.bodies)
    assert offline.tokenize(["d", "abc", "d"]) == [[1], [3], [1]]
    assert len(server.bodies) == sent
    assert "only replies in the cache can be used, those of 'tiny'" in offline.notes[0]
    assert "tutelage doctor teacher=server teacher.url=" in offline.notes[0]
    with pytest.raises(TeacherError, match="HTTP 503"):
        offline.ask([text("1")])
    called[0] = "other"
    with pytest.raises(TeacherError, match=r"began with 'tiny'.* is 'other'.* by now"):
        offline.ask([text("1")])
    called[0] = "tiny"
    assert offline.ask([text("1")])[0].text == "x"


def test_without_a_memory_a_server_must_answer(server):
    server.answer = lambda path, body: (503, b"busy")
    with pytest.raises(TeacherError, match="HTTP 503 busy"):
        settled(server, Notebook())


def test_a_damaged_memory_is_asked_again(server):
    server.answer = exact
    memory = Notebook()
    settled(server, memory)
    memory.texts = dict.fromkeys(memory.texts, '{"name": ')
    assert settled(server, memory).notes == []


def test_a_name_that_the_server_does_not_have_is_answered_with_those_that_it_has(server):
    server.models = [{"id": "big"}, {"id": "small"}]
    server.answer = lambda path, body: (404, {"detail": "no model m"})
    with pytest.raises(TeacherError, match=r"has no model 'm' .no model m.* has: big, small"):
        settled(server)


def test_a_server_with_neither_texts_nor_messages_is_told_its_address(server):
    server.answer = lambda path, body: (404, {"detail": "Not Found"})
    with pytest.raises(TeacherError, match=r"HTTP 404 at /v1/completions: Not Found"):
        settled(server)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda body: (200, completion("x")), "its reply is not usable: it holds no log-prob"),
        (
            lambda body: (
                (422, {"detail": [{"loc": ["body", "logprobs"], "msg": "not permitted"}]})
                if "logprobs" in body
                else (200, completion("x"))
            ),
            "it refuses log-probabilities: body.logprobs: not permitted",
        ),
        (
            lambda body: (
                (404, {"detail": "no such field"}) if "logprobs" in body else (200, completion("x"))
            ),
            "it refuses log-probabilities: no such field",
        ),
    ],
)
def test_a_server_without_log_probabilities_still_writes_texts(server, answer, reason):
    server.answer = lambda path, body: answer(body)
    made = teacher(server)
    made.settle()
    assert made.ask([text("1")])[0].text == "x"
    with pytest.raises(TeacherError, match=f"cannot score labels: {reason}.*teacher=vllm"):
        made.ask([ScoreRequest("1", "p", (5, 3))])


@pytest.mark.parametrize("trouble", [(503, {"detail": "busy"}), (0, b""), (200, b"<html>")])
def test_trouble_is_no_reason_for_worse_scores(server, trouble):
    server.answer = lambda path, body: (
        trouble if "logprob_token_ids" in body else (200, completion("x", {"token_id:5": -1.0}))
    )
    made = teacher(server, retries=1)
    with pytest.raises(TeacherError, match=r"failed 2 times, most recently with"):
        made.ask([ScoreRequest("1", "p", (5,))])
    assert "top" not in made.fingerprint


def test_a_server_that_ignores_schemas_is_found_out_before_anything_is_asked(server):
    with pytest.raises(TeacherError, match="does not enforce JSON schemas"):
        teacher(server).ask([text("1", json_schema=SCHEMA)])
    # OpenAI's field, and llama.cpp's.
    assert len(server.bodies) == 2


def test_a_schema_goes_into_the_field_that_the_server_knows(server):
    def llama_cpp(path, body):
        return 200, completion('{"bird": "canary"}' if "json_schema" in body else '{"a": 1}')

    server.answer = llama_cpp
    (reply,) = teacher(server).ask([text("1", json_schema=SCHEMA)])
    assert "does not fit the schema" in reply.error
    assert server.bodies[-1]["json_schema"] == json.loads(SCHEMA)
    assert "response_format" not in server.bodies[-1]


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
