"""Contract 1 for engines and wrappers: as many replies as requests, by id, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tutelage.errors import TeacherError
from tutelage.teacher.protocol import Reply, Request


def check_batch(requests: Sequence[Request]) -> None:
    """Refuse a batch that names one id twice.

    Raises:
        ValueError: an id occurs twice, so that its replies could not be told apart.
    """
    seen: set[str] = set()
    for request in requests:
        if request.id in seen:
            raise ValueError(f"request id {request.id!r} occurs twice in one batch; ids must be unique in a batch")
        seen.add(request.id)


def in_order(requests: Sequence[Request], replies: Mapping[str, Reply]) -> list[Reply]:
    """Return the replies in the requests' order.

    Raises:
        TeacherError: a request has no reply.
    """
    lost = [request.id for request in requests if request.id not in replies]
    if lost:
        raise TeacherError(
            f"{len(lost)} of {len(requests)} requests got no reply, the first is {lost[0]!r}. "
            "This is a fault of the engine; run again, what was answered is in the cache."
        )
    return [replies[request.id] for request in requests]
