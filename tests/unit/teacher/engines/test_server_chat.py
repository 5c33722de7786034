"""ServerTeacher with servers that take messages: strict, silent, thinking and sampling ones."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from tests.helpers.fake_server import Answer, FakeServer, chat_reply, completion

from tutelage.errors import TeacherError
from tutelage.labelling.verbalizer import verbalize
from tutelage.records import Label
from tutelage.teacher.base import Chat, GenerateRequest, Message, Reply, Sampling, ScoreRequest
from tutelage.teacher.engines.server import ServerTeacher

WORDS = ("music", "weather", "credit card")
LABELS = [Label(word, word, word) for word in WORDS]
QUESTION = Chat((Message("system", "One of: music, weather."), Message("user", "play some jazz")))
SCHEMA = '{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}'
LINE = Sampling(temperature=0.5, max_tokens=20, stop=("\n",))
CHAT_ONLY = (404, {"detail": "Not Found"})


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer()
    made.chats = True
    yield made
    made.stop()


def answering(server: FakeServer, chat: Any, text: Answer = CHAT_ONLY) -> None:
    """Lets a server answer chats by a function of the body, and texts to continue alike."""
    server.answer = lambda path, body: chat(body) if "chat" in path else text


def settled(server: FakeServer, memory: Any = None, **settings: Any) -> ServerTeacher:
    made = ServerTeacher(server.url, "m", **{"backoff": 0.001, "retries": 0, **settings})
    made.settle(memory)
    return made


def scored(teacher: ServerTeacher, chat: Chat = QUESTION) -> Reply:
    found = verbalize(teacher, LABELS, chat=chat)
    assert found.words == WORDS
    return teacher.ask([ScoreRequest("s", chat, found.tokens, found.words)])[0]


def refusal(said: str) -> Answer:
    return 400, {"error": {"message": said}}


OPENAI = {
    *("model", "messages", "max_completion_tokens", "temperature", "top_p", "seed", "stop"),
    *("logprobs", "top_logprobs", "response_format", "n"),
}


def strict(body: Mapping[str, Any]) -> Answer:
    """Refuses what OpenAI does not know, and gives few tokens without a tokenizer."""
    if "max_tokens" in body:
        return refusal("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    if unknown := sorted(set(body) - OPENAI):
        return refusal(f"Unrecognized request argument supplied: {unknown[0]}")
    if body.get("top_logprobs", 0) > 5:
        return refusal("Invalid value for 'top_logprobs': must be at most 5.")
    top = {"Music": -0.5, " mus": -2.0, "cred": -3.0, "I": -4.0, "wea": -9999.0}
    return 200, chat_reply("Music", top if "top_logprobs" in body else None, model="big-1")


def test_a_strict_chat_only_server_without_a_tokenizer_is_a_whole_teacher(server):
    answering(server, strict)
    teacher = settled(server)
    assert teacher.speaks_chat
    assert '"chat":"top-5"' in teacher.fingerprint
    reply = scored(teacher)
    # "Music" and " mus" are one label; a token that is impossible says nothing.
    assert reply.logprobs == pytest.approx((math.log(math.exp(-0.5) + math.exp(-2)), -100.0, -3.0))
    assert (reply.prompt_tokens, reply.completion_tokens) == (7, 1)
    text, structured = teacher.ask(
        [GenerateRequest("t", QUESTION, LINE, 5), GenerateRequest("u", QUESTION, LINE, 2**40)]
    )
    assert (text.text, structured.text) == ("Music", "Music")
    assert server.bodies[-1] | {"seed": 0} == {
        "model": "m",
        "messages": [{"role": one.role, "content": one.content} for one in QUESTION.messages],
        "max_completion_tokens": 20,
        "temperature": 0.5,
        "top_p": 1.0,
        "stop": ["\n"],
        "seed": 0,
    }
    assert any("only the 5 most likely tokens" in note for note in teacher.notes)
    assert any("found by their words" in note for note in teacher.notes)
    assert len(teacher.tokenize(["four letter word"])[0]) == 4


def test_without_probabilities_the_shares_of_sampled_answers_are_billed_and_smoothed(server):
    said = iter(["music", '{"label": "music"}', "It is weather.", "no idea", "**Music**!"] * 9)

    def silent(body):
        if "logprobs" in body or body.get("n", 1) > 1 or "structured_outputs" in body:
            return refusal("n, logprobs or structured_outputs")
        asked = body["messages"][0]["content"]
        return 200, chat_reply("yes" if "snow" in asked else next(said))

    answering(server, silent)
    teacher = settled(server)
    reply = scored(teacher)
    assert reply.logprobs == pytest.approx([math.log(n / 8) for n in (4, 2, 1)])
    assert (reply.prompt_tokens, reply.completion_tokens) == (5 * 7, 5 * 3)
    assert '"chat":"agreement-5"' in teacher.fingerprint
    assert any("labelled 5 times, in free text" in note for note in teacher.notes)
    assert [body["seed"] for body in server.bodies[-5:]] == [0, 1, 2, 3, 4]


def test_answers_are_sampled_without_a_seed_where_the_server_refuses_it(server):
    def seedless(body):
        if "seed" in body:
            return refusal("Extra inputs are not permitted: seed")
        one = chat_reply("music")
        return 200, {**one, "choices": one["choices"] * body.get("n", 1)}

    answering(server, seedless)
    teacher = settled(server, scoring="agreement", samples=3)
    assert (scored(teacher).error, server.bodies[-1]["n"]) == ("", 3)
    assert any("refuses seed" in note for note in teacher.notes)
    before = len(server.bodies)
    assert scored(teacher).error == ""
    assert len(server.bodies) == before + 1, "the refusal is remembered"


def test_several_answers_at_once_bill_the_prompt_once(server):
    def sampling(body):
        # Constrained to a word, as vLLM does it.
        words = body.get("structured_outputs", {}).get("choice", [body["messages"][0]["content"]])
        word = words[1] if len(words) > 1 else words[0]
        one = chat_reply(word)
        return 200, {**one, "choices": one["choices"] * body.get("n", 1)}

    answering(server, sampling)
    teacher = settled(server, scoring="agreement", samples=3)
    before = len(server.bodies)
    reply = scored(teacher)
    assert reply.logprobs == pytest.approx([math.log(n / 6) for n in (1, 4, 1)])
    assert (len(server.bodies) - before, reply.tokens) == (1, 10)
    assert server.bodies[-1]["structured_outputs"] == {"choice": list(WORDS)}
    answering(server, lambda body: (200, chat_reply("what?")))
    assert "none of 3 answers names a label" in scored(teacher).error


@pytest.mark.parametrize("switch", ["chat_template_kwargs", "reasoning_effort", "think"])
def test_thinking_is_turned_off_where_the_server_can(server, switch):
    def thinking(body):
        thoughts = "" if switch in body else "Hm."
        return 200, chat_reply("music", {"music": -0.1, "weather": -3.0}, thoughts)

    answering(server, thinking)
    teacher = settled(server)
    assert teacher.ask([GenerateRequest("t", QUESTION, LINE)])[0].text == "music"
    assert scored(teacher).logprobs[0] == pytest.approx(-0.1)
    assert switch in server.bodies[-1]


@pytest.mark.parametrize("apart", [True, False])
def test_thoughts_stay_in_the_reply_and_labels_are_read_behind_them(server, apart):
    def thinking(body):
        answer = "jazz\nand more" if "stop" not in body else "jazz"
        if body["messages"][0]["content"].startswith("One of"):
            answer = "music" if body["temperature"] == 1.0 else answer
        if "response_format" in body:
            schema = json.dumps(body["response_format"])
            answer = '{"bird": "canary"}' if "bird" in schema else '{"a": 3}'
            answer = '{"label": "music"}' if '"label"' in schema else answer
        thoughts = "weather?\nNo."
        text = answer if apart else f"<think>{thoughts}</think>\n\n{answer}"
        return 200, chat_reply(text, None, thoughts if apart else "")

    answering(server, thinking)
    teacher = settled(server)
    assert any("cannot be kept from thinking" in note for note in teacher.notes)
    text, structured = teacher.ask(
        [
            GenerateRequest("t", QUESTION, LINE),
            GenerateRequest("j", QUESTION, LINE, json_schema=SCHEMA),
        ]
    )
    assert text.text.startswith("<think>")
    assert text.text.endswith("jazz"), "the line ends behind the thoughts only"
    assert "\nNo." in text.text
    assert structured.error == ""
    # The two requests arrive in any order.
    written = next(
        body
        for body in server.bodies
        if body.get("temperature") == 0.5 and "response_format" not in body
    )
    assert written["max_tokens"] == 20 + 2048
    assert "stop" not in written
    assert scored(teacher).logprobs == pytest.approx([math.log(n / 8) for n in (6, 1, 1)])


def test_a_budget_for_thinking_is_added_and_asked_for(server):
    answering(server, lambda body: (200, chat_reply("music", {"music": -0.1})))
    teacher = settled(server)
    teacher.ask([GenerateRequest("t", Chat(QUESTION.messages, thinking=100), LINE)])
    assert server.bodies[-1]["max_tokens"] == 120
    assert server.bodies[-1]["chat_template_kwargs"]["enable_thinking"] is True
    assert "stop" not in server.bodies[-1]


def test_a_reply_that_is_begun_for_the_model(server):
    begun = QUESTION.prefilled("The label is")

    def picky(body):
        if "continue_final_message" in body:
            return refusal("continue_final_message is not permitted")
        return 200, chat_reply("music")

    # llama.cpp repeats the beginning.
    answering(server, lambda body: (200, chat_reply("The label is music")))
    teacher = settled(server)
    assert teacher.ask([GenerateRequest("t", begun, LINE)])[0].text == " music"
    assert server.bodies[-1]["add_generation_prompt"] is False
    assert server.bodies[-1]["messages"][-1]["content"] == "The label is"
    answering(server, picky)
    assert teacher.ask([GenerateRequest("t", begun, LINE)])[0].text == "music"
    assert [one["role"] for one in server.bodies[-1]["messages"]] == ["system", "user"]
    assert any("continues no message" in note for note in teacher.notes)


def test_marks_of_a_template_in_a_text_are_broken(server):
    answering(server, lambda body: (200, chat_reply("music")))
    teacher = settled(server)
    text = Chat((Message("user", "a <|im_end|> b"),))
    teacher.ask([GenerateRequest("t", text, LINE)])
    assert server.bodies[-1]["messages"][0]["content"] == "a < |im_end|> b"


def test_decisions_are_asked_in_the_form_of_openai(server):
    def decide(path: str, body: Mapping[str, Any]) -> Answer:
        if path != "/v1/decisions":
            return (200, chat_reply("yes")) if "chat" in path else CHAT_ONLY
        (question,) = body["questions"]
        options = [one["value"] for one in question["choices"]]
        chances = [0.75, 0.25, *[0.0] * len(options)]
        listed = [{"value": o, "probability": p} for o, p in zip(options, chances, strict=False)]
        answer = {"type": "choice", "name": question["name"], "choice": options[0]}
        answer |= {"confidence": 0.8, "probabilities": listed}
        return 200, {"model": "m", "answers": [answer], "usage": {"input_tokens": 30}}

    server.answer = decide
    teacher = settled(server, scoring="decisions")
    reply = scored(teacher)
    assert reply.logprobs == pytest.approx([math.log(0.75), math.log(0.25), -100.0])
    assert reply.prompt_tokens == 30
    assert server.bodies[-1]["input"] == "play some jazz"
    assert server.bodies[-1]["questions"][0]["instructions"] == "One of: music, weather."
    refused = {"answers": [{"type": "refusal", "name": "label"}]}
    server.answer = lambda path, body: (200, refused)
    assert "holds no decision" in scored(teacher).error
    answering(server, lambda body: (200, chat_reply("yes")))
    with pytest.raises(TeacherError, match=r"it has no /v1/decisions .Not Found"):
        scored(settled(server, scoring="decisions"))


NO_TEMPLATE = refusal("As of transformers v4.44, default chat template is no longer allowed")


@pytest.mark.parametrize("chat", [NO_TEMPLATE, CHAT_ONLY, (500, b"oh no"), (200, {})])
def test_a_server_that_completes_but_takes_no_messages_is_asked_for_texts(server, chat):
    answering(server, lambda body: chat, (200, completion("x", {"token_id:10": -1.0})))
    teacher = settled(server)
    assert not teacher.speaks_chat
    assert '"chat"' not in teacher.fingerprint
    assert teacher.ask([GenerateRequest("t", "a text", LINE)])[0].text == "x"
    with pytest.raises(TeacherError, match="asked for texts to continue"):
        teacher.ask([GenerateRequest("t", QUESTION, LINE)])


def test_the_way_of_asking_can_be_chosen(server):
    answering(
        server, lambda body: (200, chat_reply("c", {"music": -1.0})), (200, completion("t", {}))
    )
    assert settled(server).speaks_chat
    assert not settled(server, api="completions").speaks_chat
    chosen = settled(server, api="chat")
    with pytest.raises(TeacherError, match=r"cannot continue texts. Use prompt=chat"):
        chosen.ask([GenerateRequest("t", "a text", LINE)])
    answering(server, lambda body: CHAT_ONLY)
    with pytest.raises(TeacherError, match="takes no messages: Not Found"):
        settled(server, api="chat")


class Notebook:
    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def recall(self, names: Sequence[str]) -> dict[str, str]:
        return {name: self.texts[name] for name in names if name in self.texts}

    def remember(self, texts: Mapping[str, str]) -> None:
        self.texts |= texts


def test_what_was_found_out_is_known_without_the_server(server):
    def tokenizing(path: str, body: Mapping[str, Any]) -> Answer:
        if path == "/tokenize":
            reply = [m["content"] for m in body["messages"] if m["role"] == "assistant"]
            return 200, {"tokens": [1, 2, *(len(content) for content in reply)]}
        ids = body.get("logprob_token_ids", ())
        if "chat" in path:
            return 200, chat_reply("c", {f"token_id:{one}": -float(one) for one in ids})
        return 200, completion("t", {f"token_id:{one}": -1.0 for one in ids})

    server.answer = tokenizing
    memory = Notebook()
    online = settled(server, memory)
    assert scored(online).logprobs == (-5.0, -7.0, -11.0)
    assert '"exact"' not in online.fingerprint, "as before there were chats"
    server.stop()
    offline = settled(server, memory)
    assert offline.speaks_chat
    assert offline.fingerprint == online.fingerprint
    assert verbalize(offline, LABELS, chat=QUESTION).tokens == (5, 7, 11)


def test_tokens_by_the_text_of_a_template_as_llama_cpp_has_it(server):
    def llama(path: str, body: Mapping[str, Any]) -> Answer:
        if path == "/apply-template":
            return 200, {"prompt": "|".join(one["content"] for one in body["messages"])}
        if path == "/tokenize":
            return 200, {"tokens": [ord(sign) for sign in body.get("content", "")]}
        top = {"m": -1.0, "w": -2.0, "c": -3.0}
        return (200, chat_reply("m", top)) if "chat" in path else (200, completion("t", {"m": -1}))

    server.answer = llama
    teacher = settled(server)
    base, more = teacher.tokenize([QUESTION, QUESTION.prefilled("music")])
    assert more == [*base, *map(ord, "|music")]


@pytest.mark.parametrize("knows_ids", [True, False])
def test_labels_after_a_text_are_trusted_where_they_are_exact_and_ids_are_known(server, knows_ids):
    def vllm(path: str, body: Mapping[str, Any]) -> Answer:
        if path == "/tokenize":
            return (200, {"tokens": [10, 11]}) if knows_ids else (404, {"error": "no such path"})
        if "chat" in path:
            return 200, chat_reply("music", {"music": -1.0})
        return 200, completion("x", {"token_id:10": -1.0})

    server.answer = vllm
    exact = settled(server, scoring="exact")
    assert exact.speaks_chat
    assert exact.scores_texts is knows_ids
    assert not settled(server, scoring="top").scores_texts
    assert settled(server, api="completions").scores_texts
