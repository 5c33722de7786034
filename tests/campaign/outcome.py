"""What a part of the campaign tried, and what did not hold."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """Counts of one part of the campaign.

    Attributes:
        promise: The promise that was tried, as docs/reliability.md states it.
        tried: Number of attempts.
        held: Number of attempts that kept the promise.
        notes: Figures beside the counts, for instance how many requests were computed twice.
        broken: One line per attempt that broke the promise, enough to repeat it.
    """

    promise: str
    tried: int = 0
    held: int = 0
    notes: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def add(self, faults: list[str], *, name: str) -> None:
        """Count an attempt, which held if it has no faults."""
        self.tried += 1
        self.held += not faults
        self.broken += [f"{name}: {fault}" for fault in faults]

    def note(self, name: str, count: int = 1) -> None:
        """Add to a figure."""
        self.notes[name] = self.notes.get(name, 0) + count
