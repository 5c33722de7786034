"""Finds out what a server is and can do, with a few short requests."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tutelage.errors import TeacherError
from tutelage.teacher import structured
from tutelage.teacher.engines.server_chat import ChatSurvey
from tutelage.teacher.engines.server_client import ServerClient
from tutelage.teacher.engines.server_errors import Lasting, NotFoundError, Refused
from tutelage.teacher.engines.server_replies import (
    Completion,
    TopToken,
    read_completion,
    top_tokens,
)
from tutelage.teacher.engines.server_requests import (
    COMPLETIONS,
    EXACT,
    MORE,
    SCHEMAS,
    TOPS,
    Way,
    completion_body,
)

PROBE = "Question: is snow cold?\nAnswer (yes or no):"
TOKENS = (10, 20)
"""Ids that every vocabulary has."""
CANARY = (
    '{"type":"object","properties":{"bird":{"enum":["canary"]}},"required":["bird"],'
    '"additionalProperties":false}'
)
"""A schema that no free reply fits, to find servers that ignore schemas."""


@dataclass(slots=True)
class Spent:
    """Requests that the survey of a server made.

    Attributes:
        requests: Their number.
        tokens: Their prompt and completion tokens, as far as the server says.
    """

    requests: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Survey:
    """What a server is, and how it scores.

    Attributes:
        name: What the server calls its model, where that is not the configured name.
        reply_model: The field ``model`` of its replies; "" if there is none.
        way: The way to score; None if there is none.
        no_way: Why there is none.
        chat: How it answers messages.
        completes: Whether it continues texts.
    """

    name: str
    reply_model: str
    way: Way | None
    no_way: str
    chat: ChatSurvey = field(default_factory=ChatSurvey)
    completes: bool = True


@dataclass(frozen=True, slots=True)
class Prober:
    """Sends short requests to a server.

    Attributes:
        client: The client of the server.
        model: Name of the model on the server.
        retries: Further attempts of each request; None for those of the connection.
        spent: Counts the requests.
    """

    client: ServerClient
    model: str
    retries: int | None = None
    spent: Spent = field(default_factory=Spent)

    async def survey(self, scoring: str) -> Survey:
        """Asks for one token, then for its probabilities in ever simpler ways.

        Args:
            scoring: The setting ``teacher.scoring``.

        Raises:
            Lasting: The server does not answer.
            TeacherError: The server refused the key, or has no completions of this model.
        """
        reply_model = ""
        try:
            reply_model = self.client.clean((await self.complete({})).model)
        except NotFoundError as error:
            raise await self.not_there(error) from error
        except (Refused, ValueError):
            pass  # Whatever is wrong with this request need not be wrong with others.
        name = await self.name(reply_model)
        if scoring in ("agreement", "decisions"):
            no_way = f"teacher.scoring={scoring} asks in messages, which need prompt=chat"
            return Survey(name, reply_model, None, no_way)
        # What was asked for is not tested: a server without it is an error of the first score.
        if scoring == "exact":
            return Survey(name, reply_model, EXACT, "")
        way, no_way = await self.scoring(scoring == "auto")
        return Survey(name, reply_model, way, no_way)

    async def complete(self, fields: dict[str, Any], max_tokens: int = 1) -> Completion:
        """Asks to continue a short prompt.

        Raises:
            Refused: The server refused the request.
            Lasting: Every attempt failed.
            ValueError: The reply is no completion.
            TeacherError: The server refused the key, or has no completions of this model.
        """
        body = completion_body(self.model, PROBE, max_tokens, 0.0) | fields
        answer = await self.client.post(COMPLETIONS, body, retries=self.retries)
        return self.count(read_completion(answer))

    def count(self, reply: Completion) -> Completion:
        """Counts the reply to a request of the survey, and returns it."""
        self.spent.requests += 1
        self.spent.tokens += (reply.prompt_tokens or 0) + (reply.completion_tokens or 0)
        return reply

    async def scoring(self, try_exact: bool) -> tuple[Way | None, str]:
        """Finds the best way to score.

        Only a refusal, or a reply without probabilities, leads to the next way: a busy server is no
        reason for worse scores.

        Returns:
            The way, or None with the reason.

        Raises:
            Lasting: The server does not answer.
        """
        reason = ""
        for way in (EXACT, *TOPS) if try_exact else TOPS:
            try:
                reply = await self.complete(way.fields(TOKENS))
                tokens = top_tokens(reply.logprobs)
                if way.exact and not has_all(tokens, TOKENS):
                    continue
                return await more_tokens(way, tokens, self._top), ""
            except (Refused, NotFoundError) as error:
                said = error.said if isinstance(error, NotFoundError) else str(error)
                reason = f"it refuses log-probabilities: {said}"
            except ValueError as error:
                reason = f"its reply is not usable: {self.client.clean(str(error))}"
        return None, reason

    async def _top(self, way: Way) -> Any:
        return (await self.complete(way.fields(TOKENS))).logprobs

    async def listed(self) -> list[dict[str, Any]]:
        """Returns the entries of ``/v1/models``; none if the server has no such list."""
        try:
            answer = await self.client.get("/v1/models")
        except (Refused, Lasting, ValueError, TeacherError):
            return []
        entries = answer.get("data") if isinstance(answer, dict) else answer
        entries = entries if isinstance(entries, list) else []
        return [entry for entry in entries if isinstance(entry, dict) and _text(entry, "id")]

    async def schemas(self) -> tuple[str, str]:
        """Finds out how to ask for a JSON schema.

        Returns:
            One of :data:`SCHEMAS`, or "" with the reason why the server does not enforce schemas.

        Raises:
            Lasting: The server does not answer.
        """
        reason = ""
        for name, fields in SCHEMAS.items():
            try:
                reply = await self.complete(fields(CANARY), 48)
                structured.validate(reply.text, CANARY)
                return name, ""
            except (Refused, ValueError) as error:
                # The standard form says more about the server.
                reason = reason or self.client.clean(str(error))
        return "", reason

    async def seconds(self) -> float:
        """Returns the duration of one request for 8 tokens.

        Raises:
            Lasting: The server does not answer.
        """
        began = time.perf_counter()
        await self.complete({}, 8)
        return time.perf_counter() - began

    async def name(self, reply_model: str) -> str:
        """Returns what the server calls its model, where that is not the configured name."""
        names = _other_names(self.model, reply_model, await self.listed())
        return self.client.clean(" / ".join(names))

    async def not_there(self, error: NotFoundError) -> TeacherError:
        """Returns what to do about a model or an address that is not there."""
        server = self.client.root
        names = [str(entry["id"]) for entry in await self.listed()]
        if names and self.model not in names:
            shown = self.client.clean(", ".join(names[:10]))
            return TeacherError(
                f"the server at {server} has no model {self.model!r} ({error.said}). Set "
                f"teacher.model to one that it has: {shown}."
            )
        return error


async def more_tokens(
    way: Way, tokens: Sequence[TopToken], ask: Callable[[Way], Awaitable[Any]]
) -> Way:
    """Returns a way to more tokens for servers like llama.cpp, the same way for others.

    Args:
        way: A way that the server takes.
        tokens: Its likely tokens.
        ask: Asks for the log-probabilities in another way.
    """
    if way.exact or not any(token.stated_id is not None for token in tokens):
        return way
    try:
        more = top_tokens(await ask(MORE))
    except (Refused, NotFoundError, ValueError):
        return way
    return MORE if len(more) > len(tokens) else way


def has_all(tokens: Sequence[TopToken], choices: Sequence[int]) -> bool:
    """Returns whether a list has the id of every choice."""
    return {*choices} <= {token.id for token in tokens}


def _other_names(model: str, reply_model: str, listed: list[dict[str, Any]]) -> list[str]:
    """What tells the served model from another one under the same name."""
    own = [entry for entry in listed if entry["id"] == model]
    entry = own[0] if own else listed[0] if len(listed) == 1 else {}
    names = [reply_model, _text(entry, "id"), _text(entry, "root")]
    meta = entry.get("meta")
    # llama.cpp calls every model as it was asked for.
    for count in ("n_params", "size"):
        value = meta.get(count) if isinstance(meta, dict) else None
        names += [f"{count} {value}"] if type(value) is int else []
    return list(dict.fromkeys(name for name in names if name and name != model))


def _text(entry: dict[str, Any], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""
