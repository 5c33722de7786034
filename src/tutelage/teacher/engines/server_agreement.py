"""Samples several answers to one chat, whose agreement stands for probabilities of labels."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tutelage.teacher.base import Reply, ScoreRequest
from tutelage.teacher.engines.server_chat import ROOM, ChatForm
from tutelage.teacher.engines.server_errors import Refused
from tutelage.teacher.engines.server_replies import Completion
from tutelage.teacher.engines.server_words import named, shares

Ask = Callable[[dict[str, Any], int, int], Awaitable[list[Completion]]]
"""Sends fields of a request for at most so many tokens by a seed, and returns the answers."""


async def sampled(
    ask: Ask, form: ChatForm, words: Sequence[str], samples: int
) -> tuple[list[Completion], bool]:
    """Samples answers that name one of the words.

    Args:
        ask: Sends a request.
        form: The form of chat requests.
        words: The words.
        samples: Number of answers.

    Returns:
        The answers, and whether the server takes requests for several ones.

    Raises:
        Refused: The server refused a request for a single answer.
    """
    tokens = 8 + 2 * max(len(word.encode(errors="replace")) for word in words)
    tokens += ROOM if form.thinks else 0
    answers: list[Completion] = []
    several = form.several
    while len(answers) < samples:
        missing = samples - len(answers)
        fields = form.constrained(words)
        if several and missing > 1:
            fields["n"] = missing
        try:
            answers += (await ask(fields, tokens, len(answers)))[:missing]
        except Refused:
            if "n" not in fields:
                raise
            several = False
    return answers, several


def agreement(
    request: ScoreRequest, answers: Sequence[Completion], replies: Sequence[Reply]
) -> Reply:
    """Makes a reply of sampled answers.

    Args:
        request: The request.
        answers: The answers.
        replies: The answers with all token counts.
    """
    read = [named(answer.whole, request.words) for answer in answers]
    failed = ""
    if all(one is None for one in read):
        first = answers[0].whole[:60]
        failed = f"none of {len(answers)} answers names a label; the first one is {first!r}"
    return Reply(
        request.id,
        logprobs=() if failed else shares(read, len(request.words)),
        prompt_tokens=sum(reply.prompt_tokens for reply in replies),
        completion_tokens=sum(reply.completion_tokens for reply in replies),
        finish_reason="stop",
        error=failed,
    )


def billed(answers: Sequence[Completion]) -> list[Completion]:
    """Returns the answers that have token counts; all of them if none has."""
    counted = [answer for answer in answers if answer.prompt_tokens is not None]
    return counted or list(answers)
