"""A teacher behind OpenAI-compatible servers, for instance ``vllm serve``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, TypeVar

from tutelage.errors import ConfigError, TeacherError, did_you_mean
from tutelage.teacher.base import (
    Chat,
    GenerateRequest,
    OnReply,
    Prompt,
    Reply,
    Request,
    ScoreRequest,
    prompt_content,
)
from tutelage.teacher.engines.model_files import fingerprint_of
from tutelage.teacher.engines.server_address import server_roots
from tutelage.teacher.engines.server_answers import Answerer
from tutelage.teacher.engines.server_batch import Batch, Health, Outcome, ending
from tutelage.teacher.engines.server_chat_probe import ChatProber, survey_server
from tutelage.teacher.engines.server_client import (
    Connection,
    Lasting,
    NotFoundError,
    Refused,
    ServerClient,
    run_async,
)
from tutelage.teacher.engines.server_fleet import Differs, Fleet, Member
from tutelage.teacher.engines.server_identity import Identity, Memory, Notebook
from tutelage.teacher.engines.server_key import server_keys
from tutelage.teacher.engines.server_match import agreed, identity_of, of_each
from tutelage.teacher.engines.server_probe import Prober, Spent, Survey
from tutelage.teacher.engines.server_report import Ability, examine
from tutelage.teacher.engines.server_tokenizer import ServerTokenizer, Tokens
from tutelage.teacher.replies import ReplyCollector

_Asked = TypeVar("_Asked", str, Chat)

_APIS = ("auto", "chat", "completions")
_SCORINGS = ("auto", "exact", "top", "agreement", "decisions")


class ServerTeacher:
    """Asks an OpenAI-compatible server: by ``/v1/chat/completions``, or by ``/v1/completions``.

    Several servers of one model share the requests. One that does not answer is left out until it
    is back, and its requests go to the others.

    Args:
        url: Address of the server, with or without ``/v1``; http or https. A list names several
            servers of the same model. The cache is keyed by a single address, or by the model alone
            for a list (also for a list of one).
        model: Name of the model on the server.
        api_key_env: Environment variable with the API key. The variable may be unset if the server
            needs no key. A list names one variable for each address in ``url``.
        concurrency: Largest number of requests at once, for each server.
        timeout: Longest duration of one attempt, in seconds.
        retries: Further attempts after HTTP 408, 5xx and connection errors.
        scoring: Source of label probabilities. "exact" requests the log-probabilities of the
            choices alone (vLLM's ``logprob_token_ids``). "top" requests the most likely tokens; a
            choice missing from them gets the lowest log-probability in the reply. "agreement"
            samples several answers, and takes the share of each label for its probability.
            "decisions" asks ``/v1/decisions``, which shows labels as letters (26 at most in vLLM).
            "auto" uses "exact" if the server supports it, else "top", and "agreement" for chats
            without log-probabilities.
        samples: Number of answers that are sampled for each label by "agreement".
        api: Whether prompts are messages ("chat") or texts to continue ("completions"). "auto"
            takes messages if the server does; ``prompt=completion`` continues texts all the same.
        tokenizer: Tokenizer of the model: a folder, a tokenizer.json or a hub id. null or "" uses
            the server's ``/tokenize``; a server without it gets the tokenizer of the hub id
            ``model``. Without any, labels of chats are found by their words.
        backoff: Longest first pause before another attempt, in seconds. It doubles with each
            attempt, with jitter, up to 60 seconds.
        patience: Longest time without any answer while servers are too busy (HTTP 429), in seconds.

    Attributes:
        notes: Limitations of this server for readers of the results.
        on_note: Called with each limitation as it is found.

    Raises:
        ConfigError: ``url`` is not an address or contains a password, the key is none, or another
            setting is impossible.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        model: str,
        *,
        api_key_env: str | Sequence[str] = "OPENAI_API_KEY",
        concurrency: int = 16,
        timeout: float = 120.0,
        retries: int = 5,
        scoring: Literal["auto", "exact", "top", "agreement", "decisions"] = "auto",
        samples: int = 5,
        api: Literal["auto", "chat", "completions"] = "auto",
        tokenizer: str | None = None,
        backoff: float = 0.5,
        patience: float = 600.0,
    ) -> None:
        if scoring not in _SCORINGS:
            raise ConfigError(did_you_mean("teacher.scoring", scoring, _SCORINGS))
        if api not in _APIS:
            raise ConfigError(did_you_mean("teacher.api", api, _APIS))
        for name, value, least in (
            ("concurrency", concurrency, 1),
            ("timeout", timeout, 0.001),
            ("retries", retries, 0),
            ("backoff", backoff, 0),
            ("patience", patience, 0),
            ("samples", samples, 1),
        ):
            if not (value >= least and math.isfinite(value)):
                raise ConfigError(f"teacher.{name}={value} must be {least} or more.")
        self._url, self._variables = url, api_key_env
        named = api_key_env if isinstance(api_key_env, str) else " or ".join(api_key_env)
        roots = server_roots(url, named)
        keys = server_keys(api_key_env, len(roots))
        members = [Member(root, key, concurrency) for root, key in zip(roots, keys, strict=True)]
        self._fleet = Fleet(members, backoff, self._note)
        self._connection = Connection(self._fleet, concurrency, timeout, retries, backoff, patience)
        self._model = model
        self._configured_scoring = scoring
        self._samples, self._api = samples, api
        self._tokenizer = ServerTokenizer(tokenizer or "", model)
        self._notebook = Notebook()
        self._identity: Identity | None = None
        self._survey: Survey | None = None
        self._spent = Spent()
        self._health = Health()
        self._failure: tuple[Request, Lasting] | None = None
        self._answers = Answerer(self._connection, model, self._tokenizer, self._note)
        self._structured: set[bool] = set()
        self._closed = False
        self.notes: list[str] = []
        self.on_note: Callable[[str], None] | None = None

    @property
    def root(self) -> str:
        """Address of the server, without ``/v1``; of several, all for messages."""
        return self._connection.root

    @property
    def fingerprint(self) -> str:
        """Identifies the address, the model and the way of scoring.

        A list of addresses is no part of it, so that servers may come and go. The model is
        identified by the configured name and by what the server calls it, once the server was
        asked (:meth:`settle`).
        """
        scoring: str = self._configured_scoring
        address = {"url": self.root} if isinstance(self._url, str) else {}
        settings = {**address, "model": self._model}
        if self._identity is not None:
            if self._identity.scoring != "exact":
                scoring = self._identity.scoring
            if self._identity.name:
                settings["served"] = self._identity.name
            if self._identity.chat not in ("", "exact", scoring):
                settings["chat"] = self._identity.chat
        return fingerprint_of("server", scoring=scoring, **settings)

    @property
    def speaks_chat(self) -> bool:
        """Whether the server takes messages; known once it was asked (:meth:`settle`)."""
        return self._identity is not None and self._identity.chat != ""

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
        self._notebook = Notebook(memory)
        unsettled = self.fingerprint
        known = self._notebook.identity(unsettled)
        try:
            self._run(lambda client: self._look(client, retries=None if known is None else 0))
        except TeacherError as error:
            if known is None:
                raise
            self._identity = known
            self._note(
                "the server could not be asked, so only replies in the cache can be used, those "
                f"of {known.described(self._model)}: {error}"
            )
            return
        assert self._identity is not None
        if known == self._identity:
            return
        self._notebook.keep_identity(unsettled, self._identity)
        if known is not None:
            self._note(
                f"the server at {self.root} is {self._identity.described(self._model)} now, and "
                f"was {known.described(self._model)} when its replies were cached under the name "
                f"{self._model}. The cached replies are not used."
            )

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
                self._answers.watch,
                self._advice(),
            ).run()
            # The last requests failed: was it theirs, or is the server gone?
            if self._health.in_a_row and self._failure is not None:
                await self._test(client, *self._failure)

        self._run(everything)
        return collector.in_order()

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        """Returns the token ids of each text, without special tokens.

        The configured tokenizer comes first, then the server's ``/tokenize``, then the tokenizer of
        the hub id ``model``. Where labels of chats are found by their words, each word has a number
        of its own, and other lengths are estimates.

        Raises:
            TeacherError: None of them is available.
        """
        different = dict.fromkeys(texts)
        plain = [text for text in different if isinstance(text, str)]
        chats = [chat for chat in different if isinstance(chat, Chat)]
        rows: dict[Prompt, list[int]] = {}
        if plain:
            rows |= zip(plain, self._tokenized(plain), strict=True)
        if chats:
            rows |= zip(chats, self._chats_tokenized(chats), strict=True)
        return [list(rows[text]) for text in texts]

    def _tokenized(self, texts: Sequence[str]) -> list[list[int]]:
        if not self._tokenizer.is_here:
            try:
                return self._tokenized_there(texts, self._tokenizer.ask)
            except NotFoundError:
                pass  # Any other failure is an error.
        try:
            self._tokenizer.load(self.root)
        except (ConfigError, TeacherError):
            if not self.speaks_chat:
                raise
            return self._estimated({text: self._tokenizer.estimate(text) for text in texts})
        return self._tokenizer.ids(texts)

    def _chats_tokenized(self, chats: Sequence[Chat]) -> list[list[int]]:
        """Returns the ids of chats; a prefill is one number where labels have no tokens."""
        if self._identity is None:
            self.settle()
        assert self._identity is not None
        if self._identity.chat.startswith(("agreement", "decisions")):
            return self._with_stand_ins(chats)
        form = self._answers.chat_form
        try:
            if not self._tokenizer.is_here:
                return self._tokenized_there(
                    chats, lambda client, missing: self._tokenizer.ask_chats(client, missing, form)
                )
        except NotFoundError:
            try:
                self._tokenizer.load(self.root)
            except (ConfigError, TeacherError):
                # Only token ids can be asked for their probabilities.
                if self._identity.chat == "exact":
                    raise
                return self._with_stand_ins(chats)
        self._tokenizer.load(self.root)
        return [self._tokenizer.chat_ids(chat) for chat in chats]

    def _with_stand_ins(self, chats: Sequence[Chat]) -> list[list[int]]:
        self._note(
            f"labels are found by their words in the replies of {self.root}, and lengths of texts "
            "are estimated"
        )
        return self._estimated({chat: self._tokenizer.estimate_chat(chat) for chat in chats})

    def _estimated(self, rows: Mapping[_Asked, list[int]]) -> list[list[int]]:
        """Remembers numbers that stand for tokens, and returns them."""
        found = {_name(text): Tokens(tuple(ids)) for text, ids in rows.items()}
        self._notebook.keep_tokens(self.fingerprint, found)
        return list(rows.values())

    def examine(self) -> list[Ability]:
        """Asks the server what it can do, for ``tutelage doctor``."""
        lines: list[Ability] = []

        async def ask(client: ServerClient) -> None:
            scoring, tokenizer = self._configured_scoring, self._tokenizer.name
            if self._fleet.is_one:
                lines.extend(await examine(client, self._model, scoring, tokenizer))
                return
            for number, member in enumerate(self._fleet.members, start=1):
                found = await examine(client.only(member), self._model, scoring, tokenizer)
                lines.append(Ability(f"server {number}", None, member.root))
                lines.extend(replace(one, name=f"{number} {one.name}") for one in found)
            if self._model and all(line.ok is not False for line in lines):
                lines.append(await self._compared(client))

        self._run(ask)
        return lines

    def close(self) -> None:
        """Closes the teacher. No connection is open between batches."""
        if self._closed:
            return
        self._closed = True
        if summary := self._answers.watch.summary:
            self.notes.append(summary)
        self.notes.extend(self._fleet.summary())
        if self._spent.requests:
            self.notes.append(
                f"{self._spent.requests} short requests ({self._spent.tokens} tokens) asked the "
                "server what it can do; they are in no count of tokens"
            )

    def _run(self, use: Callable[[ServerClient], Awaitable[None]]) -> None:
        """Opens a client; a request of its own that keeps failing ends the run."""

        async def with_client() -> None:
            async with ServerClient(self._connection, self._admit) as client:
                await use(client)

        try:
            run_async(with_client)
        except Lasting as error:
            raise TeacherError(
                f"the server at {self.root} failed {error}. {self._advice()}"
            ) from error

    def _advice(self) -> str:
        roots = [member.root for member in self._fleet.members]
        url = roots[0] if isinstance(self._url, str) else f"[{','.join(roots)}]"
        settings = ["teacher=server", f"teacher.url={url}", f"teacher.model={self._model}"]
        if (names := self._variables) != "OPENAI_API_KEY":
            given = names if isinstance(names, str) else f"[{','.join(names)}]"
            settings.append(f"teacher.api_key_env={given}")
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
        surveys = await self._surveys(client, retries)
        found = agreed({one: self._identity_of(made) for one, made in surveys.items()}, self._model)
        if self._identity is not None and self._identity != found:
            raise TeacherError(
                f"this run began with {self._identity.described(self._model)}, but the server at "
                f"{self.root} is {found.described(self._model)} by now. Run again, or begin a new "
                "run: replies of both must not be mixed."
            )
        self._identity, self._survey = found, next(iter(surveys.values()))
        self._answers.begin(self._survey)

    async def _surveys(self, client: ServerClient, retries: int | None) -> dict[Member, Survey]:
        """Surveys each server; one that does not answer is left out, unless there is no other."""

        async def ask(one: ServerClient, retries: int | None = retries) -> Survey:
            return await self._survey_of(self._prober(one, retries))

        if not self._fleet.is_one and retries is None:
            # No other server waits for one that is down.
            with contextlib.suppress(Lasting):
                return await of_each(
                    client, self._fleet, self._fleet.members, partial(ask, retries=0)
                )
        return await of_each(client, self._fleet, self._fleet.members, ask)

    async def _survey_of(self, prober: Prober) -> Survey:
        return await survey_server(prober, self._api, self._configured_scoring, self._samples)

    def _identity_of(self, survey: Survey) -> Identity:
        return identity_of(survey, anywhere=not isinstance(self._url, str))

    async def _admit(self, client: ServerClient) -> None:
        """Asks a server that is back what it is.

        Raises:
            Lasting: It does not answer.
            Differs: It is another one than this run began with.
        """
        if self._identity is None:
            return
        prober = self._prober(client, retries=0)
        found = self._identity_of(await self._survey_of(prober))
        if found != self._identity:
            raise Differs(
                f"it is {found.described(self._model)}, and this run began with "
                f"{self._identity.described(self._model)}. Replies of both must not be mixed."
            )
        for chats in self._structured:
            form = self._answers.chat_form if chats else self._answers.form
            if (await self._schemas(prober, chats))[0] != form.schema:
                raise Differs("it does not take JSON schemas as the other servers do.")

    async def _compared(self, client: ServerClient) -> Ability:
        """Tells whether all servers have one model, for ``tutelage doctor``."""
        try:
            surveys = await self._surveys(client, retries=0)
            found = {one: self._identity_of(made) for one, made in surveys.items()}
            return Ability("one model", True, agreed(found, self._model).described(self._model))
        except TeacherError as error:
            return Ability("one model", False, "no", str(error))

    def _tokenized_there(
        self,
        texts: Sequence[_Asked],
        ask: Callable[[ServerClient, Sequence[_Asked]], Awaitable[list[Tokens]]],
    ) -> list[list[int]]:
        """Returns what earlier runs asked, and asks the server for the rest."""
        names = {text: _name(text) for text in texts}
        known = self._notebook.tokens(self.fingerprint, list(names.values()))
        for text, name in names.items():
            if isinstance(text, str) and name in known:
                self._tokenizer.learn(text, known[name])
        missing = [text for text, name in names.items() if name not in known]
        rows: list[Tokens] = []

        async def tokenize(client: ServerClient) -> None:
            rows.extend(await ask(client, missing))

        if missing:
            self._run(tokenize)
            found = {names[text]: row for text, row in zip(missing, rows, strict=True)}
            self._notebook.keep_tokens(self.fingerprint, found)
            known |= found
        return [list(known[names[text]].ids) for text in texts]

    async def _prepare(self, client: ServerClient, requests: Sequence[Request]) -> None:
        """Tests the server's abilities once, before it can silently ignore a field of a request."""
        scores = any(isinstance(request, ScoreRequest) for request in requests)
        chats = any(isinstance(request.prompt, Chat) for request in requests)
        known = self._identity is not None or not self._fleet.is_one
        if self._survey is None and (scores or known or chats):
            await self._look(client)
        self._answers.prepare(chats=chats)
        if self._survey is not None:
            self._check(self._survey, scores=scores, chats=chats)
        if chats in self._structured or not any(
            isinstance(request, GenerateRequest) and request.json_schema for request in requests
        ):
            return
        there = [member for member in self._fleet.members if not member.is_out]
        found = await of_each(
            client,
            self._fleet,
            there or self._fleet.members,
            lambda one: self._schemas(self._prober(one), chats),
        )
        # The form that a server of some other kind does not know would be ignored there.
        member, (schema, reason) = min(found.items(), key=lambda one: bool(one[1][0]))
        if not schema:
            raise TeacherError(
                f"the server at {member.root} does not enforce JSON schemas ({reason}). Use "
                "teacher=vllm, a server with support for response_format=json_schema, or a prompt "
                "without a schema."
            )
        for other, (form, _) in found.items():
            if form != schema:
                raise Differs(
                    f"the servers at {member.root} and {other.root} take JSON schemas in "
                    "different ways. Give teacher.url servers of one kind."
                )
        self._answers.keep_schema(schema, chats=chats)
        self._structured.add(chats)

    async def _schemas(self, prober: Prober, chats: bool) -> tuple[str, str]:
        """Finds out how a server takes JSON schemas; see :meth:`Prober.schemas`."""
        asking = ChatProber(prober, self._answers.chat_form) if chats else prober
        return await asking.schemas()

    def _check(self, survey: Survey, *, scores: bool, chats: bool) -> None:
        """Refuses requests that the server cannot answer.

        Raises:
            TeacherError: It takes no such prompts, or cannot score after them.
        """
        if chats and survey.chat.form is None:
            reason = f": {survey.chat.no_way}" if survey.chat.no_way else ""
            raise TeacherError(
                f"the server at {self.root} is asked for texts to continue, not in messages"
                f"{reason}. Use prompt=completion, or teacher.api=chat with a server for chats."
            )
        if not chats and not survey.completes:
            raise TeacherError(
                f"the server at {self.root} is asked in messages, and cannot continue texts. Use "
                "prompt=chat."
            )
        way, no_way = (
            (survey.chat.way, survey.chat.no_way) if chats else (survey.way, survey.no_way)
        )
        if scores and way is None:
            raise TeacherError(
                f"the server at {self.root} cannot score labels: {no_way}. Use a "
                "server with log-probabilities, such as `vllm serve`, or run the model with "
                "teacher=vllm."
            )

    async def _answer(
        self, client: ServerClient, request: Request, testing: asyncio.Lock
    ) -> Outcome:
        try:
            return await self._answers.answer(client, request)
        except Lasting as error:
            self._failure = request, error
            async with testing:
                # Answers since the last attempt began say that the server is there.
                if client.answers <= error.answers:
                    await self._test(client, request, error)
            return Outcome(Reply(request.id, error=f"the server failed {error}"), str(error))

    async def _test(self, client: ServerClient, request: Request, failure: Lasting) -> None:
        """Ends the batch if the server answers nothing any more."""
        try:
            await client.test(*self._answers.short())
            self._spent.requests += 1
        except (Refused, ValueError):
            return
        except Lasting as error:
            raise TeacherError(
                f"the server at {self.root} failed {failure}. That was the request whose prompt "
                f"ends with {ending(str(request.prompt))!r}; a short test request failed, too "
                f"({error}). The replies so far are kept. {self._advice()}"
            ) from error


def _name(text: Prompt) -> str:
    """Returns the name under which the tokens of a prompt are remembered."""
    return text if isinstance(text, str) else f"chat {json.dumps(prompt_content(text))}"
