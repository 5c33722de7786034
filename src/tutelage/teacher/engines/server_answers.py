"""Turns requests into completions of a server, and completions into replies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tutelage.errors import TeacherError
from tutelage.teacher import structured
from tutelage.teacher.base import GenerateRequest, Reply, Request, ScoreRequest
from tutelage.teacher.engines.server_batch import Outcome
from tutelage.teacher.engines.server_client import (
    Connection,
    Refused,
    ServerClient,
    UnexpectedError,
)
from tutelage.teacher.engines.server_probe import Survey
from tutelage.teacher.engines.server_replies import (
    Completion,
    TopToken,
    read_completion,
    top_tokens,
)
from tutelage.teacher.engines.server_requests import COMPLETIONS, Form, Way, completion_body
from tutelage.teacher.engines.server_tokenizer import ServerTokenizer
from tutelage.teacher.engines.server_tokens import Found, find
from tutelage.teacher.engines.server_watch import LabelWatch

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
        way: How to score; None before :meth:`begin`, and for a server that cannot.
        form: The form of requests for a text, as the server takes it.
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
        self.form = Form()
        self.watch = LabelWatch(0)
        self.reply_model = ""
        self.has_begun = False

    def begin(self, survey: Survey) -> None:
        """Takes over what a survey found out."""
        self.way, self.reply_model, self.has_begun = survey.way, survey.reply_model, True
        if survey.way is not None and not survey.way.exact:
            self.watch = LabelWatch(survey.way.top)
            self._note(
                f"{self._root} returns only the {survey.way.top} most likely tokens. A choice "
                "missing from them gets the lowest log-probability in the reply, so small "
                "probabilities are too large."
            )

    async def answer(self, client: ServerClient, request: Request) -> Outcome:
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

    async def _complete(self, client: ServerClient, body: dict[str, Any]) -> Completion:
        """Sends a request, and checks that the same model answers as before.

        Raises:
            ValueError: The reply is no completion.
            TeacherError: Another model answered.
        """
        reply = read_completion(await client.post(COMPLETIONS, body))
        reply = replace(reply, text=self._mask(reply.text, cut=False))
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
        form = self.form
        while True:
            try:
                completion = await self._complete(client, form.body(self._model, request))
            except Refused as error:
                simpler = form.simpler(str(error), request)
                if simpler is None:
                    raise
                form = simpler
                continue
            if form != self.form:
                self.form = form
                if form.note:
                    self._note(f"{self._root}: {form.note}")
            return completion

    async def _score(self, client: ServerClient, request: ScoreRequest) -> tuple[Reply, bool]:
        """Scores the choices; also returns whether the reply says nothing about any of them."""
        way = self.way
        assert way is not None
        if not 1 <= len(request.choices) <= 128:
            error = f"a score takes 1 to 128 choices, this one has {len(request.choices)}"
            return Reply(request.id, error=error), False
        body = completion_body(self._model, str(request.prompt), 1, 0.0) | way.fields(
            request.choices
        )
        completion = await self._complete(client, body)
        tokens = top_tokens(completion.logprobs)
        if way.exact:
            found = _exact(tokens, request.choices)
            blind = sum(map(math.exp, found.logprobs)) < _UNLIKELY
        else:
            named = any(token.id is None for token in tokens)
            known = await self._tokenizer.spellings(client, request.choices) if named else {}
            found = find(tokens, request.choices, known)
            blind = found.missing == len(request.choices)
        self._count(request.choices, tokens, len(request.choices) if blind else found.missing)
        reply = self._reply(request, completion)
        # An exact score stays one, however small.
        blind = blind and not way.exact
        return replace(reply, logprobs=found.logprobs, finish_reason="length"), blind

    def _count(self, choices: Sequence[int], tokens: Sequence[TopToken], missing: int) -> None:
        """Counts missing labels, and says so where they are many."""

        def example() -> tuple[list[str], list[str]]:
            shown = self._tokenizer.shown
            others = [token for token in tokens if token.id not in choices]
            names = [one.name[:40] if one.id is None else shown(one.id) for one in others]
            return [shown(choice) for choice in choices], names

        self.watch.count(missing, len(choices), example)
        if warning := self.watch.warning():
            self._note(warning)


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
