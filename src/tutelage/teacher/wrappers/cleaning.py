"""Makes every reply fit for files, tokenizers and calculations, and tells how often that is needed.

Servers and small models send half surrogate pairs (an emoji cut in two) and control characters.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from tutelage.errors import TeacherError
from tutelage.teacher.base import OnReply, Prompt, Reply, Request, Teacher
from tutelage.teacher.replies import cleaned

_LOG = logging.getLogger(__name__)
_TOLD, _STOP = 0.01, 0.5
"""Above the first share of changed texts there is a warning, above the second an error."""
_FEW = 20
"""With fewer texts the share says little, so there is a warning at most."""
_AROUND = 20


class CleanedTeacher:
    """Passes every reply through :func:`tutelage.teacher.replies.cleaned`; counts changed texts.

    It stands above the cache, so the count does not depend on what was cached.

    Args:
        inner: The teacher to ask.

    Attributes:
        texts: Number of replies with a text so far.
        changed: Number of those in which characters were replaced.
        tell: Shows the user a message; a run's display, or else the log.
    """

    def __init__(self, inner: Teacher) -> None:
        self._inner = inner
        self._example = ""
        self._warned = False
        self.texts = 0
        self.changed = 0
        self.tell: Callable[[str], None] = _LOG.warning

    @property
    def fingerprint(self) -> str:
        """The engine's fingerprint."""
        return self._inner.fingerprint

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the results should know."""
        return (self._summary(),) if self.changed else ()

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answers every request, in order, with clean replies.

        Raises:
            TeacherError: The engine failed, or most texts needed cleaning.
            ValueError: An id occurs twice.
        """
        replies = self._inner.ask(
            requests, None if on_reply is None else lambda reply: on_reply(cleaned(reply))
        )
        done = [cleaned(reply) for reply in replies]
        for before, after in zip(replies, done, strict=True):
            self._count(before.text, after.text)
        self._judge()
        return done

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        """Returns the engine's token ids of each text."""
        return self._inner.tokenize(texts)

    def close(self) -> None:
        """Closes the engine."""
        self._inner.close()

    def _count(self, before: str, after: str) -> None:
        self.texts += bool(before)
        if before == after:
            return
        self.changed += 1
        if not self._example:
            pairs = zip(before, after, strict=True)
            place = next(index for index, (old, new) in enumerate(pairs) if old != new)
            self._example = repr(before[max(place - _AROUND, 0) : place + _AROUND])

    def _summary(self) -> str:
        return (
            f"{self.changed:,} of {self.texts:,} texts of the teacher hold characters that no file "
            "can carry (control characters, or half of a surrogate pair), for instance "
            f"{self._example}; each such character became U+FFFD"
        )

    def _judge(self) -> None:
        share = self.changed / self.texts if self.texts else 0.0
        if share > _STOP and self.texts >= _FEW:
            raise TeacherError(
                f"{self._summary()}. So many mean that the teacher's texts are garbled: try "
                "another model, or ask the server for one text by hand."
            )
        if share > _TOLD and not self._warned:
            self._warned = True
            self.tell(f"{self._summary()}.")
