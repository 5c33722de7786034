"""Turns requests into completions or chats of a server, and its answers into replies."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tutelage.errors import TeacherError
from tutelage.teacher import structured
from tutelage.teacher.base import (
    Chat,
    GenerateRequest,
    Reply,
    Request,
    ScoreRequest,
)
from tutelage.teacher.engines.server_agreement import agreement, billed, sampled
from tutelage.teacher.engines.server_batch import Outcome
from tutelage.teacher.engines.server_chat import (
    CHAT,
    DECISIONS,
    ChatForm,
    decision_body,
)
from tutelage.teacher.engines.server_chat import PROBE as CHAT_PROBE
from tutelage.teacher.engines.server_chat_probe import limits
from tutelage.teacher.engines.server_client import Client
from tutelage.teacher.engines.server_errors import Refused, UnexpectedError
from tutelage.teacher.engines.server_exchange import Connection
from tutelage.teacher.engines.server_probe import PROBE, Survey
from tutelage.teacher.engines.server_replies import (
    Completion,
    TopToken,
    read_completion,
    read_completions,
    read_decision,
    top_tokens,
)
from tutelage.teacher.engines.server_requests import COMPLETIONS, Form, Way, completion_body
from tutelage.teacher.engines.server_tokenizer import ServerTokenizer
from tutelage.teacher.engines.server_tokens import Found, find
from tutelage.teacher.engines.server_watch import LabelWatch
from tutelage.teacher.engines.server_words import find_words, stand_in
from tutelage.teacher.marks import stopped

_Form = TypeVar("_Form", bound=Form)
_Sent = TypeVar("_Sent")

_UNLIKELY = 1e-4
"""With less probability, all labels together are no answer to the prompt."""


class Answerer:
    """Answers single requests.

    Args:
        connection: Where the server is.
        model: Name of the model on the server.
        tokenizer: The tokenizer of the model.
        note: Called with each limitation of the server as it is found.

    Attributes:
        way: How to score after texts; None before :meth:`begin`, and for a server that cannot.
        chat_way: How to score the answers of chats, likewise.
        form: The form of requests for a text, as the server takes it.
        chat_form: The form of chat requests, as the server takes it.
        watch: Counts replies without labels.
        reply_model: What the server calls its model; "" if it does not say.
        has_begun: Whether the server was surveyed.
    """

    def __init__(
        self,
        connection: Connection,
        model: str,
        tokenizer: ServerTokenizer,
        note: Callable[[str], None],
    ) -> None:
        self._root = connection.root
        self._mask = connection.mask
        self._model = model
        self._tokenizer = tokenizer
        self._note = note
        self.way: Way | None = None
        self.chat_way: Way | None = None
        self.form = Form()
        self.chat_form = ChatForm()
        self._watches = LabelWatch(0), LabelWatch(0)
        self._of_chats = False
        self.reply_model = ""
        self.has_begun = False

    def begin(self, survey: Survey) -> None:
        """Takes over what a survey found out."""
        self.way, self.reply_model, self.has_begun = survey.way, survey.reply_model, True
        self.chat_way = survey.chat.way
        if survey.chat.form is not None:
            self.chat_form = survey.chat.form
        self._watches = _watch(self.way), _watch(self.chat_way)
        self._of_chats = survey.chat.form is not None
        for text in limits(survey):
            self._note(f"{self._root} {text}")

    @property
    def watch(self) -> LabelWatch:
        """Counts replies without labels, among those to the last kind of prompts."""
        return self._watches[self._of_chats]

    def short(self) -> tuple[str, dict[str, Any]]:
        """Returns the address and the body of a short request that tests the server."""
        if self._of_chats:
            return CHAT, self.chat_form.asked(self._model, CHAT_PROBE, 1, 0.0)
        return COMPLETIONS, completion_body(self._model, PROBE, 1, 0.0)

    def keep_schema(self, schema: str, *, chats: bool) -> None:
        """Keeps how the server takes JSON schemas, one of :data:`SCHEMAS`."""
        if chats:
            self.chat_form = replace(self.chat_form, schema=schema)
        else:
            self.form = replace(self.form, schema=schema)

    def prepare(self, *, chats: bool) -> None:
        """Takes notice of whether the next prompts are chats or texts to continue."""
        self._of_chats = chats

    async def answer(self, client: Client, request: Request) -> Outcome:
        """Answers one request.

        Raises:
            Lasting: Every attempt failed.
            TeacherError: All other requests would fail, too.
        """
        blind = False
        try:
            if isinstance(request, ScoreRequest):
                reply, blind = await self._score(client, request)
            else:
                reply = await self._generate(client, request)
        except Refused as error:
            reply = Reply(request.id, error=f"the server refused the request: {error}")
        except ValueError as error:
            return _failed(request, f"with a reply that is not usable: {client.clean(str(error))}")
        except UnexpectedError as error:
            # A server that answered before may dislike this prompt alone.
            if not (self.has_begun or self.reply_model):
                raise
            return _failed(request, f"with: HTTP {error.status} {error.said}")
        return Outcome(reply, blind=blind)

    async def _complete(self, client: Client, body: dict[str, Any]) -> Completion:
        """Sends a request, and checks that the same model answers as before.

        Raises:
            ValueError: The reply is no completion.
            TeacherError: Another model answered.
        """
        return self._checked(client, read_completion(await client.post(COMPLETIONS, body)))

    async def _chat(self, client: Client, body: dict[str, Any]) -> list[Completion]:
        """Sends a chat request; returns one completion per answer, and raises likewise."""
        found = read_completions(await client.post(CHAT, body))
        return [self._checked(client, completion) for completion in found]

    def _checked(self, client: Client, reply: Completion) -> Completion:
        reply = replace(
            reply,
            text=self._mask(reply.text, cut=False),
            thoughts=self._mask(reply.thoughts, cut=False),
        )
        model = client.clean(reply.model)
        self.reply_model = self.reply_model or model
        if model and model != self.reply_model:
            raise TeacherError(
                f"the server at {self._root} calls its model {model!r} now, and called it "
                f"{self.reply_model!r} before, so another model answers under the name "
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
            prompt_tokens = self._tokenizer.length(str(request.prompt))
            self._note(
                f"{self._root} reports no token counts, so they are counted with the tokenizer on "
                "this machine, or estimated as one token per 4 bytes where there is none."
            )
        if isinstance(request, ScoreRequest) and not self._samples(request):
            completion_tokens = 1
        elif not completion_tokens and completion.whole:
            completion_tokens = self._tokenizer.length(completion.whole)
        return Reply(
            request.id,
            text,
            (),
            prompt_tokens or 0,
            completion_tokens or 0,
            completion.finish_reason,
            error,
        )

    async def _generate(self, client: Client, request: GenerateRequest) -> Reply:
        completion = await self._in_any_form(client, request)
        text, error = completion.whole, ""
        if isinstance(request.prompt, Chat):
            if request.prompt.is_prefilled:
                # llama.cpp repeats the beginning that it was given.
                text = text.removeprefix(request.prompt.messages[-1].content)
            if self.chat_form.granted(request) != request.sampling:
                text = stopped(text, request.sampling.stop)
        if request.json_schema:
            text, mismatch = structured.completed(
                text, completion.finish_reason, request.json_schema
            )
            if mismatch:
                error = (
                    f"the reply {mismatch}; it ended by {completion.finish_reason!r} (by "
                    "'length': raise max_tokens)"
                )
        return self._reply(request, completion, text=text, error=error)

    async def _in_any_form(self, client: Client, request: GenerateRequest) -> Completion:
        chats = isinstance(request.prompt, Chat)

        async def send(form: Form) -> Completion:
            body = form.body(self._model, request)
            if chats:
                return _one(await self._chat(client, body))
            return await self._complete(client, body)

        return await self._simplified(
            self.chat_form if chats else self.form,
            send,
            lambda form, refusal: form.simpler(refusal, request),
        )

    async def _simplified(
        self,
        form: _Form,
        send: Callable[[_Form], Awaitable[_Sent]],
        simpler: Callable[[_Form, str], _Form | None],
    ) -> _Sent:
        """Sends a request in a form, and in simpler ones as long as the server refuses.

        Args:
            form: The form to begin with.
            send: Sends the request in a form.
            simpler: Returns the form without what a message refuses; None if there is none.

        Raises:
            Refused: The server refuses the simplest form, too.
        """
        known = form
        while True:
            try:
                found = await send(form)
            except Refused as error:
                next_form = simpler(form, str(error))
                if next_form is None:
                    raise
                form = next_form
                continue
            if form is not known:
                self._keep_form(form)
            return found

    def _keep_form(self, form: Form) -> None:
        """Keeps the form that the server took, and says what it left out."""
        if isinstance(form, ChatForm):
            changed, self.chat_form = form != self.chat_form, form
        else:
            changed, self.form = form != self.form, form
        for remark in form.remarks() if changed else ():
            self._note(f"{self._root}: {remark}")

    async def _score(self, client: Client, request: ScoreRequest) -> tuple[Reply, bool]:
        """Scores the choices; also returns whether the reply says nothing about any of them."""
        if not 1 <= len(request.choices) <= 128:
            error = f"a score takes 1 to 128 choices, this one has {len(request.choices)}"
            return Reply(request.id, error=error), False
        if isinstance(request.prompt, Chat):
            way = self.chat_way
            if way is not None and way.samples:
                return await self._agree(client, request, request.prompt, way.samples), False
            if way is not None and way.decides:
                return await self._decide(client, request, request.prompt), False
        else:
            way = self.way
        assert way is not None
        if by_words := _has_stand_ins(request):
            way = replace(way, ids=False)  # Names of tokens tell more than their ids.
        completion = await self._first_token(client, request, way)
        tokens = top_tokens(completion.logprobs)
        if way.exact:
            found = _exact(tokens, request.choices)
            blind = sum(map(math.exp, found.logprobs)) < _UNLIKELY
        elif by_words:
            found = find_words(tokens, request.words)
            blind = found.missing == len(request.choices)
        else:
            named = any(token.id is None for token in tokens)
            known = await self._tokenizer.spellings(client, request.choices) if named else {}
            found = find(tokens, request.choices, known)
            blind = found.missing == len(request.choices)
        self._count(request, tokens, len(request.choices) if blind else found.missing)
        reply = self._reply(request, completion)
        # An exact score stays one, however small.
        blind = blind and not way.exact
        return replace(reply, logprobs=found.logprobs, finish_reason="length"), blind

    async def _first_token(self, client: Client, request: ScoreRequest, way: Way) -> Completion:
        """Asks for one token, with the log-probabilities there."""
        if isinstance(request.prompt, str):
            body = completion_body(self._model, request.prompt, 1, 0.0)
            return await self._complete(client, body | way.fields(request.choices))
        fields = way.fields(request.choices, chat=True)
        return _one(await self._in_any_chat_form(client, request.prompt, fields, 1, 0.0))

    async def _in_any_chat_form(
        self,
        client: Client,
        chat: Chat,
        fields: dict[str, Any],
        max_tokens: int,
        temperature: float,
        seed: int | None = None,
    ) -> list[Completion]:
        async def send(form: ChatForm) -> list[Completion]:
            body = form.asked(self._model, chat, max_tokens, temperature)
            if seed is not None and form.seed_bits:
                body["seed"] = form.seed(seed)
            return await self._chat(client, body | fields)

        def simpler(form: ChatForm, refusal: str) -> ChatForm | None:
            shorter = None if seed is None else form.with_shorter_seed(refusal)
            return form.accepted(refusal, chat) or shorter

        return await self._simplified(self.chat_form, send, simpler)

    def _samples(self, request: Request) -> int:
        """Returns the number of answers that a score is made of; 0 for probabilities."""
        way = self.chat_way if isinstance(request.prompt, Chat) else self.way
        return way.samples if way is not None else 0

    async def _agree(
        self, client: Client, request: ScoreRequest, chat: Chat, samples: int
    ) -> Reply:
        """Samples answers, and takes their shares for probabilities."""
        if not request.words:
            return Reply(request.id, error="the labels have no words, which answers would name")

        async def ask(fields: dict[str, Any], max_tokens: int, seed: int) -> list[Completion]:
            return await self._in_any_chat_form(client, chat, fields, max_tokens, 1.0, seed)

        answers, several = await sampled(ask, self.chat_form, request.words, samples)
        if several != self.chat_form.several:
            self._keep_form(replace(self.chat_form, several=several))
        replies = [self._reply(request, answer) for answer in billed(answers)]
        return agreement(request, answers, replies)

    async def _decide(self, client: Client, request: ScoreRequest, chat: Chat) -> Reply:
        """Asks for the decision between the labels."""
        if not request.words:
            return Reply(request.id, error="the labels have no words, which decisions need")
        body = decision_body(self._model, chat, request.words)
        answer = await client.post(DECISIONS, body)
        logprobs, tokens = read_decision(answer, request.words)
        return Reply(
            request.id,
            logprobs=logprobs,
            prompt_tokens=tokens or self._tokenizer.length(str(chat)),
            completion_tokens=1,
            finish_reason="length",
        )

    def _count(self, request: ScoreRequest, tokens: Sequence[TopToken], missing: int) -> None:
        """Counts missing labels, and says so where they are many."""
        choices = request.choices

        def example() -> tuple[list[str], list[str]]:
            shown = self._tokenizer.shown
            others = [token for token in tokens if token.id not in choices]
            names = [one.name[:40] if one.id is None else shown(one.id) for one in others]
            if _has_stand_ins(request):
                return list(request.words), names
            return [shown(choice) for choice in choices], names

        self.watch.count(missing, len(choices), example)
        if warning := self.watch.warning():
            self._note(warning)


def _watch(way: Way | None) -> LabelWatch:
    return LabelWatch(0 if way is None or way.exact or not way.needs_ids else way.top)


def _one(found: Sequence[Completion]) -> Completion:
    if len(found) != 1:
        raise ValueError("it does not hold exactly one choice")
    return found[0]


def _has_stand_ins(request: ScoreRequest) -> bool:
    """Returns whether numbers of words stand in for token ids that nobody knows."""
    return bool(request.words) and request.choices == tuple(map(stand_in, request.words))


def _exact(tokens: Sequence[TopToken], choices: Sequence[int]) -> Found:
    by_id = {token.id: token.logprob for token in tokens}
    missing = [choice for choice in choices if choice not in by_id]
    if missing:
        raise ValueError(
            f"no log-probability for choice {missing[0]}; this server does not know "
            "logprob_token_ids"
        )
    return Found(tuple(by_id[choice] for choice in choices), 0)


def _failed(request: Request, failure: str) -> Outcome:
    return Outcome(Reply(request.id, error=f"the server failed {failure}"), failure)
