"""A teacher behind an OpenAI-compatible server, for instance ``vllm serve``."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from tutelage.errors import ConfigError, TeacherError, did_you_mean
from tutelage.teacher import structured
from tutelage.teacher.base import GenerateRequest, OnReply, Reply, Request, ScoreRequest
from tutelage.teacher.engines.model_files import (
    fingerprint_of,
    load_tokenizer,
    resolve_model,
    token_ids,
)
from tutelage.teacher.engines.server_client import NotFoundError, Refused, ServerClient, run_async
from tutelage.teacher.replies import ReplyCollector

_SCORINGS = ("auto", "exact", "top")
_TOP = (20, 5)
"""Numbers of most likely tokens to try for scores without ``logprob_token_ids``.

The first is vLLM's limit, the second OpenAI's.
"""
_CANARY = (
    '{"type":"object","properties":{"bird":{"enum":["canary"]}},"required":["bird"],'
    '"additionalProperties":false}'
)
"""A schema that no free reply fits, to find servers that ignore schemas."""


class ServerTeacher:
    """Sends prompts as text to ``/v1/completions`` of an OpenAI-compatible server.

    Args:
        url: Address of the server, with or without ``/v1``; http or https.
        model: Name of the model on the server.
        api_key_env: Environment variable with the API key. The variable may be unset if the server
            needs no key.
        concurrency: Largest number of requests at once.
        timeout: Longest duration of a request, in seconds.
        retries: Further attempts after HTTP 408, 429, 5xx and connection errors.
        scoring: Source of label probabilities. "exact" requests the log-probabilities of the
            choices alone (vLLM's ``logprob_token_ids``). "top" requests the most likely tokens; a
            choice missing from them gets the lowest log-probability in the reply. "auto" uses
            "exact" if the server supports it, and "top" otherwise.
        tokenizer: Tokenizer of the model: a folder or a hub id. null or "" uses the server's
            ``/tokenize``; a server without it gets the tokenizer of the hub id ``model``.
        backoff: Longest first pause before another attempt, in seconds. It doubles with each
            attempt, with jitter, up to 60 seconds.

    Attributes:
        notes: Limitations of this server for readers of the results: one line if "auto" had to use
            "top", so that small probabilities are too large.

    Raises:
        ConfigError: ``url`` is not an address or contains a password, or ``scoring`` is unknown.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 16,
        timeout: float = 120.0,
        retries: int = 5,
        scoring: Literal["auto", "exact", "top"] = "auto",
        tokenizer: str | None = None,
        backoff: float = 0.5,
    ) -> None:
        # A password in the address would end up in the fingerprint and in messages.
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigError(
                f"teacher.url={url!r} is not an address. Use one like http://localhost:8000/v1."
            )
        if parts.username or parts.password:
            raise ConfigError(
                "teacher.url contains a password. Put the API key into the environment variable "
                f"{api_key_env} instead."
            )
        if scoring not in _SCORINGS:
            raise ConfigError(did_you_mean("teacher.scoring", scoring, _SCORINGS))
        self._root = urlunsplit(
            (parts.scheme, parts.netloc, parts.path.rstrip("/").removesuffix("/v1"), "", "")
        )
        self._model = model
        self._settings: dict[str, Any] = {
            "api_key_env": api_key_env,
            "concurrency": concurrency,
            "timeout": timeout,
            "retries": retries,
            "backoff": backoff,
        }
        self._configured_scoring = scoring
        self._scoring: str = scoring
        self._top = _TOP[0]
        self._tokenizer_name = tokenizer or ""
        self._tokenizer: Any = None
        self._structured = False
        self._closed = False
        self.notes: list[str] = []

    @property
    def fingerprint(self) -> str:
        """Identifies the address, the name of the model and the way of scoring.

        It cannot tell which weights the server runs under that name.
        """
        return fingerprint_of(
            "server", url=self._root, model=self._model, scoring=self._configured_scoring
        )

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answers every request, in order.

        Raises:
            TeacherError: The server cannot be reached, refused the key or the model, kept failing,
                or ignores JSON schemas.
            ValueError: An id occurs twice.
        """
        collector = ReplyCollector(requests, on_reply)
        if self._closed:
            raise TeacherError("the teacher was asked after it was closed; build a new one.")
        if not requests:
            return []

        # All requests of the batch at once; the client bounds their number. A fatal error cancels
        # the rest, so that no task outlives its event loop.
        async def everything() -> None:
            async with ServerClient(self._root, **self._settings) as client:
                await self._prepare(client, requests)
                tasks = [asyncio.create_task(self._answer(client, request)) for request in requests]
                try:
                    for done in asyncio.as_completed(tasks):
                        collector.keep(await done)
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)

        run_async(everything)
        return collector.in_order()

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the token ids of each text, without special tokens.

        The configured tokenizer comes first, then the server's ``/tokenize``, then the tokenizer of
        the hub id ``model``.

        Raises:
            TeacherError: None of them is available.
        """
        # A server may lack /tokenize; any other failure is an error.
        if self._tokenizer is None and not self._tokenizer_name and texts:
            rows: list[list[int]] = []
            try:
                run_async(lambda: self._tokenize_there(texts, rows))
            except NotFoundError:
                pass
            else:
                return rows
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(resolve_model(self._tokenizer_name or self._model))
        return token_ids(self._tokenizer, texts)

    def close(self) -> None:
        """Closes the teacher. No connection is open between batches."""
        self._closed = True

    async def _tokenize_there(self, texts: Sequence[str], rows: list[list[int]]) -> None:
        async with ServerClient(self._root, **self._settings) as client:
            bodies = [
                {"model": self._model, "prompt": text, "add_special_tokens": False}
                for text in texts
            ]
            try:
                answers = await asyncio.gather(*(client.post("/tokenize", body) for body in bodies))
            except Refused as error:
                raise TeacherError(
                    f"the server at {self._root} refused to tokenize: {error}. Set "
                    "teacher.tokenizer to the model's tokenizer (a folder or a hub id)."
                ) from error
        for answer in answers:
            tokens = answer.get("tokens") if isinstance(answer, dict) else None
            if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
                raise TeacherError(
                    f"the server at {self._root} answered /tokenize with no token ids. Set "
                    "teacher.tokenizer to the model's tokenizer (a folder or a hub id)."
                )
            rows.append(tokens)

    async def _prepare(self, client: ServerClient, requests: Sequence[Request]) -> None:
        """Tests the server's abilities once, before it can silently ignore a field of a request."""
        if self._scoring == "auto":
            first = next(
                (
                    request
                    for request in requests
                    if isinstance(request, ScoreRequest) and request.choices
                ),
                None,
            )
            if first is not None:
                await self._choose_scoring(client, first)
        # Schemas next. One that no free reply fits reveals whether the server enforces schemas.
        if not self._structured and any(
            isinstance(request, GenerateRequest) and request.json_schema for request in requests
        ):
            body = self._body("Write one word:", 48, 0.0) | structured.server_fields(_CANARY)
            try:
                text, _, _, _ = _read(await client.post("/v1/completions", body))
                structured.validate(text, _CANARY)
            except (Refused, ValueError) as error:
                raise TeacherError(
                    f"the server at {self._root} does not enforce JSON schemas ({error}). Use "
                    "teacher=vllm, a server with support for response_format=json_schema, or a "
                    "prompt without a schema."
                ) from error
            self._structured = True

    async def _choose_scoring(self, client: ServerClient, request: ScoreRequest) -> None:
        # A server without exact scores fails this request. HTTP 404 means a wrong model or address.
        self._scoring = "exact"
        try:
            if not (await self._answer(client, request)).error:
                return
        except NotFoundError:
            raise
        except TeacherError:
            pass
        # Use the largest number of tokens that the server accepts.
        self._scoring = "top"
        for self._top in _TOP:
            if not (await self._answer(client, request)).error:
                break
        self.notes.append(
            f"{self._root} returns only the {self._top} most likely tokens. A choice missing from "
            "them gets the lowest log-probability in the reply, so small probabilities are too "
            "large."
        )

    def _body(self, prompt: str, max_tokens: int, temperature: float) -> dict[str, Any]:
        return {
            "model": self._model,
            "prompt": prompt,
            "max_tokens": max_tokens,
            "temperature": temperature,
        }

    async def _answer(self, client: ServerClient, request: Request) -> Reply:
        try:
            if isinstance(request, ScoreRequest):
                return await self._score(client, request)
            return await self._generate(client, request)
        except Refused as error:
            return Reply(request.id, error=f"the server refused the request: {error}")
        except ValueError as error:
            return Reply(request.id, error=f"the server's reply is not usable: {error}")

    async def _generate(self, client: ServerClient, request: GenerateRequest) -> Reply:
        sampling = request.sampling
        body = self._body(request.prompt, sampling.max_tokens, sampling.temperature)
        body |= {"top_p": sampling.top_p, "seed": request.seed & (2**63 - 1)}
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if sampling.top_k > 0:
            # top_k is not part of OpenAI's own interface, which refuses unknown fields.
            body["top_k"] = sampling.top_k
        if request.json_schema:
            body |= structured.server_fields(request.json_schema)
        text, prompt_tokens, completion_tokens, choice = _read(
            await client.post("/v1/completions", body)
        )
        error = ""
        if request.json_schema:
            try:
                structured.validate(text, request.json_schema)
            except ValueError as mismatch:
                error = (
                    f"the reply {mismatch}; it ended by {choice.get('finish_reason')!r} (by "
                    "'length': raise max_tokens)"
                )
        finish = str(choice.get("finish_reason") or "")
        return Reply(request.id, text, (), prompt_tokens, completion_tokens, finish, error)

    async def _score(self, client: ServerClient, request: ScoreRequest) -> Reply:
        if not 1 <= len(request.choices) <= 128:
            return Reply(
                request.id,
                error=f"a score takes 1 to 128 choices, this one has {len(request.choices)}",
            )
        # Tokens are named "token_id:7", because several tokens can have the same text.
        body = self._body(request.prompt, 1, 0.0) | {
            "logprobs": 1,
            "return_tokens_as_token_ids": True,
        }
        if self._scoring == "exact":
            body["logprob_token_ids"] = list(request.choices)
        else:
            body["logprobs"] = self._top
        _, prompt_tokens, _, choice = _read(await client.post("/v1/completions", body))
        seen = _top_logprobs(choice)
        if self._scoring == "exact":
            missing = [token for token in request.choices if f"token_id:{token}" not in seen]
            if missing:
                raise ValueError(
                    f"no log-probability for choice {missing[0]}; this server does not know "
                    "logprob_token_ids"
                )
            values = [seen[f"token_id:{token}"] for token in request.choices]
        else:
            # Servers without ids name tokens by their text.
            names = await self._names(
                request.choices, by_id=any(name.startswith("token_id:") for name in seen)
            )
            floor = min(seen.values())
            values = [seen.get(name, floor) for name in names]
        return Reply(request.id, "", tuple(values), prompt_tokens, 1, "length")

    async def _names(self, choices: Sequence[int], *, by_id: bool) -> list[str]:
        if by_id:
            return [f"token_id:{token}" for token in choices]
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(resolve_model(self._tokenizer_name or self._model))
        return [self._tokenizer.decode([token]) for token in choices]


def _read(answer: Any) -> tuple[str, int, int, dict[str, Any]]:
    """Returns the text, prompt tokens, completion tokens and whole choice of a completion.

    Raises:
        ValueError: The answer is malformed.
    """
    if not isinstance(answer, dict):
        raise ValueError(f"the body is {type(answer).__name__}, not an object")
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise ValueError("it does not hold exactly one choice")
    text = choices[0].get("text")
    if not isinstance(text, str):
        raise ValueError("its text is missing")
    # Without token counts a budget would never be reached.
    usage = answer.get("usage")
    prompt, completion = (
        (usage.get("prompt_tokens"), usage.get("completion_tokens"))
        if isinstance(usage, dict)
        else (None, None)
    )
    if (
        not isinstance(prompt, int)
        or not isinstance(completion, int)
        or prompt < 0
        or completion < 0
    ):
        raise ValueError("its token counts are missing, so it cannot be billed")
    return text, prompt, completion, choices[0]


def _top_logprobs(choice: dict[str, Any]) -> dict[str, float]:
    logprobs = choice.get("logprobs")
    rows = logprobs.get("top_logprobs") if isinstance(logprobs, dict) else None
    if not isinstance(rows, list) or not rows or not isinstance(rows[0], dict) or not rows[0]:
        raise ValueError("it holds no log-probabilities")
    for name, value in rows[0].items():
        if not isinstance(value, int | float) or not math.isfinite(value) or value > 1e-6:
            raise ValueError(f"the log-probability of {name!r} is {value!r}")
    return {name: float(value) for name, value in rows[0].items()}
