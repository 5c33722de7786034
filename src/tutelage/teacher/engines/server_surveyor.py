"""Asks the servers of a teacher what they are, before anything depends on it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial

from tutelage.errors import TeacherError
from tutelage.teacher.base import Chat, GenerateRequest, Request, ScoreRequest
from tutelage.teacher.engines.server_answers import Answerer
from tutelage.teacher.engines.server_chat_probe import ChatProber, survey_server
from tutelage.teacher.engines.server_client import ServerClient
from tutelage.teacher.engines.server_errors import Lasting
from tutelage.teacher.engines.server_fleet import Differs, Fleet, Member
from tutelage.teacher.engines.server_identity import Identity
from tutelage.teacher.engines.server_match import agreed, identity_of, of_each
from tutelage.teacher.engines.server_probe import Prober, Spent, Survey


class Surveyor:
    """Finds out what the servers are and can do, and keeps out whoever differs.

    Args:
        fleet: The servers.
        answers: Answers requests in the forms that the survey finds.
        model: Name of the model on the servers.
        api: The setting ``teacher.api``.
        scoring: The setting ``teacher.scoring``.
        samples: The setting ``teacher.samples``.
        anywhere: Whether other machines may have the model in other folders.

    Attributes:
        identity: What the servers are; None if they were not asked yet. An earlier run's finding
            may be set where no server answers.
        spent: The survey's own requests.
    """

    def __init__(
        self,
        fleet: Fleet,
        answers: Answerer,
        *,
        model: str,
        api: str,
        scoring: str,
        samples: int,
        anywhere: bool,
    ) -> None:
        self.identity: Identity | None = None
        self.spent = Spent()
        self._fleet = fleet
        self._answers = answers
        self._model = model
        self._api, self._scoring, self._samples = api, scoring, samples
        self._anywhere = anywhere
        self._survey: Survey | None = None
        self._structured: set[bool] = set()

    async def look(self, client: ServerClient, retries: int | None = None) -> None:
        """Asks the servers what they are.

        Args:
            client: The client of all servers.
            retries: Further attempts of each request; None for those of the connection.

        Raises:
            Lasting: No server answers.
            TeacherError: It is another one than this run began with.
        """
        surveys = await self._surveys(client, retries)
        found = self._agreed(surveys)
        if self.identity is not None and self.identity != found:
            raise TeacherError(
                f"this run began with {self.identity.described(self._model)}, but the server at "
                f"{self._fleet.roots} is {found.described(self._model)} by now. Run again, or "
                "begin a new run: replies of both must not be mixed."
            )
        self.identity, self._survey = found, next(iter(surveys.values()))
        self._answers.begin(self._survey)

    async def admit(self, client: ServerClient) -> None:
        """Asks a server that is back what it is.

        Args:
            client: The client of that server alone.

        Raises:
            Lasting: It does not answer.
            Differs: It is another one than this run began with.
        """
        if self.identity is None:
            return
        prober = self._prober(client, retries=0)
        found = self._identity_of(await self._survey_of(prober))
        if found != self.identity:
            raise Differs(
                f"it is {found.described(self._model)}, and this run began with "
                f"{self.identity.described(self._model)}. Replies of both must not be mixed."
            )
        for chats in self._structured:
            form = self._answers.chat_form if chats else self._answers.form
            if (await self._schemas(prober, chats))[0] != form.schema:
                raise Differs("it does not take JSON schemas as the other servers do.")

    async def compared(self, client: ServerClient) -> str:
        """Returns what all servers are, in words.

        Raises:
            TeacherError: Two of them differ.
        """
        return self._agreed(await self._surveys(client, retries=0)).described(self._model)

    async def prepare(self, client: ServerClient, requests: Sequence[Request]) -> None:
        """Tests the server's abilities once, before it can silently ignore a field of a request.

        Raises:
            Lasting: No server answers.
            TeacherError: A server cannot answer such requests, or differs from the others.
        """
        scores = any(isinstance(request, ScoreRequest) for request in requests)
        chats = any(isinstance(request.prompt, Chat) for request in requests)
        known = self.identity is not None or not self._fleet.is_one
        if self._survey is None and (scores or known or chats):
            await self.look(client)
        self._answers.prepare(chats=chats)
        if self._survey is not None:
            self.check(self._survey, scores=scores, chats=chats)
        structured = any(
            isinstance(request, GenerateRequest) and request.json_schema for request in requests
        )
        if structured and chats not in self._structured:
            self._answers.keep_schema(await self._common_schema(client, chats), chats=chats)
            self._structured.add(chats)

    def check(self, survey: Survey, *, scores: bool, chats: bool) -> None:
        """Refuses requests that the server cannot answer.

        Raises:
            TeacherError: It takes no such prompts, or cannot score after them.
        """
        root = self._fleet.roots
        if chats and survey.chat.form is None:
            reason = f": {survey.chat.no_way}" if survey.chat.no_way else ""
            raise TeacherError(
                f"the server at {root} is asked for texts to continue, not in messages"
                f"{reason}. Use prompt=completion, or teacher.api=chat with a server for chats."
            )
        if not chats and not survey.completes:
            raise TeacherError(
                f"the server at {root} is asked in messages, and cannot continue texts. Use "
                "prompt=chat."
            )
        way, no_way = (
            (survey.chat.way, survey.chat.no_way) if chats else (survey.way, survey.no_way)
        )
        if scores and way is None:
            raise TeacherError(
                f"the server at {root} cannot score labels: {no_way}. Use a "
                "server with log-probabilities, such as `vllm serve`, or run the model with "
                "teacher=vllm."
            )

    async def _common_schema(self, client: ServerClient, chats: bool) -> str:
        """Finds out how all servers take JSON schemas.

        Raises:
            TeacherError: A server does not enforce them, or takes them in another way.
        """
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
        return schema

    async def _schemas(self, prober: Prober, chats: bool) -> tuple[str, str]:
        """Finds out how a server takes JSON schemas; see :meth:`Prober.schemas`."""
        asking = ChatProber(prober, self._answers.chat_form) if chats else prober
        return await asking.schemas()

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
        return await survey_server(prober, self._api, self._scoring, self._samples)

    def _prober(self, client: ServerClient, retries: int | None = None) -> Prober:
        return Prober(client, self._model, retries, self.spent)

    def _agreed(self, surveys: dict[Member, Survey]) -> Identity:
        found = {one: self._identity_of(made) for one, made in surveys.items()}
        return agreed(found, self._model)

    def _identity_of(self, survey: Survey) -> Identity:
        return identity_of(survey, anywhere=self._anywhere)
