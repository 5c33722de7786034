"""Which rows an epoch trains on: the newest batch, repeated, with a review of older ones (EvoKD), or everything so far."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from tutelage.data.pool import Pool
from tutelage.errors import ConfigError, did_you_mean
from tutelage.records import Row, record_id
from tutelage.timeline import Position

Window = Literal["batch", "all"]


def newest_of_each_text(rows: Sequence[Row]) -> list[Row]:
    """``rows`` without those of pool texts that have a later row among them (FreeAL labels texts anew; the ledger keeps every row)."""
    newest = {row.parents[0]: row.id for row in rows if row.source == "pool"}
    return [row for row in rows if row.source != "pool" or newest[row.parents[0]] == row.id]


class RoundView:
    """The training view of a growing run; ``position`` is moved by the growth callback.

    Args:
        window: "batch" trains a round on its fresh rows (EvoKD's repeated batch); "all" on every accepted row so far.
        gold_repeats: how often each gold shot stands in an epoch.
        review_every: with "batch", every so many rounds older rows come back (EvoKD's review history); 0 never.
        review_size: at most so many of them, balanced over classes.

    Raises:
        ConfigError: an unknown window, or negative numbers.
    """

    def __init__(
        self,
        window: Window,
        gold_repeats: int,
        review_every: int,
        review_size: int,
        seed: int,
        seed_source: str,
    ) -> None:
        if window not in ("batch", "all"):
            raise ConfigError(did_you_mean("method.training.train_on", window, ("batch", "all")))
        if gold_repeats < 1 or review_every < 0 or review_size < 0:
            raise ConfigError(
                f"method.training.gold_repeats={gold_repeats} must be 1 or more; review_every={review_every} and review_size={review_size} 0 or more."
            )
        self._window = window
        self._gold_repeats = gold_repeats
        self._review = (review_every, review_size)
        self._seed = seed
        self._seed_source = seed_source
        self.position = Position("start", 0, 0, 1)

    @property
    def seed_source(self) -> str:
        """Where the first rows come from, for error messages."""
        return self._seed_source

    def rows(self, pool: Pool, epoch: int) -> list[Row]:
        """The rows of this epoch; gold shots are always among them, and of a pool text that was labelled anew only its newest row."""
        accepted = pool.accepted()
        gold = [row for row in accepted if row.source == "gold"]
        grown = newest_of_each_text([row for row in accepted if row.source != "gold"])
        # Gold alone (shots, supervised) needs no repeats: there is nothing to stand out from.
        repeated = gold * self._gold_repeats if grown else gold
        if self.position.stage != "round" or self._window == "all":
            return [*repeated, *grown]
        fresh = [row for row in grown if row.round == self.position.round]
        older = [row for row in grown if row.round != self.position.round]
        return [*repeated, *fresh, *self._reviewed(older)]

    def _reviewed(self, older: list[Row]) -> list[Row]:
        every, size = self._review
        if not every or self.position.round % every or not older:
            return []
        rng = random.Random(int(record_id("review", self._seed, self.position.round), 16))
        by_class: dict[str, list[Row]] = {}
        for row in older:
            by_class.setdefault(row.asked or row.target, []).append(row)
        for members in by_class.values():
            rng.shuffle(members)
        drawn: list[Row] = []
        while len(drawn) < size and any(by_class.values()):
            for name in sorted(by_class):
                if by_class[name] and len(drawn) < size:
                    drawn.append(by_class[name].pop())
        return drawn
