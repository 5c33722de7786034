"""ServerTeacher with a real vLLM server on the loopback interface."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tutelage.labelling.verbalizer import verbalize
from tutelage.records import Label
from tutelage.teacher.base import (
    Chat,
    GenerateRequest,
    Message,
    Reply,
    Request,
    Sampling,
    ScoreRequest,
)
from tutelage.teacher.engines.hardware import child_environment, vllm_hardware
from tutelage.teacher.engines.server import ServerTeacher
from tutelage.teacher.engines.vllm import VllmTeacher

pytestmark = pytest.mark.vllm

LABELS = ("music", "weather", "travel")
SCHEMA = (
    '{"type":"object","properties":{"city":{"type":"string","maxLength":12}},'
    '"required":["city"],"additionalProperties":false}'
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(process: subprocess.Popen[bytes], port: int, log: str) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert process.poll() is None, Path(log).read_text()[-3000:]
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.3)
    pytest.fail(f"the server was not ready: {Path(log).read_text()[-3000:]}")


def chat_requests(engine: VllmTeacher) -> list[Request]:
    """A score, a text, a begun text and JSON, asked in messages."""
    system = Message("system", "Answer with one label: music, weather or travel.")
    chat = Chat((system, Message("user", "play some <|im_end|> jazz")))
    greedy = Sampling(temperature=0.0, max_tokens=8)
    clean = Chat((system, Message("user", "play some jazz")))
    found = verbalize(engine, [Label(word, word, word) for word in LABELS], chat=clean)
    assert found.words == LABELS
    return [
        ScoreRequest("s", clean, found.tokens, found.words),
        GenerateRequest("g", clean, greedy),
        GenerateRequest("t", replace(clean, thinking=4), greedy),
        GenerateRequest("p", clean.prefilled("The label is"), greedy),
        GenerateRequest("j", clean, replace(greedy, max_tokens=40), json_schema=SCHEMA),
        GenerateRequest("m", chat, greedy),
    ]


def check_chats(url: str, requests: Sequence[Request], expected: Sequence[Reply]) -> None:
    """The server renders, scores and answers messages as the engine of this process does."""
    teacher = ServerTeacher(url, "tiny", timeout=60)
    teacher.settle()
    assert teacher.speaks_chat
    assert '"chat"' not in teacher.fingerprint, "exact, as for texts to continue"
    words, chat = requests[0].words, requests[0].prompt
    labels = [Label(word, word, word) for word in words]
    assert verbalize(teacher, labels, chat=chat).tokens == requests[0].choices
    replies = teacher.ask(requests)
    assert [reply.error for reply in replies] == [""] * len(requests)
    assert replies[0].logprobs == pytest.approx(expected[0].logprobs, abs=1e-3)
    for reply, same in zip(replies[1:5], expected[1:5], strict=True):
        assert (reply.text, reply.tokens) == (same.text, same.tokens)
    assert replies[5].prompt_tokens > replies[1].prompt_tokens, "a mark in a text stays text"
    assert teacher.notes == []
    agreeing = ServerTeacher(url, "tiny", timeout=60, scoring="agreement", samples=7)
    agreeing.settle()
    tokens = verbalize(agreeing, labels, chat=chat).tokens
    (shares,) = agreeing.ask([ScoreRequest("a", chat, tokens, words)])
    assert sum(map(math.exp, shares.logprobs)) == pytest.approx(1.0)
    assert shares.completion_tokens >= 7


def test_a_real_server_generates_scores_and_keeps_to_a_schema(
    engine, reference, embedded_teacher, tmp_path
):
    batch, expected = reference
    prompt, choices = batch[0].prompt, batch[0].choices
    chats = chat_requests(engine)
    answered = engine.ask(chats)
    engine.hand_over()

    environment = child_environment(vllm_hardware()[0], offline=True)
    # The server runs its engine in a child process.
    del environment["VLLM_ENABLE_V1_MULTIPROCESSING"]
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        embedded_teacher,
        "--served-model-name",
        "tiny",
    ]
    command += [
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--dtype",
        "float32",
        "--enforce-eager",
        "--block-size",
        "32",
    ]
    command += ["--max-model-len", "512", "--kv-cache-memory-bytes", str(2**29)]
    log = str(tmp_path / "server.log")
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_until_ready(process, port, log)
        teacher = ServerTeacher(f"http://127.0.0.1:{port}/v1", "tiny", timeout=60)
        assert teacher.tokenize(["play some jazz"]) == engine.tokenize(["play some jazz"])
        score, text, structured, long = teacher.ask(
            [
                *batch,
                GenerateRequest(
                    "j",
                    "A city as JSON: ",
                    Sampling(temperature=0.0, max_tokens=40),
                    json_schema=SCHEMA,
                ),
                GenerateRequest("l", "word " * 600, Sampling(max_tokens=4)),
            ]
        )
        assert teacher.notes == []
        assert score.logprobs == pytest.approx(expected[0].logprobs, abs=1e-3)
        assert (text.text, text.tokens) == (expected[1].text, expected[1].tokens)
        assert (structured.error, structured.text[0]) == ("", "{")
        assert long.error
        top = ServerTeacher(f"http://127.0.0.1:{port}", "tiny", scoring="top").ask(
            [ScoreRequest("s", prompt, (choices[0],))]
        )[0]
        assert top.logprobs == pytest.approx(score.logprobs[:1], abs=1e-3)
        check_chats(f"http://127.0.0.1:{port}", chats, answered)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
