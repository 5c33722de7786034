"""How a request to an OpenAI-compatible server may fail."""

from __future__ import annotations

from tutelage.errors import TeacherError


class Refused(Exception):
    """The server refused one request, for instance by HTTP 400; the message is the server's own."""


class Lasting(Exception):
    """One request failed in every attempt.

    Attributes:
        answers: Number of the client's answers before the last attempt. If there are no more by
            now, the server may be down.
    """

    def __init__(self, message: str, answers: int) -> None:
        super().__init__(message)
        self.answers = answers


class Ended(Exception):
    """The batch ended before this request was sent."""


class UnexpectedError(TeacherError):
    """The server answered by a status that no other attempt would change, such as HTTP 403 or 302.

    Attributes:
        status: The HTTP status.
        said: The server's own message.
    """

    def __init__(self, message: str, status: int, said: str) -> None:
        super().__init__(message)
        self.status = status
        self.said = said


class NotFoundError(UnexpectedError):
    """The server lacks the model or the address, by HTTP 404, 405 or 501."""
