"""Whole runs with servers as people have them: keys, other models, bad moments, odd spellings."""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import tiny
from tests.helpers.fake_server import Answer, FakeServer, chat_reply, completion
from tests.helpers.teachers import KEYWORDS
from tests.helpers.tiny import WORDS, lines
from tokenizers import Tokenizer, models, pre_tokenizers

pytestmark = pytest.mark.usefixtures("no_report")
KEY = "sk-canary-5f3a-77aabbccddeeff"


def token(text: str) -> int:
    return zlib.crc32(text.split()[0].encode()) % 50_000


def queried(body: dict[str, Any]) -> str:
    """The text that a prompt asks about."""
    return str(body["prompt"]).rpartition("Text: ")[2].partition("\n")[0].lower()


class LabelServer:
    """Knows the labels of the small data by their keywords.

    Attributes:
        spelling: Names of tokens in its replies; "" for the log-probability of every label.
        poison: A text for which it fails.
        called: What it calls its model.
        right: Whether it is right.
    """

    def __init__(self, server: FakeServer) -> None:
        self.spelling = self.poison = ""
        self.called = "m"
        self.right = True
        server.answer = self.answer

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        if path == "/tokenize":
            return (404, {}) if self.spelling else (200, {"tokens": [token(body["prompt"])]})
        text = queried(body)
        if self.poison and self.poison in text:
            return 500, {"error": {"message": "internal"}}
        if "logprobs" not in body:
            return 200, completion(" some words", model=self.called)
        hits = {word: sum(key in text for key in keys) for word, keys in KEYWORDS.items()}
        sign = 1 if self.right else -1
        scores = {f" {word}": -3.0 + sign * 0.3 * count for word, count in hits.items()}
        if not self.spelling:
            wanted = {token(word): score for word, score in scores.items()}
            top = {f"token_id:{id}": wanted.get(id, -9.0) for id in body["logprob_token_ids"]}
        elif self.spelling == "other":
            top = {f" other{number}": -float(number) for number in range(1, 6)}
        else:
            top = {word.replace(" ", self.spelling): score for word, score in scores.items()}
        return 200, completion("x", top, model=self.called)


class ChatServer:
    """Knows the labels of the small data, and only messages; writes texts from their keywords.

    Attributes:
        thoughts: What it thinks before each answer; "" for a model that does not think.
        probabilities: Whether it gives log-probabilities.
    """

    def __init__(self, server: FakeServer, *, thoughts: str = "", probabilities: bool) -> None:
        self.thoughts, self.probabilities = thoughts, probabilities
        server.chats = True
        server.answer = self.answer

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        if "chat" not in path:
            return 404, {"detail": "Not Found"}
        if "logprobs" in body and not self.probabilities:
            return 400, {"error": {"message": "This model gives no logprobs."}}
        system, asked = body["messages"][0]["content"], body["messages"][-1]["content"]
        labels = system.startswith("Classify")
        hits = {word: sum(key in asked.lower() for key in keys) for word, keys in KEYWORDS.items()}
        best = max(hits, key=lambda word: (hits[word], word))
        if labels and "logprobs" in body:
            # As first tokens are spelt: a part of the word, in capitals.
            top = {word[:4].upper(): -3.0 + 0.3 * count for word, count in hits.items()}
            return 200, chat_reply(best, top)
        return 200, chat_reply(best if labels else self.written(body, asked), None, self.thoughts)

    def written(self, body: dict[str, Any], asked: str) -> str:
        rng = random.Random(f"{body.get('seed')} {asked}")
        named = [word for word in KEYWORDS if word in asked] or sorted(KEYWORDS)

        def one() -> str:
            word = rng.choice(named)
            return " ".join([*rng.sample(KEYWORDS[word], 3), *rng.sample(FILLERS, 3)])

        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        if schema is None:
            return one()
        if "bird" in schema.get("properties", {}):
            return '{"bird": "canary"}'
        return json.dumps(filled(schema, one))


FILLERS = ("please", "tonight", "in", "paris", "now", "green", "tomorrow", "old", "near", "seven")


def filled(schema: dict[str, Any], text: Callable[[], str]) -> Any:
    """A value of a JSON schema, with texts in it."""
    if schema.get("type") == "object":
        return {name: filled(part, text) for name, part in schema["properties"].items()}
    if schema.get("type") == "array":
        return [filled(schema["items"], text) for _ in range(schema.get("maxItems", 2))]
    return schema["enum"][0] if "enum" in schema else text()


@pytest.mark.parametrize("kind", ["chat only", "thinking"])
def test_a_server_for_chats_alone_teaches_whole_runs_with_nothing_lost(
    tutelage, workplace, server, overrides, kind
):
    thinks = kind == "thinking"
    ChatServer(server, thoughts="Let me see.\nHm." if thinks else "", probabilities=not thinks)
    ended = tutelage("train", *overrides, "teacher.samples=3")
    assert ended.code == 0, ended.err
    found = result(workplace)
    assert found["requests"]["failed"] == 0
    assert found["rows"]["rejected"] == 0
    assert found["teacher"]["accuracy"] > 0.7
    told = "cannot be kept from thinking" if thinks else "found by their words"
    assert told in ended.out
    # Analysis, texts and labels of two rounds; then everything again without the server.
    grow = [one for one in overrides if not one.startswith("method")]
    grow += ["method=evokd", "method.rounds=2", "method.n_hard=7", "method.n_easy=7"]
    grow += ["training.round_epochs=1", "training.final_epochs=0", "teacher.samples=3"]
    ended = tutelage("train", *grow)
    assert ended.code == 0, ended.err
    found = result(workplace)
    assert found["requests"]["failed"] == 0
    assert found["rows"]["accepted"] > 7, "more than the shots"
    run = max(workplace.glob("outputs/*/*"), key=lambda path: path.stat().st_mtime)
    for path in run.rglob("rows.jsonl"):
        assert not any("Hm." in row["text"] or "<think>" in row["text"] for row in lines(path))
    transcript = (run / "teacher" / "transcript.jsonl").read_text(encoding="utf-8")
    assert ("Let me see." in transcript) is thinks
    server.stop()
    ended = tutelage("train", *grow)
    assert ended.code == 0, ended.err
    assert result(workplace)["tokens"]["spent"] == 0


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer()
    yield made
    made.stop()


@pytest.fixture
def overrides(server: FakeServer, student: Path, small_data: Path) -> list[str]:
    return [
        "data=files",
        f"data.path={small_data}",
        "method=full_pool",
        "method.pool_size=21",
        "evaluate.teacher=true",
        "teacher=server",
        f"teacher.url={server.url}",
        "teacher.model=m",
        "teacher.retries=1",
        "teacher.backoff=0.001",
        "teacher.cache=replies.sqlite",
        f"student.model={student}",
        "student.max_length=32",
        "trainer.accelerator=cpu",
        "threads=1",
        "training.start_epochs=1",
    ]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A tokenizer.json, and nothing else."""
    words = Tokenizer(models.WordLevel({f"Ġ{word}": n for n, word in enumerate(WORDS.values())}))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def result(workplace: Path) -> dict[str, Any]:
    newest = max(workplace.glob("outputs/*/*/result.json"), key=lambda path: path.stat().st_mtime)
    found: dict[str, Any] = json.loads(newest.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("spelling", ["", " ", "Ġ", "▁", "-"])
def test_the_teacher_is_as_good_in_every_spelling(
    tutelage, workplace, server, overrides, tokenizer, spelling
):
    serving = LabelServer(server)
    serving.spelling = spelling
    if spelling == "-":  # without any mark for the space
        answer = server.answer
        server.answer = lambda path, body: json.loads(
            json.dumps(answer(path, body)).replace('"-', '"')
        )
    named = [f"teacher.tokenizer={tokenizer}"] if spelling else []
    ended = tutelage("train", *overrides, *named)
    assert ended.code == 0, ended.err
    assert result(workplace)["teacher"]["accuracy"] > 0.7
    assert ("most likely tokens. A choice missing" in ended.out) is bool(spelling)


def test_labels_that_the_server_never_lists_end_the_run(
    tutelage, workplace, server, overrides, tokenizer
):
    LabelServer(server).spelling = "other"
    for verb in ("plan", "train", "train"):
        ended = tutelage(verb, *overrides, f"teacher.tokenizer={tokenizer}")
        assert ended.code == 5, verb
        assert "None of the labels is among the 20 most likely tokens" in ended.err
        assert "' other1'" in ended.err


def test_one_text_that_always_fails_costs_itself(tutelage, workplace, server, overrides):
    serving = LabelServer(server)
    assert tutelage("plan", *overrides, "teacher.cache=null").code == 0
    serving.poison = queried(server.bodies[-1])
    ended = tutelage("plan", *overrides)
    assert ended.code == 0, ended.err
    assert re.search(r"1 of 16 labelling requests failed: .*HTTP 500 internal", ended.out)
    ended = tutelage("train", *overrides)
    assert ended.code == 0, ended.err
    failed = result(workplace)["requests"]["failed"]
    assert failed == 1
    run = next(workplace.glob("outputs/*/*"))
    (row,) = [row for row in tiny.lines(run / "pool" / "rows.jsonl") if not row["accepted"]]
    assert row["text"].lower() == serving.poison
    assert "HTTP 500 internal" in (run / "teacher" / "transcript.jsonl").read_text()
    serving.poison = ""
    assert tutelage("train", *overrides).code == 0
    assert result(workplace)["requests"]["failed"] == 0


def test_another_model_under_one_name_does_not_answer_from_the_first_one_s_cache(
    tutelage, workplace, server, overrides
):
    serving = LabelServer(server)
    serving.called, serving.right = "tiny-0.1b.gguf", False
    assert tutelage("train", *overrides).code == 0
    assert result(workplace)["teacher"]["accuracy"] < 0.2
    serving.called, serving.right = "big-70b.gguf", True
    ended = tutelage("train", *overrides)
    assert ended.code == 0, ended.err
    assert "'big-70b.gguf'" in ended.out
    assert "'tiny-0.1b.gguf'" in ended.out
    assert result(workplace)["teacher"]["accuracy"] > 0.7
    # Without the server, the newest one's replies are still there.
    server.stop()
    ended = tutelage("train", *overrides)
    assert ended.code == 0, ended.err
    assert "only replies in the cache can be used, those of 'big-70b.gguf'" in ended.out
    assert result(workplace)["teacher"]["accuracy"] > 0.7
    assert result(workplace)["tokens"]["spent"] == 0


def test_a_run_that_continues_with_another_teacher_says_so(tutelage, workplace, server, overrides):
    serving = LabelServer(server)
    serving.called = "first"
    server.answer = lambda path, body: (
        (401, {"detail": "no"}) if "Text:" in body["prompt"] else serving.answer(path, body)
    )
    given = [*overrides, "teacher.cache=null"]
    assert tutelage("train", *given).code == 5
    serving.called = "second"
    server.answer = serving.answer
    ended = tutelage("train", *given, "resume=true")
    assert ended.code == 0, ended.err
    assert re.search(
        r'This run began with the teacher .*"first".* continues with .*"second"', ended.out
    )


def test_a_fleet_ends_a_run_as_one_server_does_although_a_server_dies(
    tutelage, workplace, server, overrides
):
    """The servers' addresses are no part of the cache's key, so a third one finds all replies."""
    alone = LabelServer(server)
    assert tutelage("train", *overrides, "teacher.cache=null").code == 0
    wanted = result(workplace)
    asked = len(server.bodies)
    others = [FakeServer(), FakeServer()]
    dead: list[bool] = []

    def dying(path: str, body: dict[str, Any]) -> Answer:
        if len(others[1].bodies) > 12 and not dead:
            dead.append(True)
            others[1].stop()
        return (0, b"") if dead else alone.answer(path, body)

    others[0].answer, others[1].answer = alone.answer, dying
    rest = [one for one in overrides if not one.startswith("teacher.url=")]
    try:
        ended = tutelage("train", *rest, f"teacher.url=[{others[0].url},{others[1].url}]")
    finally:
        for one in others:
            one.stop()
    assert ended.code == 0, ended.err
    assert dead
    assert f"the server at {others[1].url.removesuffix('/v1')} is left out" in ended.out
    found = result(workplace)
    for key in ("pool_hash", "after", "rows", "requests", "teacher"):
        assert found[key] == wanted[key], key
    # Each server was asked for the tokens of the labels, and what it is.
    assert sum(len(one.bodies) for one in others) < asked + 30
    newest = max(workplace.glob("outputs/*/*"), key=lambda path: path.stat().st_mtime)
    manifest = json.loads((newest / "manifest.json").read_text(encoding="utf-8"))
    assert any("moved to other servers; left out at" in one for one in manifest["teacher"]["notes"])
    ended = tutelage("train", *rest, f"teacher.url=[{server.url}]")
    assert ended.code == 0, ended.err
    assert result(workplace)["tokens"]["spent"] == 0


@pytest.mark.parametrize(
    "echo", [KEY, f"Illegal header value b'Bearer {KEY}\\\\n'", f"…{KEY[:20]}"]
)
@pytest.mark.parametrize("code", [0, 200, 401, 500])
def test_a_key_that_ends_with_a_line_s_end_is_written_nowhere(
    tutelage, workplace, server, overrides, monkeypatch, code, echo
):
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    serving = LabelServer(server)
    if code:
        server.answer = lambda path, body: (
            (code, {"error": {"message": echo}})
            if "logprobs" in body
            else serving.answer(path, body)
        )
    else:
        serving.called = echo
    ended = tutelage("train", *overrides)
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert ended.code == (0 if code == 0 else 5)
    written = [path.read_bytes() for path in workplace.rglob("*") if path.is_file()]
    for text in (ended.out.encode(), ended.err.encode(), *written):
        assert b"canary" not in text
        assert KEY[:8].encode() not in text
