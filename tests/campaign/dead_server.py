"""A server that dies in the middle of a run and comes back for its resume."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.campaign.inputs import Inputs
from tests.campaign.outcome import Outcome
from tests.helpers import tiny
from tests.helpers.fake_server import Answer, FakeServer, completion
from tests.helpers.teachers import LabelWritingTeacher

from tutelage.errors import TeacherError
from tutelage.teacher.base import GenerateRequest, Sampling, ScoreRequest
from tutelage.teacher.engines.server_probe import PROBE


def measure(inputs: Inputs, scratch: Path, count: int, rng: random.Random) -> Outcome:
    """Let the server die ``count`` times, each after another number of answers."""
    outcome = Outcome("a dead server ends the run with advice; the resume pays for nothing twice")
    server = FakeServer()
    scripted = LabelWritingTeacher()
    try:
        answered: list[str] = []
        server.answer = _answers(scripted, answered, None)
        whole = tiny.grow(scratch / "whole", _overrides(inputs, server.url, scratch / "whole.db"))
        total = len(answered)
        for number in range(count):
            after = rng.randint(0, total - 1)
            answered = []
            folder, cache = scratch / f"death-{number}", scratch / f"death-{number}.db"
            overrides = _overrides(inputs, server.url, cache)
            faults = []
            server.answer = _answers(scripted, answered, after)
            try:
                tiny.grow(folder, overrides)
                faults.append("the run ended as if nothing were wrong")
            except TeacherError as error:
                if "server" not in str(error):
                    faults.append(f"a message without the server: {error}")
            server.answer = _answers(scripted, answered, None)
            result = tiny.grow(folder, [*overrides, f"resume={folder}"])
            if result["pool_hash"] != whole["pool_hash"]:
                faults.append("another pool hash")
            twice = len(answered) - len(set(answered))
            outcome.note("answers", len(answered))
            outcome.note("answers computed twice", twice)
            if twice:
                faults.append(f"{twice} answers were paid for twice")
            outcome.add(faults, name=f"death after {after} of {total} answers")
    finally:
        server.stop()
    return outcome


def _answers(
    teacher: LabelWritingTeacher, answered: list[str], dies_after: int | None
) -> Callable[[str, dict[str, Any]], Answer]:
    def answer(path: str, body: dict[str, Any]) -> Answer:
        if path.endswith("/models"):
            return 200, {"data": [{"id": "m"}]}
        if path == "/tokenize":
            return 200, {"tokens": [zlib.crc32(word.encode()) for word in body["prompt"].split()]}
        if dies_after is not None and len(answered) >= dies_after:
            return 0, b""  # the connection closes without an answer
        if body["prompt"] != PROBE:  # each process asks anew what the server can do
            answered.append(json.dumps(body, sort_keys=True))
        choices = body.get("logprob_token_ids")
        request = (
            ScoreRequest("0", body["prompt"], tuple(choices))
            if choices
            else GenerateRequest("0", body["prompt"], Sampling(), body.get("seed", 0))
        )
        (reply,) = teacher.ask([request])
        top = {f"token_id:{t}": v for t, v in zip(choices or (), reply.logprobs, strict=True)}
        return 200, completion(reply.text, top or None)

    return answer


def _overrides(inputs: Inputs, url: str, cache: Path) -> list[str]:
    return [
        *inputs.classification(str(cache)),
        "teacher=server",
        "teacher._target_=tutelage.teacher.engines.server.ServerTeacher",
        f"teacher.url={url}",
        "teacher.model=m",
        "teacher.retries=1",
        "teacher.backoff=0.001",
        f"teacher.cache={cache}",
        *tiny.EVOKD,
    ]
