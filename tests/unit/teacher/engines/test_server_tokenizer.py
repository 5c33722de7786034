"""Token ids and spellings, from whoever has them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from tests.helpers.classification import shipped
from tests.helpers.fake_server import Answer, FakeServer, completion

from tutelage.errors import TeacherError
from tutelage.teacher.base import ScoreRequest
from tutelage.teacher.engines.server import ServerTeacher


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer()
    yield made
    made.stop()


def teacher(server: FakeServer, model: str = "m", **settings: Any) -> ServerTeacher:
    return ServerTeacher(server.url, model, **{"backoff": 0.001, "timeout": 10.0, **settings})


def vllm(path: str, body: dict[str, Any]) -> Answer:
    if path != "/tokenize":
        return 500, {}
    return 200, {"tokens": [len(body["prompt"]), 1]}


def llama_cpp(path: str, body: dict[str, Any]) -> Answer:
    """Ignores fields that it does not know, and has spellings and likely tokens."""
    if path == "/tokenize":
        text = body.get("content", "")
        pieces = [text[:4], text[4:]] if len(text) > 4 else [text] if text else []
        tokens = [{"id": sum(map(ord, piece)), "piece": piece} for piece in pieces]
        return 200, {"tokens": tokens if body.get("with_pieces") else [one["id"] for one in tokens]}
    top = [
        {"id": number, "token": name, "bytes": [], "logprob": -1.0 - number}
        for number, name in enumerate([" mus", " foo", " the"])
    ]
    reply = completion("x")
    if "logprobs" in body:
        reply["choices"][0]["logprobs"] = {
            "content": [{"token": " mus", "logprob": -1, "top_logprobs": top}]
        }
    return 200, reply


def test_vllm_s_server_is_asked_once_a_text(server: FakeServer):
    server.answer = vllm
    assert teacher(server).tokenize(["abc", "d"]) == [[3, 1], [1, 1]]
    assert server.bodies == [
        {"model": "m", "prompt": text, "add_special_tokens": False} for text in ("abc", "d")
    ]


def test_llama_cpp_s_server_is_asked_in_its_own_words(server: FakeServer):
    server.answer = llama_cpp
    made = teacher(server)
    (music,), (food,) = ids = [row[:1] for row in made.tokenize([" music", " food"])]
    assert ids == [[sum(map(ord, " mus"))], [sum(map(ord, " foo"))]]
    (reply,) = made.ask([ScoreRequest("1", "p", (food, music))])
    assert reply.logprobs == (-2.0, -1.0)


def test_spellings_that_tokenize_does_not_give_are_asked_for(server: FakeServer):
    def old(path: str, body: dict[str, Any]) -> Answer:
        if path == "/detokenize":
            return 200, {"content": {308: " mus", 3: " foo"}[body["tokens"][0]]}
        if path == "/tokenize":
            return llama_cpp(path, {**body, "with_pieces": False})
        return llama_cpp(path, body)

    server.answer = old
    made = teacher(server)
    made.tokenize([" music"])
    (reply,) = made.ask([ScoreRequest("1", "p", (3, 308))])
    assert reply.logprobs == (-2.0, -1.0)
    assert server.paths.count("/detokenize") == 2
    made.ask([ScoreRequest("1", "q", (3, 308))])
    assert server.paths.count("/detokenize") == 2


def test_a_server_that_cannot_spell_its_tokens_needs_a_tokenizer(server: FakeServer):
    server.answer = lambda path, body: (
        (404, {"detail": "Not Found"}) if path == "/detokenize" else llama_cpp(path, body)
    )
    with pytest.raises(TeacherError, match=r"text of token 3 .Not Found.* Set teacher\.tokenizer"):
        teacher(server).ask([ScoreRequest("1", "p", (3,))])


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"tokens": "no"}),
        (200, {"tokens": []}),
        (200, [None]),
        (200, {"tokens": [{"piece": "a"}]}),
    ],
)
def test_an_answer_without_ids_is_not_believed(server: FakeServer, answer: Answer):
    server.answer = lambda path, body: answer
    with pytest.raises(TeacherError, match=r"no token ids\. Set teacher\.tokenizer"):
        teacher(server).tokenize(["abc"])


def test_a_server_that_refuses_to_tokenize_says_which_setting_to_use(server: FakeServer):
    server.answer = lambda path, body: (400, {"error": {"message": "not supported"}})
    with pytest.raises(
        TeacherError, match=r"refused to tokenize: not supported\. Set teacher\.tok"
    ):
        teacher(server).tokenize(["abc"])
    assert "tokenizer" in inspect.signature(ServerTeacher).parameters
    assert shipped("teacher", "server")["tokenizer"] is None
