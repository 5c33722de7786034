"""Contract 1 for engines and wrappers: as many replies as requests, by id, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tutelage.errors import TeacherError
from tutelage.teacher.base import Reply, Request, Teacher


def check_batch(requests: Sequence[Request]) -> None:
    """Refuse a batch that names one id twice.

    Raises:
        ValueError: an id occurs twice, so that its replies could not be told apart.
    """
    seen: set[str] = set()
    for request in requests:
        if request.id in seen:
            raise ValueError(
                f"request id {request.id!r} occurs twice in one batch; ids must be unique in a batch"
            )
        seen.add(request.id)


class ReplyCollector:
    """The replies of one batch as they arrive.

    Args:
        on_reply: called with each of them.

    Raises:
        ValueError: an id occurs twice.
    """

    def __init__(
        self, requests: Sequence[Request], on_reply: Callable[[Reply], None] | None
    ) -> None:
        check_batch(requests)
        self._requests = requests
        self._on_reply = on_reply
        self._replies: dict[str, Reply] = {}

    def keep(self, reply: Reply) -> None:
        """Take a reply in."""
        self._replies[reply.id] = reply
        if self._on_reply is not None:
            self._on_reply(reply)

    def in_order(self) -> list[Reply]:
        """The replies in the requests' order.

        Raises:
            TeacherError: a request has no reply.
        """
        lost = [request.id for request in self._requests if request.id not in self._replies]
        if lost:
            raise TeacherError(
                f"{len(lost)} of {len(self._requests)} requests got no reply, the first is {lost[0]!r}. "
                "This is a fault of the engine; run again, what was answered is in the cache."
            )
        return [self._replies[request.id] for request in self._requests]


def ask_noting(
    inner: Teacher,
    requests: Sequence[Request],
    note: Callable[[Request, Reply], None],
    on_reply: Callable[[Reply], None] | None,
) -> list[Reply]:
    """Ask ``inner`` and note every reply once: when it arrives, or at the end where the engine does not call back.

    Raises:
        ValueError: an id occurs twice.
    """
    check_batch(requests)
    unnoted = {request.id: request for request in requests}

    def arrived(reply: Reply) -> None:
        if (request := unnoted.pop(reply.id, None)) is not None:
            note(request, reply)
        if on_reply is not None:
            on_reply(reply)

    replies = inner.ask(requests, arrived)
    for reply in replies:
        if reply.id in unnoted:
            arrived(reply)
    return replies
