"""Finds out whether a server takes messages, how it scores them, and whether its model thinks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tutelage.errors import TeacherError
from tutelage.teacher import structured
from tutelage.teacher.engines.server_chat import (
    CHAT,
    DECISIONS,
    PROBE,
    QUIET,
    ROOM,
    ChatForm,
    ChatSurvey,
    decision_body,
)
from tutelage.teacher.engines.server_errors import Lasting, NotFoundError, Refused, UnexpectedError
from tutelage.teacher.engines.server_probe import (
    CANARY,
    TOKENS,
    Prober,
    Survey,
    has_all,
    more_tokens,
)
from tutelage.teacher.engines.server_replies import Completion, read_completion, top_tokens
from tutelage.teacher.engines.server_requests import EXACT, SCHEMAS, TOPS, Way
from tutelage.teacher.marks import THINKING, unmarked

_LENGTH = 48
"""Tokens that show whether a model thinks before it answers a short question."""


@dataclass(frozen=True, slots=True)
class ChatProber:
    """Sends short chats to a server.

    Attributes:
        prober: Sends other requests, and counts all of them.
        form: The form of requests.
    """

    prober: Prober
    form: ChatForm = field(default_factory=ChatForm)

    async def survey(self, scoring: str, samples: int) -> ChatSurvey:
        """Asks a short question, then for probabilities in ever simpler ways.

        Args:
            scoring: The setting ``teacher.scoring``.
            samples: The setting ``teacher.samples``.

        Raises:
            Lasting: The server does not answer.
            TeacherError: The server refused the key, or takes no messages.
        """
        try:
            asking, reply = await self._quiet()
        except (Refused, ValueError) as error:
            return ChatSurvey(no_way=self.prober.client.clean(str(error)))
        way, no_way = await asking.way(scoring, samples)
        form = asking.form
        if way is not None and way.samples:
            form = replace(form, constraint=await asking.constraint())
        return ChatSurvey(form, way, no_way, self.prober.client.clean(reply.model))

    async def ask(self, fields: dict[str, Any], max_tokens: int = 1) -> Completion:
        """Asks a short question.

        Raises:
            Refused: The server refused the request.
            Lasting: Every attempt failed.
            ValueError: The reply is no completion.
            TeacherError: The server refused the key, or takes no messages.
        """
        body = self.form.asked(self.prober.model, PROBE, max_tokens, 0.0) | fields
        return self.prober.count(
            read_completion(await self.prober.client.post(CHAT, body, retries=self.prober.retries))
        )

    async def _quiet(self) -> tuple[ChatProber, Completion]:
        """Finds the form that the server takes, and that keeps the model from thinking."""
        first, reply = await self._accepted()
        if not _thinks(reply):
            return first, reply
        for quiet in QUIET:
            other = replace(self, form=replace(first.form, quiet=quiet))
            if quiet in ("", first.form.quiet):
                continue
            try:
                answer = await other.ask({}, _LENGTH)
            except (Refused, ValueError):
                continue
            if not _thinks(answer):
                return other, answer
        return replace(self, form=replace(first.form, thinks=True)), reply

    async def _accepted(self) -> tuple[ChatProber, Completion]:
        """Finds a form that the server takes, from the richest one to the simplest one."""
        form = self.form
        while True:
            try:
                return replace(self, form=form), await replace(self, form=form).ask({}, _LENGTH)
            except Refused as error:
                # A strict server may not say what it dislikes.
                simpler = form.accepted(str(error), PROBE)
                if simpler is None and form.quiet:
                    simpler = replace(form, quiet="")
                if simpler is None:
                    raise
                form = simpler

    async def way(self, scoring: str, samples: int) -> tuple[Way | None, str]:
        """Finds the best way to score.

        Returns:
            The way, or None with the reason.

        Raises:
            Lasting: The server does not answer.
        """
        agreement = Way(samples=samples)
        if scoring == "decisions":
            return await self._decisions()
        if scoring == "agreement":
            return agreement, ""
        if self.form.thinks:
            reason = "its model thinks before it answers"
            return (agreement, "") if scoring == "auto" else (None, reason)
        if scoring == "exact":
            return EXACT, ""
        reason = ""
        for way in (EXACT, *TOPS) if scoring == "auto" else TOPS:
            try:
                tokens = top_tokens((await self.ask(way.fields(TOKENS, chat=True))).logprobs)
                if way.exact and not has_all(tokens, TOKENS):
                    continue
                return await more_tokens(way, tokens, self._top), ""
            except Refused as error:
                reason = f"it refuses log-probabilities: {error}"
            except ValueError as error:
                reason = f"its reply is not usable: {self.prober.client.clean(str(error))}"
        return (agreement, "") if scoring == "auto" else (None, reason)

    async def _top(self, way: Way) -> Any:
        return (await self.ask(way.fields(TOKENS, chat=True))).logprobs

    async def _decisions(self) -> tuple[Way | None, str]:
        body = decision_body(self.prober.model, PROBE, ("yes", "no"))
        try:
            await self.prober.client.post(DECISIONS, body, retries=self.prober.retries)
        except (Refused, NotFoundError, ValueError) as error:
            said = error.said if isinstance(error, UnexpectedError) else str(error)
            return None, f"it has no {DECISIONS} ({said})"
        return Way(decides=True), ""

    @property
    def _room(self) -> int:
        """Tokens for a short answer, with its thoughts."""
        return _LENGTH + (ROOM if self.form.thinks else 0)

    async def constraint(self) -> str:
        """Finds out how to keep an answer to labels."""
        for name in ("choice", "schema"):
            form = replace(self.form, constraint=name)
            try:
                reply = await self.ask(form.constrained(("canary",)), self._room)
            except (Refused, ValueError):
                continue
            if reply.text.strip().strip('"') == "canary" or '"canary"' in reply.text:
                return name
        return ""

    async def schemas(self) -> tuple[str, str]:
        """Finds out how to ask for a JSON schema; see :meth:`Prober.schemas`.

        Raises:
            Lasting: The server does not answer.
        """
        reason = ""
        for name, fields in SCHEMAS.items():
            try:
                reply = await self.ask(fields(CANARY), self._room)
                structured.validate(reply.whole, CANARY)
                return name, ""
            except (Refused, ValueError) as error:
                reason = reason or self.prober.client.clean(str(error))
        return "", reason


def _thinks(reply: Completion) -> bool:
    return bool(reply.thoughts) or reply.has_thought or THINKING in unmarked(reply.text).removed


async def survey_server(prober: Prober, api: str, scoring: str, samples: int) -> Survey:
    """Finds out what a server is, and how it answers texts and messages.

    Args:
        prober: Sends the requests.
        api: The setting ``teacher.api``.
        scoring: The setting ``teacher.scoring``.
        samples: The setting ``teacher.samples``.

    Raises:
        Lasting: The server does not answer.
        TeacherError: The server refused the key, or lacks the model or what ``api`` names.
    """
    if api == "completions":
        return await prober.survey(scoring)
    survey, missing = None, None
    if api == "auto":
        try:
            survey = await prober.survey(scoring)
        except NotFoundError as error:
            missing = error
    try:
        chat = await ChatProber(prober).survey(scoring, samples)
    except (Lasting, UnexpectedError) as error:
        # Whatever is wrong with messages need not be wrong with texts.
        if survey is None:
            if not isinstance(error, NotFoundError):
                raise
            better = await prober.not_there(error)
            if better is not error:
                raise better from error
        said = error.said if isinstance(error, UnexpectedError) else str(error)
        chat = ChatSurvey(no_way=prober.client.clean(said))
    if survey is not None:
        return replace(survey, chat=chat)
    if chat.form is None:
        raise missing or TeacherError(
            f"the server at {prober.client.root} takes no messages: {chat.no_way}. Set "
            "teacher.api=completions, or use a server with /v1/chat/completions."
        )
    name = await prober.name(chat.reply_model)
    return Survey(name, chat.reply_model, None, f"it has {CHAT} alone", chat, completes=False)


def limits(survey: Survey) -> list[str]:
    """Returns what readers of the results should know of a server, each after its address."""
    chat = survey.chat
    way = survey.way if chat.form is None else chat.way
    found = []
    if chat.form is not None and chat.form.thinks:
        found.append(
            f"has a model that cannot be kept from thinking, so each text has {ROOM} tokens more "
            "for its thoughts, which are billed, and labels are read after them."
        )
    if way is not None and way.samples:
        kept = "" if chat.form is None or chat.form.constraint else ", in free text"
        found.append(
            f"gives no probabilities of labels, so each text is labelled {way.samples} times"
            f"{kept} (teacher.samples), and the shares of the answers are the probabilities. "
            "They are coarse, and all answers are billed."
        )
    elif way is not None and way.decides:
        found.append(
            f"is asked by {DECISIONS}, which words the prompt of a label by itself and shows the "
            "labels as letters."
        )
    elif way is not None and not way.exact:
        found.append(
            f"returns only the {way.top} most likely tokens. A choice missing from them gets the "
            "lowest log-probability in the reply, so small probabilities are too large."
        )
    return found
