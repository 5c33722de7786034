"""What every engine and wrapper speaks: requests in, replies out in the same order. It knows nothing of tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

OnReply = Callable[["Reply"], None]
"""Called for each reply as it arrives, in any order, before ``ask`` returns; caches write and progress bars move here."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a continuation is drawn. ``temperature`` 0 is greedy; ``stop`` strings end it and are not part of the text."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 64
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """Continue ``prompt``.

    Attributes:
        id: unique in its batch; not part of the cache key.
        seed: the draw's sampling seed, derived from (run seed, round, draw).
        json_schema: a JSON schema (as text) that the reply must fit, or "" for free text.
    """

    id: str
    prompt: str
    sampling: Sampling
    seed: int = 0
    json_schema: str = ""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Read, from one prefill of ``prompt``, the log-probability that each choice comes next.

    Attributes:
        choices: one token each, as token ids of the engine's own tokenizer; at most 128.
    """

    id: str
    prompt: str
    choices: tuple[int, ...]


Request = GenerateRequest | ScoreRequest


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one request.

    Attributes:
        text: the continuation; "" for a score.
        logprobs: natural-log probabilities of the choices, raw (before any mask); empty for a generation.
        error: why there is no answer; "" when there is one. A failed reply is never cached.
        cached: True when nothing was sent for it.
    """

    id: str
    text: str = ""
    logprobs: tuple[float, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str = ""
    error: str = ""
    cached: bool = False

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens together: what is billed."""
        return self.prompt_tokens + self.completion_tokens


class Teacher(Protocol):
    """An engine, or a wrapper around one."""

    @property
    def fingerprint(self) -> str:
        """Names the model and the engine settings that change an answer; part of every cache key."""
        ...

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answer every request, in order: as many replies as requests, each with its request's id.

        Raises:
            TeacherError: the engine died or never answered; replies that came before were given to ``on_reply``.
        """
        ...

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, with no special tokens added."""
        ...

    def close(self) -> None:
        """Free the engine. Asking afterwards is an error; closing twice is not."""
        ...


def request_to_dict(request: Request) -> dict[str, Any]:
    """A JSON form of a request, with its kind."""
    return {
        "kind": "generate" if isinstance(request, GenerateRequest) else "score",
        **asdict(request),
    }


def reply_from_dict(record: dict[str, Any]) -> Reply:
    """Read a Reply from its JSON form."""
    return Reply(**{**record, "logprobs": tuple(record["logprobs"])})
