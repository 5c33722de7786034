"""Stands in for vLLM's process: answers with a hostile teacher over the real channel.

    python -m tests.campaign.engine_child FILE_DESCRIPTOR

``engine.model`` in the start message names the teacher by its folder: "words" or "names".
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from tests.campaign.hostile import HostileLabelWriter, HostileNamer

from tutelage.teacher.base import GenerateRequest, Request, Sampling, ScoreRequest
from tutelage.teacher.engines.channel import Channel
from tutelage.teacher.engines.vllm_child import _watch


def serve(descriptor: int) -> None:
    """Answer until told to close."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    channel = Channel(socket.socket(fileno=descriptor))
    threading.Thread(target=_watch, args=(channel, inbox, os.getppid()), daemon=True).start()
    start = inbox.get()
    names = Path(start["engine"]["model"]).name == "names"
    teacher = HostileNamer() if names else HostileLabelWriter()
    channel.send({"op": "ready"})
    while (message := inbox.get())["op"] != "close":
        if message["op"] != "ask":
            continue
        for record in message["requests"]:
            (reply,) = teacher.ask([_request(record)])
            channel.send(
                {
                    "op": "reply",
                    "batch": message["batch"],
                    "index": record["index"],
                    "text": reply.text,
                    "logprobs": list(reply.logprobs),
                    "prompt_tokens": reply.prompt_tokens,
                    "completion_tokens": reply.completion_tokens,
                    "finish_reason": reply.finish_reason,
                    "error": reply.error,
                }
            )
        channel.send({"op": "done", "batch": message["batch"]})


def _request(record: dict[str, Any]) -> Request:
    if record["kind"] == "score":
        return ScoreRequest(record["id"], record["prompt"], tuple(record["choices"]))
    sampling = Sampling(**{**record["sampling"], "stop": tuple(record["sampling"]["stop"])})
    return GenerateRequest(
        record["id"], record["prompt"], sampling, record["seed"], record["json_schema"]
    )


if __name__ == "__main__":
    serve(int(sys.argv[1]))
