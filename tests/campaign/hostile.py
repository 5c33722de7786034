"""Teachers of which a share of the replies is hostile, and the hostile replies themselves."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from tests.helpers.ner_teacher import NameTeacher
from tests.helpers.teachers import LabelWritingTeacher

from tutelage.teacher.base import GenerateRequest, OnReply, Reply, Request, ScoreRequest

PIECES = (
    "\ud83d",
    "\udc00\ud800",
    "\x00",
    "\x1b[2J",
    "\u202e",
    "\u200b\ufeff",
    "\u0301" * 40,
    "\n\n\n",
    "\r",
    "\u2028",
    "<script>alert(1)</script>",
    "{{ 7*7 }}",
    "[/INST]",
    "</think>",
    "<|im_end|>",
    '{"text": "',
    "]}" * 30,
    "[" * 3000,
    "9" * 400,
    "1e999",
    "NaN",
    "null",
    "\\ud83d",
    "Label: ",
    "1. ",
    '"',
    "|" * 50,
    "a" * 5000,
    "ﷺ" * 200,
    "👩‍👩‍👧‍👦",
)


def hostile_text(rng: random.Random, sound: str) -> str:
    """A reply made of odd pieces, of the sound reply, or of both."""
    kind = rng.randrange(6)
    if kind == 0:
        return "".join(rng.choices(PIECES, k=rng.randint(1, 4)))
    if kind == 1:
        at = rng.randint(0, len(sound))
        return sound[:at] + rng.choice(PIECES) + sound[at:]
    if kind == 2:
        return sound[: rng.randint(0, len(sound))]
    if kind == 3:
        return json.dumps(_json(rng, 3))
    if kind == 4:
        return "".join(
            chr(rng.choice((rng.randrange(0x250), rng.randrange(0xE000)))) for _ in sound
        )
    return sound * rng.randint(2, 30)


def _json(rng: random.Random, depth: int) -> Any:
    kind = rng.randrange(9 if depth else 6)
    if kind < 6:
        return (None, True, 10**30, "\ud800", "", [{"quote": 3, "type": None}])[kind]
    if kind < 8:
        return [_json(rng, depth - 1) for _ in range(rng.randrange(4))]
    keys = ("quote", "type", "occurrence", "text", "entities")
    return {key: _json(rng, depth - 1) for key in rng.sample(keys, rng.randrange(1, 5))}


def hostile_scores(rng: random.Random, sound: Sequence[float]) -> tuple[float, ...]:
    """Scores at the edge of what a language model may say; the engines refuse worse ones."""
    return tuple(rng.choice((value, 0.0, -1e-9, -9999.0, -1e30)) for value in sound)


class _Hostile(LabelWritingTeacher):
    """Answers a share of the requests with hostile replies; a reply depends on its request only."""

    def __init__(self, *, share: float = 0.5, **settings: Any) -> None:
        super().__init__(**settings)
        self._share = share

    @property
    def fingerprint(self) -> str:
        return f"hostile:{super().fingerprint}:{self._share}"

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        return super().ask(requests, on_reply)

    def _reply(self, request: Request) -> Reply:
        rng = random.Random(f"hostile {request!r}")
        if rng.random() >= self._share:
            return super()._reply(request)
        if rng.random() < 0.1:
            return Reply(request.id, error=f"refused: {rng.choice(PIECES)}")
        sound = super()._reply(request)
        huge = rng.choice((0, 1, 10**6))
        if isinstance(request, ScoreRequest):
            logprobs = hostile_scores(rng, sound.logprobs)
            return Reply(request.id, "", logprobs, sound.prompt_tokens, 1 + huge, "length")
        assert isinstance(request, GenerateRequest)
        text = hostile_text(rng, sound.text)
        finish = rng.choice(("stop", "length", "content_filter", "\ud800"))
        return Reply(request.id, text, (), sound.prompt_tokens, huge, finish)


class HostileLabelWriter(_Hostile):
    """The hostile teacher of classification runs."""


class HostileNamer(_Hostile, NameTeacher):
    """The hostile teacher of NER runs."""
