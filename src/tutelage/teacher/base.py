"""The protocol of engines and wrappers: requests in, replies out in the same order.

Nothing in this module depends on a task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

OnReply = Callable[["Reply"], None]
"""Called once per reply as it arrives, in any order, before ``ask`` returns.

Caches write their files and progress bars advance in this callback.
"""

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat.

    Attributes:
        role: Its author.
        content: Its text.
    """

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Chat:
    """A prompt of messages, which the engine renders with the model's own chat template.

    Attributes:
        messages: The messages, oldest first. If the last one is the assistant's, the reply
            continues it (a prefill); otherwise the reply is a new message of the assistant.
        thinking: Longest thinking before the answer, in tokens; 0 turns thinking off where the
            model's template can.
    """

    messages: tuple[Message, ...]
    thinking: int = 0

    @property
    def is_prefilled(self) -> bool:
        """Whether the reply continues the last message."""
        return bool(self.messages) and self.messages[-1].role == "assistant"

    def prefilled(self, text: str) -> Chat:
        """Returns the chat with the beginning of the reply given.

        Args:
            text: The beginning, or what follows the present prefill.
        """
        if not self.is_prefilled:
            return replace(self, messages=(*self.messages, Message("assistant", text)))
        last = self.messages[-1]
        return replace(
            self,
            messages=(*self.messages[:-1], Message("assistant", last.content + text)),
        )

    def __str__(self) -> str:
        """Returns the messages as readable text, each below its role."""
        return "\n\n".join(f"[{one.role}]\n{one.content}" for one in self.messages)


Prompt = str | Chat
"""A text to continue, or a chat to answer."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling settings of one continuation.

    Attributes:
        temperature: Softmax temperature; 0 decodes greedily.
        top_p: Probability mass of the nucleus, in (0, 1]; 1 keeps every token.
        top_k: Number of most likely tokens to sample from; 0 keeps every token.
        max_tokens: Longest continuation, in tokens.
        stop: Strings that end the continuation. The returned text stops before them.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 64
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A request to continue or answer ``prompt``.

    Attributes:
        id: Unique within its batch; not part of the cache key.
        prompt: The text to continue, or the chat to answer.
        sampling: Sampling settings of the continuation.
        seed: Sampling seed of this request, derived from (run seed, round, draw).
        json_schema: JSON schema (as text) of the reply, or "" for free text.
        teacher: Name of the teacher to ask, or "" for the run's own; not part of the cache key,
            which has the teacher's fingerprint.
    """

    id: str
    prompt: Prompt
    sampling: Sampling
    seed: int = 0
    json_schema: str = ""
    teacher: str = ""

    @property
    def granted(self) -> Sampling:
        """The sampling settings with room for thoughts, which no stop string may end."""
        room = self.prompt.thinking if isinstance(self.prompt, Chat) else 0
        if not room:
            return self.sampling
        return replace(self.sampling, max_tokens=self.sampling.max_tokens + room, stop=())


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """A request for the log-probability of each choice as the next token after ``prompt``.

    One prefill answers it; nothing is generated.

    Attributes:
        id: Unique within its batch; not part of the cache key.
        prompt: The text or the chat before the choices.
        choices: Token ids of the engine's own tokenizer, one per choice; 1 to 128 of them.
        words: The text of each choice, for servers that have no token ids; empty if unknown. Not
            part of the cache key.
        teacher: Name of the teacher to ask, or "" for the run's own; not part of the cache key,
            which has the teacher's fingerprint.
    """

    id: str
    prompt: Prompt
    choices: tuple[int, ...]
    words: tuple[str, ...] = ()
    teacher: str = ""


Request = GenerateRequest | ScoreRequest


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one request.

    Attributes:
        id: The request's id.
        text: The continuation; "" for a score.
        logprobs: Natural-log probabilities of the choices, in their order and before any mask;
            empty for a generation.
        prompt_tokens: Length of the prompt, in tokens.
        completion_tokens: Length of the continuation, in tokens; 1 for a score.
        finish_reason: "stop", "length" or a server's own word; "" for a failed request.
        error: Reason for a missing or unusable answer; "" on success. Failed replies are never
            cached.
        cached: True if no request was sent for this reply.
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
        """Prompt and completion tokens together: the billed amount."""
        return self.prompt_tokens + self.completion_tokens


class Teacher(Protocol):
    """Interface of an engine, or of a wrapper around one."""

    @property
    def fingerprint(self) -> str:
        """Identifies the model and every engine setting that changes an answer.

        It is part of every cache key.
        """
        ...

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answers a batch of requests.

        Args:
            requests: The batch; ids are unique within it.
            on_reply: Called once per reply as it arrives.

        Returns:
            One reply per request, in the order of the requests and with their ids.

        Raises:
            TeacherError: The engine died or never answered. Earlier replies of the batch have
                already been passed to ``on_reply``.
        """
        ...

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        """Returns the token ids of each text, without special tokens.

        A chat gives the ids of its rendered template, special tokens included.
        """
        ...

    def close(self) -> None:
        """Frees the engine. Closing twice is allowed; asking afterwards is an error."""
        ...


def request_to_dict(request: Request) -> dict[str, Any]:
    """Converts a request to JSON values, with its ``kind`` ("generate" or "score").

    A chat becomes an object with its messages.
    """
    # Spelt out because asdict is too slow for every request of a large pool.
    prompt = request.prompt if isinstance(request.prompt, str) else asdict(request.prompt)
    values: dict[str, Any]
    if isinstance(request, GenerateRequest):
        values = {
            "kind": "generate",
            "id": request.id,
            "prompt": prompt,
            "sampling": asdict(request.sampling),
            "seed": request.seed,
            "json_schema": request.json_schema,
        }
    else:
        values = {
            "kind": "score",
            "id": request.id,
            "prompt": prompt,
            "choices": request.choices,
        }
        if request.words:
            values["words"] = request.words
    if request.teacher:
        values["teacher"] = request.teacher
    return values


def prompt_content(prompt: Prompt) -> object:
    """Returns a prompt as JSON values for keys of caches: a text as it is, a chat as a list."""
    if isinstance(prompt, str):
        return prompt
    return [[[one.role, one.content] for one in prompt.messages], prompt.thinking]
