"""ServerTeacher with a real vLLM server on the loopback interface."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tutelage.teacher.base import GenerateRequest, Sampling, ScoreRequest
from tutelage.teacher.engines.hardware import child_environment, vllm_hardware
from tutelage.teacher.engines.server import ServerTeacher

pytestmark = pytest.mark.vllm

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


def test_a_real_server_generates_scores_and_keeps_to_a_schema(
    engine, reference, embedded_teacher, tmp_path
):
    batch, expected = reference
    prompt, choices = batch[0].prompt, batch[0].choices
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
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
