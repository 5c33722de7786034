"""The stages of a run, their lengths, and the position of an epoch in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Stage = Literal["start", "round", "final"]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Length of each stage, and the rule for ending growth.

    Attributes:
        start_epochs: Epochs on the first rows.
        round_epochs: Epochs on each round's rows (EvoKD's repeated batch).
        final_epochs: Epochs on everything accepted, after the last round; 0 for none.
        patience: Rounds without a better dev score (the task's ``monitor``) before growth ends; 0
            never ends it.
        test_every_round: Also evaluate on test after every round, for a finer curve; costs one pass
            over the test set per round.
        start_max_steps: Optimizer steps after which the start stage ends early; 0 for no limit.
        round_max_steps: The same limit for each round.
        final_max_steps: The same limit for the final stage.
        stop_after_empty: Rounds in a row without an accepted row, after which growth ends; 0 never
            ends it.
        stop_after_known: Rounds in a row on whose every row the student was right before it
            trained on them, after which growth ends; 0 never ends it.
    """

    start_epochs: int
    round_epochs: int
    final_epochs: int
    patience: int
    test_every_round: bool = False
    start_max_steps: int = 0
    round_max_steps: int = 0
    final_max_steps: int = 0
    stop_after_empty: int = 0
    stop_after_known: int = 0


@dataclass(frozen=True, slots=True)
class Position:
    """Position of one epoch in a run.

    Attributes:
        stage: "start" trains on the first rows, "round" on the rows of one round, "final" on
            everything accepted.
        round: 0 for the start, then 1, 2, …
        index: Index of the epoch within the stage, from 0.
        length: Number of epochs of the stage.
        max_steps: Optimizer steps after which the stage ends early; 0 for no limit.
        steps_before: Optimizer steps of the run before this stage.
    """

    stage: Stage
    round: int
    index: int
    length: int
    max_steps: int = 0
    steps_before: int = 0

    @property
    def last(self) -> bool:
        """True in the last epoch of the stage."""
        return self.index + 1 >= self.length

    def spent(self, steps: int) -> bool:
        """True once the stage has used up its optimizer steps.

        Args:
            steps: Optimizer steps of the whole run so far.
        """
        return bool(self.max_steps) and steps - self.steps_before >= self.max_steps

    def progress(self, batch: int, batches: int, steps: int = 0) -> float:
        """Completed share of the stage, in [0, 1): by steps if these are limited, else by batches.

        Args:
            batch: Index of the next batch in the epoch.
            batches: Number of batches per epoch.
            steps: Optimizer steps of the whole run so far.
        """
        if self.max_steps:
            # Steps alone count, since the limit usually ends the stage before its epochs do.
            return min((steps - self.steps_before) / self.max_steps, 1 - 1e-9)
        return (self.index + batch / max(1, batches)) / max(1, self.length)
