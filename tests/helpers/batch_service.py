"""A batch service: it answers files of requests, as OpenAI's or ``vllm run-batch`` does."""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers.fake_server import Answer, chat_reply
from tests.helpers.teachers import KEYWORDS

LABELS = (*KEYWORDS, "person", "place", "organization", "none")
_NAME = re.compile(r"\b[A-Z]\w+ [A-Z]\w+")


def answered(path: str, body: dict[str, Any]) -> Answer:
    """Answers by the messages alone: scores of labels, or a name of the text as an entity."""
    if path != "/v1/chat/completions":
        return 404, {"detail": "Not Found"}
    asked = str(body["messages"][-1]["content"])
    if body.get("logprobs"):
        text = json.dumps(body["messages"])
        top = {one: -1 - zlib.crc32(f"{text} {one}".encode()) % 500 / 100 for one in LABELS}
        return 200, chat_reply(max(top, key=lambda one: top[one]), top, model="m")
    if "bird" in json.dumps(body.get("response_format")):
        return 200, chat_reply('{"bird": "canary"}', model="m")
    found = [{"quote": one, "type": "person", "occurrence": 1} for one in _NAME.findall(asked)]
    return 200, chat_reply(json.dumps(found[-1:]), model="m")


Service = Callable[[str, dict[str, Any]], Answer]


def lines_of(requests: Path, service: Service = answered) -> list[dict[str, Any]]:
    """The replies to all files of a folder, in an order of their own."""
    found = []
    for file in sorted(requests.glob("requests-*.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            request = json.loads(line)
            code, body, *_ = service(request["url"], request["body"])
            found.append(
                {
                    "id": f"reply-{len(found)}",
                    "custom_id": request["custom_id"],
                    "response": {"status_code": code, "request_id": "r", "body": body},
                    "error": None,
                }
            )
    random.Random(len(found)).shuffle(found)
    return found


def answer_files(requests: Path, replies: Path, service: Service = answered) -> Path:
    """Writes the replies to all files of a folder into one file."""
    replies.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines_of(requests, service))
    replies.write_text(text, "utf-8")
    return replies
