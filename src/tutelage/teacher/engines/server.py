"""A teacher behind an OpenAI-compatible server, for instance ``vllm serve``."""

from __future__ import annotations

import asyncio
import json
import math
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

from tutelage.errors import ConfigError, TeacherError, did_you_mean
from tutelage.teacher import structured
from tutelage.teacher.base import GenerateRequest, OnReply, Reply, Request, ScoreRequest
from tutelage.teacher.engines.model_files import fingerprint_of
from tutelage.teacher.engines.server_address import server_root
from tutelage.teacher.engines.server_batch import Batch, Health, Outcome, ending
from tutelage.teacher.engines.server_client import (
    Connection,
    Lasting,
    NotFoundError,
    Refused,
    ServerClient,
    UnexpectedError,
    run_async,
)
from tutelage.teacher.engines.server_key import ApiKey
from tutelage.teacher.engines.server_probe import PROBE, Prober, Spent, Survey
from tutelage.teacher.engines.server_replies import Completion, read_completion, top_tokens
from tutelage.teacher.engines.server_report import Ability, examine
from tutelage.teacher.engines.server_requests import COMPLETIONS, Form, completion_body
from tutelage.teacher.engines.server_tokenizer import ServerTokenizer, Tokens
from tutelage.teacher.engines.server_tokens import Found, find
from tutelage.teacher.engines.server_watch import LabelWatch
from tutelage.teacher.replies import ReplyCollector

_SCORINGS = ("auto", "exact", "top")
_UNLIKELY = 1e-4
"""With less probability, all labels together are no answer to the prompt."""


class Memory(Protocol):
    """Keeps texts by name from run to run, beside the replies."""

    def recall(self, names: Sequence[str]) -> dict[str, str]:
        """Returns the texts of the names that have one."""
        ...

    def remember(self, texts: Mapping[str, str]) -> None:
        """Keeps texts by name."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells the replies of one server from those of another at the same address.

    Attributes:
        name: What the server calls its model, where that is not the configured name.
        scoring: "exact", "top-20" or another way; "none" if it cannot score.
    """

    name: str
    scoring: str


class ServerTeacher:
    """Sends prompts as text to ``/v1/completions`` of an OpenAI-compatible server.

    Args:
        url: Address of the server, with or without ``/v1``; http or https.
        model: Name of the model on the server.
        api_key_env: Environment variable with the API key. The variable may be unset if the server
            needs no key.
        concurrency: Largest number of requests at once.
        timeout: Longest duration of one attempt, in seconds.
        retries: Further attempts after HTTP 408, 429, 5xx and connection errors.
        scoring: Source of label probabilities. "exact" requests the log-probabilities of the
            choices alone (vLLM's ``logprob_token_ids``). "top" requests the most likely tokens; a
            choice missing from them gets the lowest log-probability in the reply. "auto" uses
            "exact" if the server supports it, and "top" otherwise.
        tokenizer: Tokenizer of the model: a folder, a tokenizer.json or a hub id. null or "" uses
            the server's ``/tokenize``; a server without it gets the tokenizer of the hub id
            ``model``.
        backoff: Longest first pause before another attempt, in seconds. It doubles with each
            attempt, with jitter, up to 60 seconds.

    Attributes:
        notes: Limitations of this server for readers of the results.
        on_note: Called with each limitation as it is found.

    Raises:
        ConfigError: ``url`` is not an address or contains a password, the key is none, or another
            setting is impossible.
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
        if scoring not in _SCORINGS:
            raise ConfigError(did_you_mean("teacher.scoring", scoring, _SCORINGS))
        for name, value, least in (
            ("concurrency", concurrency, 1),
            ("timeout", timeout, 0.001),
            ("retries", retries, 0),
            ("backoff", backoff, 0),
        ):
            if not (value >= least and math.isfinite(value)):
                raise ConfigError(f"teacher.{name}={value} must be {least} or more.")
        self._connection = Connection(
            server_root(url, api_key_env),
            ApiKey(api_key_env),
            concurrency,
            timeout,
            retries,
            backoff,
        )
        self._model = model
        self._configured_scoring = scoring
        self._tokenizer = ServerTokenizer(tokenizer or "", model)
        self._memory: Memory | None = None
        self._identity: Identity | None = None
        self._survey: Survey | None = None
        self._spent = Spent()
        self._health = Health()
        self._failure: tuple[Request, Lasting] | None = None
        self._watch = LabelWatch(0)
        self._form = Form()
        self._reply_model = ""
        self._structured = False
        self._closed = False
        self.notes: list[str] = []
        self.on_note: Callable[[str], None] | None = None

    @property
    def root(self) -> str:
        """Address of the server, without ``/v1``."""
        return self._connection.root

    @property
    def fingerprint(self) -> str:
        """Identifies the address, the model and the way of scoring.

        The model is identified by the configured name and by what the server calls it, once the
        server was asked (:meth:`settle`).
        """
        scoring: str = self._configured_scoring
        settings = {"url": self.root, "model": self._model}
        if self._identity is not None:
            if self._identity.scoring != "exact":
                scoring = self._identity.scoring
            if self._identity.name:
                settings["served"] = self._identity.name
        return fingerprint_of("server", scoring=scoring, **settings)

    def settle(self, memory: Memory | None = None) -> None:
        """Asks the server once what it is, so that the fingerprint is known before any request.

        With a memory of an earlier run, a server that does not answer is taken to be the same, so
        that a cache replays without it.

        Args:
            memory: Keeps the answer, and the ids of texts, for later runs.

        Raises:
            TeacherError: The server does not answer, and no earlier run asked it.
        """
        if self._identity is not None:
            return
        self._memory = memory
        place = f"identity {self.fingerprint}"
        stored = memory.recall([place]).get(place) if memory is not None else None
        known = _read_identity(stored) if stored else None
        try:
            self._run(lambda client: self._look(client, retries=None if known is None else 0))
        except TeacherError as error:
            if known is None:
                raise
            self._identity = known
            self._note(
                "the server could not be asked, so only replies in the cache can be used, those "
                f"of {self._described(known)}: {error}"
            )
            return
        assert self._identity is not None
        if known not in (None, self._identity):
            self._tell_change(known)
        if memory is not None and known != self._identity:
            memory.remember({place: json.dumps(asdict(self._identity))})

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answers every request, in order.

        A request that keeps failing while others are answered gets a failed reply.

        Raises:
            TeacherError: The server cannot be reached, refused the key or the model, failed in most
                requests, ignores JSON schemas, or is another one than before.
            ValueError: An id occurs twice.
        """
        collector = ReplyCollector(requests, on_reply)
        if self._closed:
            raise TeacherError("the teacher was asked after it was closed; build a new one.")
        if not requests:
            return []

        async def everything(client: ServerClient) -> None:
            await self._prepare(client, requests)
            testing = asyncio.Lock()
            await Batch(
                client,
                requests,
                lambda request: self._answer(client, request, testing),
                collector.keep,
                self._health,
                self._watch,
                self._advice(),
            ).run()
            # The last requests failed: was it theirs, or is the server gone?
            if self._health.in_a_row and self._failure is not None:
                await self._test(client, *self._failure)

        self._run(everything)
        return collector.in_order()

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the token ids of each text, without special tokens.

        The configured tokenizer comes first, then the server's ``/tokenize``, then the tokenizer of
        the hub id ``model``.

        Raises:
            TeacherError: None of them is available.
        """
        if not texts:
            return []
        if not self._tokenizer.is_here:
            try:
                return self._tokenized_there(texts)
            except NotFoundError:
                pass  # Any other failure is an error.
        self._tokenizer.load(self.root)
        return self._tokenizer.ids(texts)

    def examine(self) -> list[Ability]:
        """Asks the server what it can do, for ``tutelage doctor``."""
        lines: list[Ability] = []

        async def ask(client: ServerClient) -> None:
            lines.extend(
                await examine(client, self._model, self._configured_scoring, self._tokenizer.name)
            )

        self._run(ask)
        return lines

    def close(self) -> None:
        """Closes the teacher. No connection is open between batches."""
        if self._closed:
            return
        self._closed = True
        if summary := self._watch.summary:
            self.notes.append(summary)
        if self._spent.requests:
            self.notes.append(
                f"{self._spent.requests} short requests ({self._spent.tokens} tokens) asked the "
                "server what it can do; they are in no count of tokens"
            )

    def _run(self, use: Callable[[ServerClient], Awaitable[None]]) -> None:
        """Opens a client; a request of its own that keeps failing ends the run."""

        async def with_client() -> None:
            async with ServerClient(self._connection) as client:
                await use(client)

        try:
            run_async(with_client)
        except Lasting as error:
            raise TeacherError(
                f"the server at {self.root} failed {error}. {self._advice()}"
            ) from error

    def _advice(self) -> str:
        settings = ["teacher=server", f"teacher.url={self.root}", f"teacher.model={self._model}"]
        if (name := self._connection.key.variable) != "OPENAI_API_KEY":
            settings.append(f"teacher.api_key_env={name}")
        return (
            f"Ask the server what it can do (`{shlex.join(['tutelage', 'doctor', *settings])}`) "
            "and run again; if it is overloaded, lower teacher.concurrency or raise "
            "teacher.timeout."
        )

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            if self.on_note is not None:
                self.on_note(text)

    def _prober(self, client: ServerClient, retries: int | None = None) -> Prober:
        return Prober(client, self._model, retries, self._spent)

    async def _look(self, client: ServerClient, retries: int | None = None) -> None:
        """Asks the server what it is.

        Raises:
            Lasting: It does not answer.
            TeacherError: It is another one than this run began with.
        """
        survey = await self._prober(client, retries).survey(self._configured_scoring)
        found = Identity(survey.name, str(survey.way) if survey.way is not None else "none")
        if self._identity not in (None, found):
            raise TeacherError(
                f"this run began with {self._described(self._identity)}, but the server at "
                f"{self.root} is {self._described(found)} by now. Run again, or begin a new run: "
                "replies of both must not be mixed."
            )
        self._identity, self._survey, self._reply_model = found, survey, survey.reply_model
        if survey.way is not None and not survey.way.exact:
            self._watch = LabelWatch(survey.way.top)
            self._note(
                f"{self.root} returns only the {survey.way.top} most likely tokens. A choice "
                "missing from them gets the lowest log-probability in the reply, so small "
                "probabilities are too large."
            )

    def _described(self, identity: Identity | None) -> str:
        assert identity is not None
        return f"{identity.name or self._model!r} (scores: {identity.scoring})"

    def _tell_change(self, known: Identity | None) -> None:
        self._note(
            f"the server at {self.root} is {self._described(self._identity)} now, and was "
            f"{self._described(known)} when its replies were cached under the name {self._model}. "
            "The cached replies are not used."
        )

    def _tokenized_there(self, texts: Sequence[str]) -> list[list[int]]:
        """Asks the memory, then the server."""
        # Keyed by the fingerprint: another model under the same name has other ids.
        places = {text: f"tokens {self.fingerprint} {text}" for text in texts}
        stored = self._memory.recall(list(places.values())) if self._memory is not None else {}
        known = {
            text: tokens
            for text, place in places.items()
            if place in stored and (tokens := _read_tokens(stored[place])) is not None
        }
        for text, tokens in known.items():
            self._tokenizer.learn(text, tokens)
        missing = [text for text in places if text not in known]
        rows: list[Tokens] = []

        async def tokenize(client: ServerClient) -> None:
            rows.extend(await self._tokenizer.ask(client, missing))

        if missing:
            self._run(tokenize)
            found = dict(zip(missing, rows, strict=True))
            if self._memory is not None:
                self._memory.remember(
                    {places[text]: json.dumps(asdict(tokens)) for text, tokens in found.items()}
                )
            known |= found
        return [list(known[text].ids) for text in texts]

    async def _prepare(self, client: ServerClient, requests: Sequence[Request]) -> None:
        """Tests the server's abilities once, before it can silently ignore a field of a request."""
        scores = any(isinstance(request, ScoreRequest) for request in requests)
        if self._survey is None and (scores or self._identity is not None):
            await self._look(client)
        if scores and self._survey is not None and self._survey.way is None:
            raise TeacherError(
                f"the server at {self.root} cannot score labels: {self._survey.no_way}. Use a "
                "server with log-probabilities, such as `vllm serve`, or run the model with "
                "teacher=vllm."
            )
        if self._structured or not any(
            isinstance(request, GenerateRequest) and request.json_schema for request in requests
        ):
            return
        schema, reason = await self._prober(client).schemas()
        if not schema:
            raise TeacherError(
                f"the server at {self.root} does not enforce JSON schemas ({reason}). Use "
                "teacher=vllm, a server with support for response_format=json_schema, or a prompt "
                "without a schema."
            )
        self._form = replace(self._form, schema=schema)
        self._structured = True

    async def _answer(
        self, client: ServerClient, request: Request, testing: asyncio.Lock
    ) -> Outcome:
        blind = False
        try:
            if isinstance(request, ScoreRequest):
                reply, blind = await self._score(client, request)
            else:
                reply = await self._generate(client, request)
        except Refused as error:
            reply = Reply(request.id, error=f"the server refused the request: {error}")
        except ValueError as error:
            failure = f"with a reply that is not usable: {client.clean(str(error))}"
            return Outcome(Reply(request.id, error=f"the server failed {failure}"), failure)
        except UnexpectedError as error:
            if not self._reply_model and self._survey is None:
                raise
            failure = f"with: HTTP {error.status} {error.said}"
            return Outcome(Reply(request.id, error=f"the server failed {failure}"), failure)
        except Lasting as error:
            self._failure = request, error
            async with testing:
                # Answers since the last attempt began say that the server is there.
                if client.answers <= error.answers:
                    await self._test(client, request, error)
            return Outcome(Reply(request.id, error=f"the server failed {error}"), str(error))
        return Outcome(reply, blind=blind)

    async def _test(self, client: ServerClient, request: Request, failure: Lasting) -> None:
        """Ends the batch if the server answers nothing any more."""
        try:
            await client.test(COMPLETIONS, completion_body(self._model, PROBE, 1, 0.0))
            self._spent.requests += 1
        except (Refused, ValueError):
            return
        except Lasting as error:
            raise TeacherError(
                f"the server at {self.root} failed {failure}. That was the request whose prompt "
                f"ends with {ending(request.prompt)!r}; a short test request failed, too "
                f"({error}). The replies so far are kept. {self._advice()}"
            ) from error

    async def _complete(self, client: ServerClient, body: dict[str, Any]) -> Completion:
        """Sends a request, and checks that the same model answers as before.

        Raises:
            ValueError: The reply is no completion.
            TeacherError: Another model answered.
        """
        reply = read_completion(await client.post(COMPLETIONS, body))
        reply = replace(reply, text=self._connection.key.mask(reply.text, cut=False))
        model = client.clean(reply.model)
        self._reply_model = self._reply_model or model
        if model and model != self._reply_model:
            raise TeacherError(
                f"the server at {self.root} calls its model {model!r} now, and called it "
                f"{self._reply_model!r} before, so another model answers under the name "
                f"{self._model}. Start the server with the first one and continue, or begin a new "
                "run with the second one."
            )
        return reply

    def _reply(
        self, request: Request, completion: Completion, *, text: str = "", error: str = ""
    ) -> Reply:
        """Makes a reply; token counts that the server does not give are estimated."""
        prompt_tokens = completion.prompt_tokens
        completion_tokens = completion.completion_tokens
        # Without token counts a budget would never be reached.
        if not prompt_tokens and request.prompt:
            prompt_tokens = self._tokenizer.length(request.prompt)
            self._note(
                f"{self.root} reports no token counts, so they are counted with the tokenizer on "
                "this machine, or estimated as one token per 4 bytes where there is none."
            )
        if isinstance(request, ScoreRequest):
            completion_tokens = 1
        elif not completion_tokens and completion.text:
            completion_tokens = self._tokenizer.length(completion.text)
        return Reply(
            request.id,
            text,
            (),
            prompt_tokens or 0,
            completion_tokens or 0,
            completion.finish_reason,
            error,
        )

    async def _generate(self, client: ServerClient, request: GenerateRequest) -> Reply:
        completion = await self._in_any_form(client, request)
        error = ""
        if request.json_schema:
            try:
                structured.validate(completion.text, request.json_schema)
            except ValueError as mismatch:
                error = (
                    f"the reply {mismatch}; it ended by {completion.finish_reason!r} (by "
                    "'length': raise max_tokens)"
                )
        return self._reply(request, completion, text=completion.text, error=error)

    async def _in_any_form(self, client: ServerClient, request: GenerateRequest) -> Completion:
        form = self._form
        while True:
            try:
                completion = await self._complete(client, form.body(self._model, request))
            except Refused as error:
                simpler = form.simpler(str(error), request)
                if simpler is None:
                    raise
                form = simpler
                continue
            if form != self._form:
                self._form = form
                if form.note:
                    self._note(f"{self.root}: {form.note}")
            return completion

    async def _score(self, client: ServerClient, request: ScoreRequest) -> tuple[Reply, bool]:
        """Scores the choices; also returns whether the reply says nothing about any of them."""
        way = self._survey.way if self._survey is not None else None
        assert way is not None
        if not 1 <= len(request.choices) <= 128:
            error = f"a score takes 1 to 128 choices, this one has {len(request.choices)}"
            return Reply(request.id, error=error), False
        body = completion_body(self._model, request.prompt, 1, 0.0) | way.fields(request.choices)
        completion = await self._complete(client, body)
        tokens = top_tokens(completion.logprobs)
        by_id = {token.id: token.logprob for token in tokens if token.id is not None}
        if way.exact:
            missing = [choice for choice in request.choices if choice not in by_id]
            if missing:
                raise ValueError(
                    f"no log-probability for choice {missing[0]}; this server does not know "
                    "logprob_token_ids"
                )
            found = Found(tuple(by_id[choice] for choice in request.choices), 0)
            blind = sum(map(math.exp, found.logprobs)) < _UNLIKELY
        else:
            known = {} if by_id else await self._tokenizer.spellings(client, request.choices)
            found = find(tokens, request.choices, known)
            blind = found.missing == len(request.choices)

        def example() -> tuple[list[str], list[str]]:
            shown = self._tokenizer.shown
            others = [token for token in tokens if token.id not in request.choices]
            names = [one.name[:40] if one.id is None else shown(one.id) for one in others]
            return [shown(choice) for choice in request.choices], names

        missing = len(request.choices) if blind else found.missing
        self._watch.count(missing, len(request.choices), example)
        if warning := self._watch.warning():
            self._note(warning)
        reply = self._reply(request, completion)
        return replace(reply, logprobs=found.logprobs, finish_reason="length"), blind


def _read_identity(stored: str) -> Identity | None:
    try:
        values = json.loads(stored)
        return Identity(str(values["name"]), str(values["scoring"]))
    except (ValueError, KeyError, TypeError):
        return None


def _read_tokens(stored: str) -> Tokens | None:
    try:
        values = json.loads(stored)
        return Tokens(tuple(map(int, values["ids"])), tuple(map(str, values["pieces"])))
    except (ValueError, KeyError, TypeError):
        return None
