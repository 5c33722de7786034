"""Duplicate checks of generated texts against dev and test, the shots and the pool."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from tutelage.data.dedup import Deduplicator, Duplicate
from tutelage.methods.base import MethodContext, RequestFailure
from tutelage.records import Row


class Duplicates(Protocol):
    """Interface used by :class:`~tutelage.methods.generation.acceptance.Acceptance`."""

    def add(self, text: str, kind: str) -> None:
        """Remembers a text.

        Args:
            text: The text.
            kind: Where it belongs, such as "pool"; named in the reason of a rejection.
        """
        ...

    def check(self, text: str) -> Duplicate | None:
        """Returns the known text repeated by ``text``, or None."""
        ...


class Repeats:
    """All texts of a run that a new text must not repeat.

    They follow from the context alone, so a resumed run rejects the same repeats.

    Args:
        context: Provides the held-out texts, the shots and the pool.
        near: Similarity in [0, 1] from which a text is a near duplicate.
        near_own: The same limit against the shots and the pool, if it differs: a variant of a shot
            is similar to it on purpose.
    """

    def __init__(self, context: MethodContext, near: float, near_own: float | None = None) -> None:
        held_out = Deduplicator(near)
        self._own = held_out if near_own is None else Deduplicator(near_own)
        self._all = (held_out,) if near_own is None else (held_out, self._own)
        for split, text in context.held_out:
            held_out.add(text, split)
        for shot in context.shots:
            self._own.add(shot.text, "shots")
        self.hold(context.pool.rows)

    def hold(self, rows: Iterable[Row]) -> None:
        """Remembers generated rows, just as a resumed run remembers those of its pool."""
        for row in rows:
            # Texts rejected before labelling were never remembered during generation either.
            if not row.given and (
                row.accepted
                or row.distribution
                or RequestFailure.of(row) is RequestFailure.LABELLING
            ):
                self._own.add(row.text, "pool")

    def add(self, text: str, kind: str) -> None:
        """Remembers a text generated in this run."""
        self._own.add(text, kind)

    def check(self, text: str) -> Duplicate | None:
        """Returns the known text repeated by ``text``, or None; dev and test are checked first."""
        return next((found for one in self._all if (found := one.check(text))), None)
