"""Collects, cleans and reads replies for engines and wrappers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tutelage.characters import usable
from tutelage.errors import TeacherError
from tutelage.teacher.base import Reply, Request, Teacher

_MOST_TOKENS = 2**53 - 1
"""Largest token count that every reader of JSON keeps exactly."""


def check_batch(requests: Sequence[Request]) -> None:
    """Refuses a batch with a repeated id.

    Raises:
        ValueError: An id occurs twice, so its replies could not be told apart.
    """
    seen: set[str] = set()
    for request in requests:
        if request.id in seen:
            raise ValueError(
                f"request id {request.id!r} occurs twice in one batch; ids must be unique in a "
                "batch"
            )
        seen.add(request.id)


def cleaned(reply: Reply) -> Reply:
    """Returns the reply in a form that every file, tokenizer and calculation takes.

    Characters follow :func:`tutelage.characters.usable`, and token counts stay between 0 and 2^53.
    A reply with a log-probability that is no finite number becomes a failed one.
    """
    odd = [value for value in reply.logprobs if not _is_finite(value)]
    error = reply.error
    if odd and not error:
        error = f"the log-probability of a choice is {odd[0]!r:.20}, which is no finite number"
    done = Reply(
        id=reply.id,
        text=usable(reply.text),
        logprobs=() if odd else reply.logprobs,
        prompt_tokens=min(max(reply.prompt_tokens, 0), _MOST_TOKENS),
        completion_tokens=min(max(reply.completion_tokens, 0), _MOST_TOKENS),
        finish_reason=usable(reply.finish_reason),
        error=usable(error),
        cached=reply.cached,
    )
    return reply if done == reply else done


def read_reply(record: Any) -> Reply:
    """Reads a reply from the JSON values of a file.

    Args:
        record: Output of :func:`dataclasses.asdict`, after a round trip through JSON. It may lack
            what belongs to one request: ``id``, ``error`` and ``cached``.

    Raises:
        ValueError: A field is missing, unknown, of another type, or has an impossible value. The
            message names it.
    """
    if not isinstance(record, dict):
        raise ValueError(f"it is {type(record).__name__}, not a JSON object")
    for name, value in record.items():
        if name not in _FITS or not _FITS[name](value):
            raise ValueError(f"its {name!r} cannot be {value!r:.40}")
    for name in ("text", "logprobs", "prompt_tokens", "completion_tokens", "finish_reason"):
        if name not in record:
            raise ValueError(f"it has no {name!r}")
    return Reply(**{"id": "", **record, "logprobs": tuple(map(float, record["logprobs"]))})


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MOST_TOKENS


def _is_finite(value: object) -> bool:
    try:
        return (
            isinstance(value, (float, int)) and not isinstance(value, bool) and math.isfinite(value)
        )
    except OverflowError:  # A whole number with hundreds of digits.
        return False


_FITS: dict[str, Callable[[Any], bool]] = {
    "id": _is_text,
    "text": _is_text,
    "logprobs": lambda value: isinstance(value, list) and all(map(_is_finite, value)),
    "prompt_tokens": _is_count,
    "completion_tokens": _is_count,
    "finish_reason": _is_text,
    "error": _is_text,
    "cached": lambda value: isinstance(value, bool),
}
"""Says of each field of a reply whether a value of JSON fits."""


class ReplyCollector:
    """Collects the replies of one batch as they arrive.

    Args:
        requests: The batch.
        on_reply: Called with each reply.

    Raises:
        ValueError: An id occurs twice.
    """

    def __init__(
        self, requests: Sequence[Request], on_reply: Callable[[Reply], None] | None
    ) -> None:
        check_batch(requests)
        self._requests = requests
        self._on_reply = on_reply
        self._replies: dict[str, Reply] = {}

    def keep(self, reply: Reply) -> None:
        """Stores a reply and passes it to ``on_reply``."""
        self._replies[reply.id] = reply
        if self._on_reply is not None:
            self._on_reply(reply)

    def in_order(self) -> list[Reply]:
        """Returns the replies in the order of the requests.

        Raises:
            TeacherError: A request has no reply.
        """
        lost = [request.id for request in self._requests if request.id not in self._replies]
        if lost:
            raise TeacherError(
                f"{len(lost)} of {len(self._requests)} requests got no reply, starting with "
                f"{lost[0]!r}. This is a fault of the engine. Run again; the replies that did "
                "arrive are cached."
            )
        return [self._replies[request.id] for request in self._requests]


def ask_noting(
    inner: Teacher,
    requests: Sequence[Request],
    note: Callable[[Request, Reply], None],
    on_reply: Callable[[Reply], None] | None,
) -> list[Reply]:
    """Asks ``inner`` and notes every reply exactly once.

    A reply is noted on arrival, or at the end of the batch if the engine never announced it.

    Args:
        inner: The teacher to ask.
        requests: The batch.
        note: Called once per request with its reply, before ``on_reply``.
        on_reply: The caller's own callback.

    Returns:
        One reply per request, in order.

    Raises:
        ValueError: An id occurs twice.
    """
    check_batch(requests)
    unnoted = {request.id: request for request in requests}

    def arrived(reply: Reply) -> None:
        if (request := unnoted.pop(reply.id, None)) is not None:
            note(request, reply)
        if on_reply is not None:
            on_reply(reply)

    # Engines without callbacks announce nothing, so the rest is noted at the end.
    replies = inner.ask(requests, arrived)
    for reply in replies:
        if reply.id in unnoted:
            arrived(reply)
    return replies
