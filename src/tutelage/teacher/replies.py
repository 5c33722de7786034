"""Collects replies for engines and wrappers: one per request, matched by id, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tutelage.errors import TeacherError
from tutelage.teacher.base import Reply, Request, Teacher


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
