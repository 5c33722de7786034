"""Test doubles of the teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tutelage.teacher.base import OnReply, Reply, Request, ScoreRequest
from tutelage.teacher.replies import check_batch

Script = Callable[[Request], Reply | str | Sequence[float]]
"""Answers a request with a reply, a text, or log-probabilities."""


def echo(request: Request) -> str | list[float]:
    """Answers from the request alone."""
    if isinstance(request, ScoreRequest):
        return [-float(1 + (token + len(request.prompt)) % 7) for token in request.choices]
    return f"{request.prompt} #{request.seed}"


class ScriptedTeacher:
    """A teacher whose replies come from a function; records every request and every batch.

    Tokens are characters: ``tokenize`` returns code points, and replies count characters.
    """

    def __init__(self, script: Script = echo, fingerprint: str = "scripted:1") -> None:
        self.script = script
        self.asked: list[Request] = []
        self.batches: list[list[str]] = []
        self.closed = 0
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        check_batch(requests)
        self.batches.append([request.id for request in requests])
        replies = []
        for request in requests:
            self.asked.append(request)
            reply = self._reply(request)
            replies.append(reply)
            if on_reply is not None:
                on_reply(reply)
        return replies

    def _reply(self, request: Request) -> Reply:
        said = self.script(request)
        if isinstance(said, Reply):
            return said
        length = len(str(request.prompt))
        if isinstance(said, str):
            return Reply(
                request.id,
                text=said,
                prompt_tokens=length,
                completion_tokens=len(said),
                finish_reason="stop",
            )
        return Reply(
            request.id,
            logprobs=tuple(said),
            prompt_tokens=length,
            completion_tokens=1,
            finish_reason="length",
        )

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [[ord(letter) for letter in text] for text in texts]

    def close(self) -> None:
        self.closed += 1
