"""Every text that a new one must not repeat: dev and test, the shots, and what the pool took note of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from tutelage.data.dedup import Deduplicator, Duplicate
from tutelage.methods.base import MethodContext
from tutelage.records import Row


class Duplicates(Protocol):
    """What admission asks about a text."""

    def add(self, text: str, kind: str) -> None:
        """Hold ``text``."""
        ...

    def check(self, text: str) -> Duplicate | None:
        """What ``text`` repeats."""
        ...


class Repeats:
    """The texts of a ground; it follows from the pool alone, so that a resumed run rejects the same repeats.

    Args:
        near: similarity from which a text is a near duplicate.
        near_own: the same against the shots and the pool, where it differs: a variant of a shot is meant to be near to it.
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
        """Hold generated rows of the run, as a resumed run does those of its pool."""
        for row in rows:
            # What was rejected before it was labelled was never held, so it is not held now.
            if row.source != "gold" and (
                row.accepted or row.distribution or row.reason.startswith("labelling failed")
            ):
                self._own.add(row.text, "pool")

    def add(self, text: str, kind: str) -> None:
        """Hold a text of the run's own."""
        self._own.add(text, kind)

    def check(self, text: str) -> Duplicate | None:
        """What ``text`` repeats, dev and test first."""
        return next((found for one in self._all if (found := one.check(text))), None)
