"""Where a run stands: its stages, their lengths, and one epoch's position in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Stage = Literal["start", "round", "final"]


@dataclass(frozen=True, slots=True)
class Timeline:
    """How many epochs each stage has, and when growth ends.

    Attributes:
        start_epochs: on the first rows.
        round_epochs: passes over each round's rows (EvoKD's repeated batch).
        final_epochs: over everything accepted, after the last round; 0 for none.
        start_updates, round_updates, final_updates: optimizer steps after which such a stage ends even so; 0 for no such limit.
        patience: rounds without a better score on dev (the task's ``monitor``) before growth ends; 0 never ends it.
        test_every_round: measure on test after every round too, for a finer curve; it costs a pass over the test set.
    """

    start_epochs: int
    round_epochs: int
    final_epochs: int
    patience: int
    test_every_round: bool = False
    start_max_steps: int = 0
    round_max_steps: int = 0
    final_max_steps: int = 0


@dataclass(frozen=True, slots=True)
class Position:
    """One epoch's place in a run.

    Attributes:
        stage: "start" trains on the first rows, "round" on what a round gave, "final" on everything accepted.
        round: 0 for the start, then 1, 2, …
        index: the epoch inside the stage, from 0.
        length: epochs of the stage.
        updates: optimizer steps after which the stage ends even so; 0 for no such limit.
        made: optimizer steps of the run before the stage began.
    """

    stage: Stage
    round: int
    index: int
    length: int
    updates: int = 0
    made: int = 0

    @property
    def last(self) -> bool:
        """True in the stage's last epoch."""
        return self.index + 1 >= self.length

    def spent(self, made: int) -> bool:
        """True when the stage has had its optimizer steps, with ``made`` of the whole run."""
        return bool(self.updates) and made - self.made >= self.updates

    def progress(self, batch: int, batches: int, made: int = 0) -> float:
        """Share of the stage done before ``batch`` of ``batches``, or by the steps where they limit it, in [0, 1)."""
        if self.updates:
            return min((made - self.made) / self.updates, 1 - 1e-9)
        return (self.index + batch / max(1, batches)) / max(1, self.length)
