"""A teacher behind OpenAI-compatible servers, for instance ``vllm serve``."""

from __future__ import annotations

import asyncio
import math
import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Literal

from tutelage.errors import ConfigError, TeacherError, did_you_mean
from tutelage.teacher.base import (
    Chat,
    OnReply,
    Prompt,
    Reply,
    Request,
)
from tutelage.teacher.engines.model_files import fingerprint_of
from tutelage.teacher.engines.server_address import server_roots
from tutelage.teacher.engines.server_answers import Answerer
from tutelage.teacher.engines.server_batch import Batch, Health, Outcome, ending
from tutelage.teacher.engines.server_client import ServerClient, run_async
from tutelage.teacher.engines.server_errors import Lasting, Refused
from tutelage.teacher.engines.server_exchange import Connection
from tutelage.teacher.engines.server_fleet import Fleet, Member
from tutelage.teacher.engines.server_identity import Memory, Notebook
from tutelage.teacher.engines.server_key import server_keys
from tutelage.teacher.engines.server_prompt_ids import PromptIds
from tutelage.teacher.engines.server_report import Ability, examine
from tutelage.teacher.engines.server_surveyor import Surveyor
from tutelage.teacher.engines.server_tokenizer import ServerTokenizer
from tutelage.teacher.replies import ReplyCollector

_APIS = ("auto", "chat", "completions")
_SCORINGS = ("auto", "exact", "top", "agreement", "decisions")
_WORD = " yes"
"""Its tokens tell whether any are known."""


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
        self._tokenizer = ServerTokenizer(tokenizer or "", model)
        self._notebook = Notebook()
        self._health = Health()
        self._failure: tuple[Request, Lasting] | None = None
        self._answers = Answerer(self._connection, model, self._tokenizer, self._note)
        self._surveyor = Surveyor(
            self._fleet,
            self._answers,
            model=model,
            api=api,
            scoring=scoring,
            samples=samples,
            anywhere=not isinstance(url, str),
        )
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
        if (identity := self._surveyor.identity) is not None:
            if identity.scoring != "exact":
                scoring = identity.scoring
            if identity.name:
                settings["served"] = identity.name
            if identity.chat not in ("", "exact", scoring):
                settings["chat"] = identity.chat
        return fingerprint_of("server", scoring=scoring, **settings)

    @property
    def speaks_chat(self) -> bool:
        """Whether the server takes messages; known once it was asked (:meth:`settle`)."""
        return self._surveyor.identity is not None and self._surveyor.identity.chat != ""

    @property
    def scores_texts(self) -> bool:
        """Whether labels after a text to continue are scored exactly, as vLLM's server does it.

        Others are asked in messages where they can: what they return of a text's next token may
        lack labels, and not all of them tell token ids.
        """
        identity = self._surveyor.identity
        if identity is None or not identity.chat:
            return True
        # Where nobody knows the ids, other numbers stand for them.
        return identity.scoring == "exact" and self.tokenize([_WORD]) != [
            self._tokenizer.estimate(_WORD)
        ]

    def settle(self, memory: Memory | None = None) -> None:
        """Asks the server once what it is, so that the fingerprint is known before any request.

        With a memory of an earlier run, a server that does not answer is taken to be the same, so
        that a cache replays without it.

        Args:
            memory: Keeps the answer, and the ids of texts, for later runs.

        Raises:
            TeacherError: The server does not answer, and no earlier run asked it.
        """
        if self._surveyor.identity is not None:
            return
        self._notebook = Notebook(memory)
        unsettled = self.fingerprint
        known = self._notebook.identity(unsettled)
        try:
            retries = None if known is None else 0
            self._run(lambda client: self._surveyor.look(client, retries))
        except TeacherError as error:
            if known is None:
                raise
            self._surveyor.identity = known
            self._note(
                "the server could not be asked, so only replies in the cache can be used, those "
                f"of {known.described(self._model)}: {error}"
            )
            return
        found = self._surveyor.identity
        assert found is not None
        if known == found:
            return
        self._notebook.keep_identity(unsettled, found)
        if known is not None:
            self._note(
                f"the server at {self.root} is {found.described(self._model)} now, and "
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
            await self._surveyor.prepare(client, requests)
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
        if self._surveyor.identity is None and any(isinstance(text, Chat) for text in texts):
            self.settle()
        identity = self._surveyor.identity
        return PromptIds(
            tokenizer=self._tokenizer,
            notebook=self._notebook,
            fingerprint=self.fingerprint,
            chat="" if identity is None else identity.chat,
            form=self._answers.chat_form,
            root=self.root,
            run=self._run,
            note=self._note,
        ).of(texts)

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
        spent = self._surveyor.spent
        if spent.requests:
            self.notes.append(
                f"{spent.requests} short requests ({spent.tokens} tokens) asked the server what it "
                "can do; they are in no count of tokens"
            )

    def _run(self, use: Callable[[ServerClient], Awaitable[None]]) -> None:
        """Opens a client; a request of its own that keeps failing ends the run."""

        async def with_client() -> None:
            async with ServerClient(self._connection, self._surveyor.admit) as client:
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

    async def _compared(self, client: ServerClient) -> Ability:
        """Tells whether all servers have one model, for ``tutelage doctor``."""
        try:
            return Ability("one model", True, await self._surveyor.compared(client))
        except TeacherError as error:
            return Ability("one model", False, "no", str(error))

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
            self._surveyor.spent.requests += 1
        except (Refused, ValueError):
            return
        except Lasting as error:
            raise TeacherError(
                f"the server at {self.root} failed {failure}. That was the request whose prompt "
                f"ends with {ending(str(request.prompt))!r}; a short test request failed, too "
                f"({error}). The replies so far are kept. {self._advice()}"
            ) from error
