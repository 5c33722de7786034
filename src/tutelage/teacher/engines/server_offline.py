"""A server that is asked by batch files: replies are read from files, and no request is sent.

It takes the place of :class:`tutelage.teacher.engines.server.ServerTeacher`, with the same prompts,
bodies, readers and fingerprint. What a live server is asked about itself, the settings must say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from tutelage.errors import ConfigError, TeacherError
from tutelage.teacher.base import Chat, OnReply, Prompt, Reply, Request, ScoreRequest, Teacher
from tutelage.teacher.engines.server import ServerTeacher
from tutelage.teacher.engines.server_answers import Answerer
from tutelage.teacher.engines.server_batch import Batch, Outcome
from tutelage.teacher.engines.server_chat import CHAT, ChatForm, ChatSurvey
from tutelage.teacher.engines.server_client import ServerClient, run_async
from tutelage.teacher.engines.server_errors import Lasting, NotFoundError, Refused
from tutelage.teacher.engines.server_exchange import REFUSALS
from tutelage.teacher.engines.server_identity import Memory, Notebook
from tutelage.teacher.engines.server_match import identity_of
from tutelage.teacher.engines.server_probe import Survey
from tutelage.teacher.engines.server_requests import COMPLETIONS, EXACT, Form, Way
from tutelage.teacher.replies import ReplyCollector
from tutelage.teacher.wrappers.routing import Layers, others_of

NO_REPLY = "the batch files have no reply to it"
"""The error of a request without a reply."""
_FEW = 8
"""Fewer requests without a reply are single ones, as with a live server, whatever their share."""
_APIS = ("chat", "completions")
_SCORINGS = ("exact", "top")
_TOPS = {CHAT: Way(top=20), COMPLETIONS: Way(top=5)}
"""OpenAI's largest numbers. Ids of tokens are not asked for, since OpenAI refuses the field."""


@dataclass(frozen=True, slots=True)
class FileReply:
    """The reply to one request of a batch file.

    Attributes:
        status: The HTTP status; 0 if the request was not answered at all.
        body: The parsed body of a reply with status 200.
        said: Why the request failed; "" if it did not.
    """

    status: int
    body: Any = None
    said: str = ""


class FoundReplies(Protocol):
    """The replies of batch files."""

    @property
    def model(self) -> str:
        """What the replies call their model; "" if they do not say, or there are none."""
        ...

    def find(self, name: str) -> FileReply | None:
        """Returns the reply to the request with this name (see :func:`custom_id`), if any."""
        ...


Collect = Callable[[str, Request, str, dict[str, Any]], None]
"""Takes a request without a usable reply: its name, itself, and the address and body to send."""


def custom_id(path: str, body: dict[str, Any]) -> str:
    """Returns the name of a request in batch files: a hash of all that is sent (40 hex digits).

    A reply to another prompt, model or setting has another name, so it is never taken for this one.
    """
    content = json.dumps([path, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()[:40]


class _Missing(Exception):
    """The batch files have no reply to a request."""


@dataclass(slots=True)
class Counts:
    """Requests that were looked up.

    Attributes:
        missing: Names of requests without a reply.
        failed: Names of requests whose reply has an error, or is not usable.
        example: The first such error.
        lost: Number of times that such a request was asked.
    """

    missing: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    example: str = ""
    lost: int = 0


class _Lookup:
    """Answers the requests that one prompt takes from the replies of files.

    Args:
        root: Address of the server, for messages.
        clean: Makes a server's text fit for a message.
        replies: The replies.
        read: Whether to return replies; otherwise none is said to be there.

    Attributes:
        sent: Address and body of the last request.
        name: Its name.
        refused: Whether its reply says that the server refused it.
    """

    def __init__(
        self,
        root: str,
        clean: Callable[[str, int], str],
        replies: FoundReplies,
        *,
        read: bool = True,
    ) -> None:
        self._root, self._clean, self._replies, self._read = root, clean, replies, read
        self.sent: tuple[str, dict[str, Any]] = ("", {})
        self.name = ""
        self.refused = False

    @property
    def root(self) -> str:
        """Address of the server, for messages."""
        return self._root

    def clean(self, text: str, length: int = 300) -> str:
        """Returns a server's text for a message."""
        return self._clean(text, length)

    def end(self) -> None:
        """Does nothing: no request is under way."""

    async def post(self, path: str, body: dict[str, Any], *, retries: int | None = None) -> Any:
        """Returns the body of the reply.

        Raises:
            _Missing: There is none.
            Refused: The server refused the request.
            Lasting: The request failed otherwise.
            NotFoundError: The address is none of batch files.
        """
        if path not in (CHAT, COMPLETIONS):
            raise _nobody_there(self._root)
        self.sent, self.name, self.refused = (path, body), custom_id(path, body), False
        reply = self._replies.find(self.name)
        if reply is None:
            raise _Missing
        if reply.status == 200:
            if not self._read:
                raise _Missing
            return reply.body
        if reply.status in REFUSALS:
            self.refused = True
            raise Refused(self.clean(reply.said))
        status = f"HTTP {reply.status} " if reply.status else ""
        raise Lasting(f"with: {status}{self.clean(reply.said)}", 0)


class OfflineServerTeacher(ServerTeacher):
    """A server's teacher that reads replies from files and sends nothing.

    Args:
        url: As for :class:`ServerTeacher`; the cache is keyed by it, and nobody connects to it.
        model: Likewise, as the other settings.
        replies: The replies of batch files.
        collect: Called with each request that has no usable reply, and that was not refused.
        **settings: The other settings of :class:`ServerTeacher`.

    Attributes:
        counts: Requests that were looked up.

    Raises:
        ConfigError: ``api`` or ``scoring`` does not say how to ask, or cannot be asked in files.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        model: str,
        *,
        replies: FoundReplies,
        collect: Collect | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(url, model, **settings)
        self._replies, self._collect = replies, collect
        self._files = _survey(settings.get("api", "auto"), settings.get("scoring", "auto"))
        self._forms = Form(), self._files.chat.form or ChatForm()
        self.counts = Counts()

    def settle(self, memory: Memory | None = None) -> None:
        """Takes the server for what the settings, the replies and earlier runs say.

        Args:
            memory: What earlier runs found out, those with a live server included.
        """
        if self._surveyor.identity is not None:
            return
        self._notebook = Notebook(memory)
        unsettled = self.fingerprint
        known = self._notebook.identity(unsettled)
        called = self._connection.clean(self._replies.model)
        other = "" if called == self._model else called
        # A live server's list of models may have told more names than its replies do.
        is_known = known is not None and (not other or other in known.name.split(" / "))
        name = known.name if known is not None and is_known else other
        # A reply of any other model is an error from here on.
        survey = replace(self._files, name=name, reply_model=called)
        found = identity_of(survey, anywhere=not isinstance(self._url, str))
        self._surveyor.identity = found
        self._answers.begin(survey)
        if known is not None and not is_known:
            self._note(
                f"the batch files call the model {called!r}, and the server at {self.root} was "
                f"{known.described(self._model)} when its replies were cached under the name "
                f"{self._model}. The cached replies are not used."
            )
        if called and known != found:
            self._notebook.keep_identity(unsettled, found)

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answers every request from the files, in order.

        A request without a reply, or whose reply has an error, gets a failed reply.

        Raises:
            TeacherError: Such requests cannot be asked with these settings, the replies are of
                several models, or no label is among their likely tokens.
            ValueError: An id occurs twice.
        """
        collector = ReplyCollector(requests, on_reply)
        if self._closed:
            raise TeacherError("the teacher was asked after it was closed; build a new one.")
        if not requests:
            return []
        self.settle()
        chats = any(isinstance(request.prompt, Chat) for request in requests)
        scores = any(isinstance(request, ScoreRequest) for request in requests)
        self._surveyor.check(self._files, scores=scores, chats=chats)
        self._answers.prepare(chats=chats)

        async def everything() -> None:
            await Batch(
                self._lookup(),
                requests,
                self._from_files,
                collector.keep,
                self._health,
                self._answers.watch,
                "",
            ).run()

        run_async(everything)
        return collector.in_order()

    def note_asked(self, requests: Sequence[Request]) -> None:
        """Looks up requests that were answered already, so that their replies count as known."""
        answers = Answerer(self._connection, self._model, self._tokenizer, lambda _: None)
        answers.begin(self._files)

        async def everything() -> None:
            for request in requests:
                answers.form, answers.chat_form = self._forms
                try:
                    await answers.answer(self._lookup(read=False), request)
                except (_Missing, Lasting):
                    continue

        run_async(everything)

    def _lookup(self, *, read: bool = True) -> _Lookup:
        return _Lookup(self.root, self._connection.clean, self._replies, read=read)

    async def _from_files(self, request: Request) -> Outcome:
        lookup = self._lookup()
        # What one refusal taught is not kept: the body of a request, and so its name, must not
        # depend on the requests before it.
        self._answers.form, self._answers.chat_form = self._forms
        try:
            outcome = await self._answers.answer(lookup, request)
        except _Missing:
            self.counts.missing.add(lookup.name)
            self.counts.lost += 1
            self._pass_on(lookup, request)
            return Outcome(Reply(request.id, error=NO_REPLY))
        except Lasting as error:
            outcome = Outcome(Reply(request.id, error=f"the server failed {error}"), str(error))
        if outcome.failure or lookup.refused:
            self.counts.failed.add(lookup.name)
            self.counts.lost += 1
            self.counts.example = self.counts.example or outcome.reply.error
        if outcome.failure:
            self._pass_on(lookup, request)
        # How many may fail is up to whoever reads the files.
        return replace(outcome, failure="")

    def _pass_on(self, lookup: _Lookup, request: Request) -> None:
        if self._collect is not None:
            self._collect(lookup.name, request, *lookup.sent)

    def _run(self, use: Callable[[ServerClient], Awaitable[None]]) -> None:
        """Refuses what only a live server could answer, as a server without that address does."""
        raise _nobody_there(self.root)


class FewReplies(TeacherError):
    """Most of the requests for some texts have no reply in the batch files."""


class NotingTeacher:
    """The outermost layer: tells the engine of replies from the cache, and counts missing ones.

    Args:
        inner: The layer below.
        engine: The engine, which sees no request that the cache answers.
        strict: Whether it is an error that most requests have no reply.
    """

    def __init__(self, inner: Teacher, engine: OfflineServerTeacher, *, strict: bool) -> None:
        self._inner, self._engine, self._strict = inner, engine, strict

    @property
    def fingerprint(self) -> str:
        """The engine's fingerprint."""
        return self._inner.fingerprint

    @property
    def others(self) -> Mapping[str, Layers]:
        """The further teachers; none."""
        return others_of(self._inner)

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answers every request, in order.

        Raises:
            FewReplies: Most of them have no reply.
        """
        before = self._engine.counts.lost
        replies = self._inner.ask(requests, on_reply)
        cached = {reply.id for reply in replies if reply.cached}
        self._engine.note_asked([one for one in requests if one.id in cached])
        lost = self._engine.counts.lost - before
        if self._strict and lost >= _FEW and 2 * lost > len(requests):
            first = next(reply.error for reply in replies if reply.error)
            raise FewReplies(
                f"{lost:,} of {len(requests):,} requests for some texts have no usable reply in "
                f"the batch files; the first says: {first}. Give all files of replies "
                "(--batch-replies takes a folder), or write the missing requests once more with "
                "--batch-requests."
            )
        return replies

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        """Returns the engine's token ids of each text."""
        return self._inner.tokenize(texts)

    def close(self) -> None:
        """Closes the layers below."""
        self._inner.close()


def _nobody_there(root: str) -> NotFoundError:
    said = "batch files have messages and completions alone"
    return NotFoundError(f"the server at {root} is not asked: {said}.", 404, said)


def _survey(api: str, scoring: str) -> Survey:
    """Returns what a survey of the server would find, by the settings.

    Raises:
        ConfigError: They do not say it.
    """
    if api not in _APIS:
        raise ConfigError(
            f"teacher.api={api} asks the server what it takes, and batch files have no server to "
            "ask. Give teacher.api=chat (the only one of `vllm run-batch`), or "
            "teacher.api=completions."
        )
    if scoring not in _SCORINGS:
        why = (
            "asks the server what it can do, and batch files have no server to ask"
            if scoring == "auto"
            else "is no way to ask in batch files"
        )
        raise ConfigError(
            f"teacher.scoring={scoring} {why}. Give teacher.scoring=exact (vLLM), or "
            "teacher.scoring=top (OpenAI and others)."
        )
    way = EXACT if scoring == "exact" else _TOPS[CHAT if api == "chat" else COMPLETIONS]
    if api == "completions":
        return Survey("", "", way, "", ChatSurvey(no_way="teacher.api=completions"))
    # OpenAI refuses the field that keeps models of vLLM from thinking.
    form = ChatForm(quiet="template" if way.exact else "")
    return Survey("", "", None, f"it has {CHAT} alone", ChatSurvey(form, way), completes=False)
