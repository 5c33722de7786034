"""A teacher behind an OpenAI-compatible address, for instance ``vllm serve``."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any
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
from tutelage.teacher.engines.server_client import Refused, ServerClient, run_async
from tutelage.teacher.replies import ReplyCollector

_SCORINGS = ("auto", "exact", "top")
_TOP = (20, 5)
"""How many log-probabilities to ask for where only the most likely can be had: vLLM's limit, then OpenAI's."""
_CANARY = '{"type":"object","properties":{"bird":{"enum":["canary"]}},"required":["bird"],"additionalProperties":false}'


class ServerTeacher:
    """Prompts as text to ``/v1/completions``.

    Args:
        url: the server's address, with or without ``/v1``.
        model: the model's name on the server.
        api_key_env: the environment variable with the key; not needed where the server asks for none.
        concurrency: requests at once.
        timeout: seconds a request may take.
        retries: further tries after HTTP 429, 5xx and connection errors.
        scoring: "exact" asks for the log-probabilities of just the choices (vLLM's ``logprob_token_ids``); "top" asks for the most likely
            tokens and gives a choice that is not among them the least log-probability that was seen; "auto" tries the first.
        tokenizer: a Hugging Face tokenizer; "" asks the server's ``/tokenize`` and falls back to the model's name.
        backoff: the first pause before a further try, in seconds.

    Attributes:
        notes: what a reader of the results should know, for instance that scores are bounded from below.
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
        scoring: str = "auto",
        tokenizer: str = "",
        backoff: float = 0.5,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigError(
                f"teacher.url={url!r} is no address; give one like http://localhost:8000/v1."
            )
        if parts.username or parts.password:
            raise ConfigError(
                f"teacher.url holds a password; give the key in the environment variable {api_key_env} instead."
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
        self._scoring = scoring
        self._top = _TOP[0]
        self._tokenizer_name = tokenizer
        self._tokenizer: Any = None
        self._structured = False
        self._closed = False
        self.notes: list[str] = []

    @property
    def fingerprint(self) -> str:
        """Names the address, the model and the way of scoring. What the server runs behind the name cannot be told."""
        return fingerprint_of(
            "server", url=self._root, model=self._model, scoring=self._configured_scoring
        )

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answer every request, in order.

        Raises:
            TeacherError: the server cannot be reached, refuses the key or model, keeps failing, or ignores a JSON schema.
            ValueError: an id occurs twice.
        """
        collector = ReplyCollector(requests, on_reply)
        if self._closed:
            raise TeacherError("the teacher was closed and asked again; build a new one.")
        if not requests:
            return []

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
        """Token ids of each text, with no special tokens added; by the server where it offers that, else by the tokenizer.

        Raises:
            TeacherError: neither can be had.
        """
        if self._tokenizer is None and not self._tokenizer_name and texts:
            rows: list[list[int]] = []
            try:
                run_async(lambda: self._tokenize_there(texts, rows))
            except TeacherError as error:
                if "HTTP 404" not in str(error):
                    raise
            else:
                return rows
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(resolve_model(self._tokenizer_name or self._model))
        return token_ids(self._tokenizer, texts)

    def close(self) -> None:
        """Nothing is kept open between batches."""
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
                    f"the server at {self._root} refused to tokenize: {error}. Name a tokenizer with teacher.tokenizer."
                ) from error
        for answer in answers:
            tokens = answer.get("tokens") if isinstance(answer, dict) else None
            if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
                raise TeacherError(
                    f"the server at {self._root} answered /tokenize with no token ids. Name a tokenizer with teacher.tokenizer."
                )
            rows.append(tokens)

    async def _prepare(self, client: ServerClient, requests: Sequence[Request]) -> None:
        """Find out once what the server can do, before anything is asked for that it would silently ignore."""
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
        if not self._structured and any(
            isinstance(request, GenerateRequest) and request.json_schema for request in requests
        ):
            body = self._body("Write one word:", 48, 0.0) | structured.server_fields(_CANARY)
            try:
                text, _, _, _ = _read(await client.post("/v1/completions", body))
                structured.validate(text, _CANARY)
            except (Refused, ValueError) as error:
                raise TeacherError(
                    f"the server at {self._root} does not keep to a JSON schema ({error}). Use teacher=vllm, a server that knows "
                    "response_format=json_schema, or a prompt without a schema."
                ) from error
            self._structured = True

    async def _choose_scoring(self, client: ServerClient, request: ScoreRequest) -> None:
        self._scoring = "exact"
        try:
            if not (await self._answer(client, request)).error:
                return
        except TeacherError as error:
            if "HTTP 404" in str(error):
                raise
        self._scoring = "top"
        for self._top in _TOP:
            if not (await self._answer(client, request)).error:
                break
        self.notes.append(
            f"{self._root} gives only the {self._top} most likely tokens: a choice that is not among them gets the least log-probability "
            "that was seen, so small probabilities are too large."
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
            # Not in OpenAI's own interface, which refuses unknown fields.
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
            except ValueError as wrong:
                error = f"the reply {wrong}; it ended by {choice.get('finish_reason')!r} (by 'length': raise max_tokens)"
        finish = str(choice.get("finish_reason") or "")
        return Reply(request.id, text, (), prompt_tokens, completion_tokens, finish, error)

    async def _score(self, client: ServerClient, request: ScoreRequest) -> Reply:
        if not 1 <= len(request.choices) <= 128:
            return Reply(
                request.id,
                error=f"a score takes 1 to 128 choices, this one has {len(request.choices)}",
            )
        # Names of tokens as "token_id:7": a token's text does not always tell which one it is.
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
                    f"no log-probability for choice {missing[0]}; this server does not know logprob_token_ids"
                )
            values = [seen[f"token_id:{token}"] for token in request.choices]
        else:
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
    """Text, prompt tokens, completion tokens and the whole choice of a completion; ValueError where one is not as it must be."""
    if not isinstance(answer, dict):
        raise ValueError(f"the body is {type(answer).__name__}, not an object")
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise ValueError("it does not hold exactly one choice")
    text = choices[0].get("text")
    if not isinstance(text, str):
        raise ValueError("its text is missing")
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
