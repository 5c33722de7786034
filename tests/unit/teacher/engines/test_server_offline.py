"""A server's teacher that reads replies from files: same bodies, names, fingerprint and errors."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.fake_server import Answer, FakeServer, chat_reply, completion
from tests.helpers.tokenizer_kinds import byte_level_bpe

from tutelage.errors import TeacherError
from tutelage.teacher.base import (
    Chat,
    GenerateRequest,
    Message,
    Request,
    Sampling,
    ScoreRequest,
)
from tutelage.teacher.engines.server import ServerTeacher
from tutelage.teacher.engines.server_offline import (
    NO_REPLY,
    FewReplies,
    FileReply,
    NotingTeacher,
    OfflineServerTeacher,
    custom_id,
)

CHAT = Chat((Message("system", "Answer."), Message("user", "is snow cold?")))
URL = "http://127.0.0.1:9/v1"


class Found:
    """Replies by the names of their requests; keeps the names that were looked up."""

    def __init__(self, replies: dict[str, FileReply] | None = None, model: str = "") -> None:
        self.replies, self.model = replies or {}, model
        self.asked: list[str] = []

    def find(self, name: str) -> FileReply | None:
        self.asked.append(name)
        return self.replies.get(name)


class Remembering:
    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def recall(self, names: Any) -> dict[str, str]:
        return {name: self.texts[name] for name in names if name in self.texts}

    def remember(self, texts: Any) -> None:
        self.texts.update(texts)


Sent = list[tuple[str, str, dict[str, Any]]]


def collecting(found: Found | None = None, **settings: Any) -> tuple[OfflineServerTeacher, Sent]:
    sent: Sent = []

    def collect(name: str, request: Request, path: str, body: dict[str, Any]) -> None:
        sent.append((name, path, body))

    given = {"api": "chat", "scoring": "top", **settings}
    return OfflineServerTeacher(URL, "m", replies=found or Found(), collect=collect, **given), sent


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer()
    made.chats = True
    yield made
    made.stop()


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    byte_level_bpe().save(str(tmp_path / "tokenizer.json"))
    return str(tmp_path / "tokenizer.json")


def score(name: str = "s", prompt: Any = CHAT, choices: tuple[int, ...] = (5, 6)) -> ScoreRequest:
    return ScoreRequest(name, prompt, choices, ("yes", "no"))


def text(name: str = "g", prompt: Any = CHAT, **more: Any) -> GenerateRequest:
    return GenerateRequest(name, prompt, Sampling(temperature=0.0, max_tokens=8), **more)


@pytest.mark.parametrize(
    ("api", "scoring", "fields"),
    [
        ("chat", "top", {"logprobs": True, "top_logprobs": 20}),
        ("completions", "top", {"logprobs": 5}),
        (
            "chat",
            "exact",
            {"logprobs": True, "return_tokens_as_token_ids": True, "logprob_token_ids": [5, 6]},
        ),
        (
            "completions",
            "exact",
            {"logprobs": 1, "return_tokens_as_token_ids": True, "logprob_token_ids": [5, 6]},
        ),
    ],
)
def test_each_way_has_its_fields_and_one_way_per_teacher(
    api: str, scoring: str, fields: dict[str, Any]
) -> None:
    teacher, sent = collecting(api=api, scoring=scoring)
    prompt = CHAT if api == "chat" else "is snow cold?"
    replies = teacher.ask([score("1", prompt), score("2", prompt), text("3", prompt)])
    assert [reply.error for reply in replies] == [NO_REPLY] * 3
    assert teacher.counts.missing == {name for name, _, _ in sent}
    (name, path, body), same, other = sent
    assert same == (name, path, body)
    assert path == ("/v1/chat/completions" if api == "chat" else "/v1/completions")
    assert {key: value for key, value in body.items() if "logprob" in key or "return" in key} == (
        fields
    )
    assert not [key for key in other[2] if "logprob" in key]
    # OpenAI refuses the field of vLLM's template.
    assert ("chat_template_kwargs" in body) == ((api, scoring) == ("chat", "exact"))
    assert teacher.speaks_chat == (api == "chat")


@given(
    body=st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4), max_size=4),
    other=st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4), max_size=4),
)
def test_a_name_tells_every_content_and_no_order(body: Any, other: Any) -> None:
    shuffled = dict(reversed(body.items()))
    assert custom_id("/p", body) == custom_id("/p", shuffled)
    assert (custom_id("/p", body) == custom_id("/p", other)) == (body == other)
    assert custom_id("/p", body) != custom_id("/q", body)
    assert len(custom_id("/p", body)) == 40


def test_replies_from_files_are_those_of_the_live_server(
    server: FakeServer, tokenizer: str
) -> None:
    """Exact scores, sampled texts, JSON, refusals: reply by reply, and the same fingerprint."""

    def answer(path: str, body: dict[str, Any]) -> Answer:
        if "chat" not in path:
            return 404, {"detail": "Not Found"}
        if "refuse" in json.dumps(body["messages"]):
            return 400, {"error": {"message": "not this one"}}
        if ids := body.get("logprob_token_ids"):
            top = {f"token_id:{one}": -0.5 * number - 0.1 for number, one in enumerate(ids)}
            return 200, chat_reply("x", top, model="m")
        if "bird" in json.dumps(body.get("response_format")):
            return 200, chat_reply('{"bird": "canary"}', model="m")
        if "response_format" in body:
            return 200, chat_reply('{"a": 1}', model="m")
        return 200, chat_reply("a text", model="m")

    schema = '{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}'
    refused = Chat((Message("user", "refuse"),))
    batch = [score(), text(), text("j", json_schema=schema), text("r", refused), score("q")]
    server.answer = answer
    settings: dict[str, Any] = {"api": "chat", "scoring": "exact", "tokenizer": tokenizer}
    live = ServerTeacher(server.url, "m", **settings)
    live.settle()
    expected = live.ask(batch)
    sent: Sent = []
    first = OfflineServerTeacher(
        server.url,
        "m",
        replies=Found(),
        collect=lambda name, _, path, body: sent.append((name, path, body)),
        **settings,
    )
    first.ask(batch)
    found = {}
    for name, path, body in sent:
        code, reply, *_ = answer(path, body)
        said = "" if code == 200 else "not this one"
        found[name] = FileReply(code, reply if code == 200 else None, said)
    count = len(server.bodies)
    second = OfflineServerTeacher(server.url, "m", replies=Found(found, "m"), **settings)
    assert second.ask(batch) == expected
    assert second.fingerprint == first.fingerprint == live.fingerprint
    assert second.tokenize(["a b", CHAT]) == live.tokenize(["a b", CHAT])
    assert (second.counts.missing, len(second.counts.failed)) == (set(), 1)
    assert len(server.bodies) == count, "nobody connected for the files"


def test_the_name_of_the_model_comes_from_replies_or_an_earlier_run() -> None:
    memory = Remembering()

    def fingerprint(model: str) -> tuple[str, list[str]]:
        teacher, _ = collecting(Found({}, model))
        teacher.settle(memory)
        return teacher.fingerprint, teacher.notes

    unknown, _ = fingerprint("")
    assert "served" not in unknown
    own, notes = fingerprint("m-2026")
    assert "m-2026" in own
    assert not [note for note in notes if "cached" in note]
    # Without replies it is that of the replies before.
    assert fingerprint("")[0] == own
    assert fingerprint("m-2026")[0] == own
    other, notes = fingerprint("m-2027")
    assert "m-2027" in other
    assert "call the model 'm-2027', and the server" in notes[-1]
    # A live server may have named a folder, which replies do not.
    (place,) = (name for name in memory.texts if name.startswith("identity"))
    memory.texts[place] = json.dumps({"name": "/models/m", "scoring": "none", "chat": "top-20"})
    assert "/models/m" in fingerprint("m")[0]


def test_labels_are_found_by_words_where_no_tokenizer_is_known() -> None:
    teacher, sent = collecting()
    ids = teacher.tokenize([CHAT, CHAT.prefilled("yes"), CHAT.prefilled("no")])
    assert ids[1][:-1] == ids[2][:-1] == ids[0]
    request = ScoreRequest("s", CHAT, (ids[1][-1], ids[2][-1]), ("yes", "no"))
    teacher.ask([request])
    reply = FileReply(200, chat_reply("yes", {"Yes": -0.1, "No": -2.5}))
    found = collecting(Found({sent[0][0]: reply}))[0].ask([request])[0]
    assert found.logprobs == pytest.approx((-0.1, -2.5))
    assert (found.prompt_tokens, found.completion_tokens) == (7, 1)
    exact, _ = collecting(scoring="exact")
    with pytest.raises(TeacherError, match=r"Set teacher.tokenizer"):
        exact.tokenize([CHAT])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": 7},
        {"choices": [{}]},
        {"choices": [{"text": "x", "logprobs": {"top_logprobs": [{"a": math.inf}]}}]},
        {"choices": [{"text": "x", "logprobs": {"top_logprobs": [{"a": "b"}]}}]},
        {"choices": [{"text": "x", "logprobs": {"content": [[1]]}}]},
        {"error": {"message": "no"}},
        completion("x", {"a": 10**400}),
    ],
)
def test_a_reply_that_is_no_completion_is_a_failed_one_and_asked_again(body: Any) -> None:
    teacher, sent = collecting()
    teacher.ask([score()])
    again, collected = collecting(Found({sent[0][0]: FileReply(200, body)}))
    (reply,) = again.ask([score()])
    assert reply.error.startswith("the server failed with a reply that is not usable")
    assert again.counts.failed == {sent[0][0]}
    assert collected == sent


def test_huge_token_counts_are_estimated() -> None:
    teacher, sent = collecting()
    teacher.ask([text()])
    body = chat_reply("hello") | {"usage": {"prompt_tokens": 10**30, "completion_tokens": -4}}
    (reply,) = collecting(Found({sent[0][0]: FileReply(200, body)}))[0].ask([text()])
    assert 0 < reply.tokens < 100


def test_a_refusal_leads_to_a_simpler_body_with_its_own_name() -> None:
    teacher, sent = collecting()
    teacher.ask([text()])
    refusal = FileReply(400, None, "Unsupported parameter: 'max_tokens'")
    found = {sent[0][0]: FileReply(400, None, f"{refusal.said}; use max_completion_tokens")}
    second, more = collecting(Found(found))
    assert [one.error for one in second.ask([text(), text("h", seed=1)])] == [NO_REPLY] * 2
    assert [("max_completion_tokens" in body) for _, _, body in more] == [True, False]
    # What one refusal taught changes no other request's name.
    assert second.counts.failed == set()
    found[more[0][0]] = FileReply(200, chat_reply("a"))
    assert collecting(Found(found))[0].ask([text()])[0].text == "a"


def test_cached_replies_count_as_known_and_most_missing_ones_are_an_error() -> None:
    found = Found()
    engine, sent = collecting(found)
    batch = [text(str(number), seed=number) for number in range(16)]
    engine.ask(batch[:8])
    found.replies = {name: FileReply(200, chat_reply("a")) for name, _, _ in sent[:8]}
    teacher = NotingTeacher(engine, engine, strict=True)
    found.asked.clear()
    engine.note_asked(batch[:8])
    assert found.asked == [name for name, _, _ in sent[:8]]
    assert len(teacher.ask(batch)) == 16
    with pytest.raises(FewReplies, match=f"8 of 15 requests .* the first says: {NO_REPLY}"):
        teacher.ask(batch[1:])
    assert len(NotingTeacher(engine, engine, strict=False).ask(batch[8:])) == 8
    # A few are single ones.
    assert [one.error for one in teacher.ask(batch[9:])] == [NO_REPLY] * 7


def test_a_closed_teacher_is_not_asked() -> None:
    teacher, _ = collecting()
    teacher.close()
    with pytest.raises(TeacherError, match="asked after it was closed"):
        teacher.ask([text()])
    assert collecting()[0].ask([]) == []
