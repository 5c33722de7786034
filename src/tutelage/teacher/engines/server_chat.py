"""Bodies of chat requests, in forms that strict servers and thinking models accept, too."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tutelage.teacher.base import Chat, GenerateRequest, Message, Sampling
from tutelage.teacher.engines.server_requests import Form, Way
from tutelage.teacher.marks import defused
from tutelage.teacher.structured import server_fields

CHAT = "/v1/chat/completions"
DECISIONS = "/v1/decisions"

QUIET: dict[str, dict[str, Any]] = {
    "template": {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
    "none": {"reasoning_effort": "none"},
    "minimal": {"reasoning_effort": "minimal"},
    "think": {"think": False},
    "": {},
}
"""Fields that turn thinking off: those of vLLM, SGLang and llama.cpp; of OpenAI and Ollama; and
Ollama's own. "" sends none."""

ROOM = 2048
"""Tokens for the thoughts of a model that cannot be kept from thinking."""

CONSTRAINTS = ("choice", "schema", "")
"""Ways to keep an answer to the labels: vLLM's choices, a JSON schema, and none."""
_NAME = "label"


@dataclass(frozen=True, slots=True)
class ChatForm(Form):
    """The form of chat requests.

    Attributes:
        limit: Name of the field for the longest reply.
        temperature: Whether to send ``temperature`` and ``top_p``.
        quiet: How to turn thinking off, one of :data:`QUIET`.
        thinks: Whether the model thinks all the same.
        prefill: Whether the server continues a message of the assistant.
        several: Whether the server samples several answers in one request.
        constraint: How to keep an answer to the labels, one of :data:`CONSTRAINTS`.
    """

    limit: str = "max_tokens"
    temperature: bool = True
    quiet: str = "template"
    thinks: bool = False
    prefill: bool = True
    several: bool = True
    constraint: str = ""

    def body(self, model: str, request: GenerateRequest) -> dict[str, Any]:
        """Returns the request body."""
        assert isinstance(request.prompt, Chat)
        sampling = self.granted(request)
        body = self.asked(model, request.prompt, sampling.max_tokens, sampling.temperature)
        body |= self.options(request, sampling)
        if not self.temperature:
            del body["top_p"]
        return body

    def granted(self, request: GenerateRequest) -> Sampling:
        """Returns the sampling settings with room for thoughts, which no stop string may end."""
        sampling = request.granted
        if self.thinks and sampling == request.sampling and not request.json_schema:
            return replace(sampling, max_tokens=sampling.max_tokens + ROOM, stop=())
        return sampling

    def asked(self, model: str, chat: Chat, max_tokens: int, temperature: float) -> dict[str, Any]:
        """Returns the fields that every request has."""
        body: dict[str, Any] = {
            "model": model,
            self.limit: max_tokens,
            **({"temperature": temperature} if self.temperature else {}),
            **self.rendering(chat),
        }
        return body

    def rendering(self, chat: Chat) -> dict[str, Any]:
        """Returns the messages and the fields for the server's chat template."""
        return {
            "messages": messages_of(chat if self.prefill else without_prefill(chat)),
            **(_CONTINUED if chat.is_prefilled and self.prefill else {}),
            **self._thinking(bool(chat.thinking)),
        }

    def _thinking(self, on: bool) -> dict[str, Any]:
        if not on:
            return QUIET[self.quiet]
        if self.quiet != "template":
            return {}
        return {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}}

    def constrained(self, words: Sequence[str]) -> dict[str, Any]:
        """Returns the fields that keep an answer to the words."""
        if self.constraint == "choice":
            return {"structured_outputs": {"choice": list(words)}}
        return server_fields(labels_schema(words)) if self.constraint == "schema" else {}

    def simpler(self, refusal: str, request: GenerateRequest) -> ChatForm | None:
        """Returns the form without what a server refused; None if its message names no such part.

        Args:
            refusal: The server's message.
            request: The refused request.
        """
        assert isinstance(request.prompt, Chat)
        if found := self.accepted(refusal, request.prompt):
            return found
        form = Form.simpler(self, refusal, request)
        return form if isinstance(form, ChatForm) else None

    def accepted(self, refusal: str, chat: Chat) -> ChatForm | None:
        """Returns the form of a chat without what a server refused."""
        if self.limit == "max_tokens" and "max_completion_tokens" in refusal:
            return replace(self, limit="max_completion_tokens")
        if self.temperature and re.search(r"\b(temperature|top_p)\b", refusal):
            return replace(self, temperature=False)
        if self.quiet and any(name in refusal for name in QUIET[self.quiet]):
            return replace(self, quiet="")
        if self.prefill and chat.is_prefilled and _PREFILL.search(refusal):
            return replace(self, prefill=False)
        return None

    def left_out(self) -> list[str]:
        """Settings of a text's sampling that the server refuses."""
        more = [] if self.temperature else ["temperature", "top_p"]
        return [*Form.left_out(self), *more]

    def remarks(self) -> list[str]:
        """Returns what a reader of the results should know."""
        begun = "the server continues no message, so replies are not begun for it"
        return [*Form.remarks(self), *([] if self.prefill else [begun])]


@dataclass(frozen=True, slots=True)
class ChatSurvey:
    """How a server answers messages.

    Attributes:
        form: The form of requests that it takes; None if it takes no messages.
        way: The way to score; None if there is none.
        no_way: Why there is none, or why it takes no messages.
        reply_model: The field ``model`` of its replies; "" if there is none.
    """

    form: ChatForm | None = None
    way: Way | None = None
    no_way: str = ""
    reply_model: str = ""


_CONTINUED = {"add_generation_prompt": False, "continue_final_message": True}
_PREFILL = re.compile(
    r"continue_final_message|add_generation_prompt|prefill|(?:final|last) message", re.IGNORECASE
)


def messages_of(chat: Chat) -> list[dict[str, str]]:
    """Returns the messages as servers take them; the marks of templates in them are broken."""
    return [{"role": one.role, "content": defused(one.content)} for one in chat.messages]


def without_prefill(chat: Chat) -> Chat:
    """Returns a chat without the beginning of the reply."""
    return replace(chat, messages=chat.messages[:-1]) if chat.is_prefilled else chat


def labels_schema(words: Sequence[str]) -> str:
    """Returns the JSON schema of an answer that names one of the words."""
    return json.dumps(
        {
            "type": "object",
            "properties": {_NAME: {"type": "string", "enum": list(words)}},
            "required": [_NAME],
            "additionalProperties": False,
        }
    )


def decision_body(model: str, chat: Chat, words: Sequence[str]) -> dict[str, Any]:
    """Returns the body of a request to ``/v1/decisions``, in the form of OpenAI's beta.

    The last message is what the decision is about; all messages before it are instructions.

    Args:
        model: Name of the model on the server.
        chat: The chat.
        words: The options.
    """
    *before, last = without_prefill(chat).messages
    system = [one.content for one in before if one.role == "system"]
    shots = [one for one in before if one.role != "system"]
    shown = [str(Chat(tuple(shots)))] if shots else []
    return {
        "model": model,
        "input": last.content,
        "questions": [
            {
                "type": "choice",
                "name": _NAME,
                "instructions": "\n\n".join([*system, *shown]) or "Which one is it?",
                "choices": [{"value": word} for word in words],
            }
        ],
    }


PROBE = Chat((Message("user", "Is snow cold? Answer yes or no."),))
"""A short question that tells whether a server takes messages."""
