"""Asks every server of a teacher what it is: all must have one model and score in one way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TypeVar

from tutelage.teacher.engines.server_client import ServerClient
from tutelage.teacher.engines.server_errors import Lasting
from tutelage.teacher.engines.server_fleet import Differs, Fleet, Member
from tutelage.teacher.engines.server_identity import Identity
from tutelage.teacher.engines.server_probe import Survey

_Found = TypeVar("_Found")


def identity_of(survey: Survey, *, anywhere: bool) -> Identity:
    """Returns the identity that a survey found.

    Args:
        survey: The survey.
        anywhere: Whether other machines may have the model in other folders, so that the last part
            of a path names it.
    """
    parts = survey.name.split(" / ")
    if anywhere:
        parts = [
            PurePosixPath(part).name
            if part.startswith("/") and part != survey.reply_model
            else part
            for part in parts
        ]
    scoring, chat = ("none" if way is None else str(way) for way in (survey.way, survey.chat.way))
    return Identity(" / ".join(parts), scoring, "" if survey.chat.form is None else chat)


async def of_each(
    client: ServerClient,
    fleet: Fleet,
    members: Sequence[Member],
    ask: Callable[[ServerClient], Awaitable[_Found]],
) -> dict[Member, _Found]:
    """Asks several servers at once, and leaves out those that do not answer.

    Args:
        client: The client of all servers.
        fleet: All servers.
        members: Those to ask.
        ask: Asks one of them.

    Returns:
        The findings, by server; at least one.

    Raises:
        Lasting: No server answers.
        TeacherError: A server refused the key, or lacks the model.
    """
    outcomes = await asyncio.gather(
        *(ask(client.only(member)) for member in members), return_exceptions=True
    )
    found: dict[Member, _Found] = {}
    failures: list[Lasting] = []
    for member, outcome in zip(members, outcomes, strict=True):
        if isinstance(outcome, Lasting):
            failures.append(outcome)
            if not member.is_out:
                fleet.leave_out(member, f"it failed {outcome}")
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            found[member] = outcome
            fleet.back(member)
    if not found:
        raise Lasting("; ".join(map(str, failures)), client.answers)
    return found


def agreed(found: Mapping[Member, Identity], model: str) -> Identity:
    """Returns the identity that all servers have.

    Args:
        found: The identity of each server.
        model: The configured name of the model.

    Raises:
        Differs: Two of them have different ones.
    """
    (first, wanted), *others = found.items()
    for member, identity in others:
        if identity != wanted:
            raise Differs(
                f"the server at {first.root} is {wanted.described(model)}, but the server at "
                f"{member.root} is {identity.described(model)}. All servers of teacher.url must "
                "have the same model and score in the same way: start both in the same way, or "
                "leave one out of teacher.url."
            )
    return wanted
