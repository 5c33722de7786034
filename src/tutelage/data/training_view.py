"""The rows that an epoch trains on.

These are the newest batch, repeated, with reviews of older rows (EvoKD), or all rows so far.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from tutelage.data.pool import Pool, RowReader
from tutelage.errors import ConfigError, did_you_mean
from tutelage.records import Row, derive_seed
from tutelage.timeline import Position

Window = Literal["batch", "all"]
"""Rows of a round's epochs: its own fresh rows, or every accepted row so far."""


def newest_of_each_text(rows: Sequence[Row]) -> list[Row]:
    """Keep only the newest row of each pool text; rows that are not from the pool all stay.

    FreeAL relabels texts, and the ledger keeps every row of them.
    """
    newest = {row.parents[0]: row.id for row in rows if row.source == "pool"}
    return [row for row in rows if row.source != "pool" or newest[row.parents[0]] == row.id]


class RoundView:
    """The training view of a growing run.

    The growth callback moves ``position`` from stage to stage.

    Args:
        window: "batch" trains a round on its fresh rows (EvoKD's repeated batch), "all" on every
            accepted row so far.
        gold_repeats: Number of copies of each gold shot per epoch.
        review_every: With "batch", period in rounds at which older rows return (EvoKD's review
            history); 0 disables reviews.
        review_size: Maximal number of reviewed rows, balanced over classes.
        seed: Seed of the draw of reviewed rows.
        seed_source: The setting behind the first rows, for error messages.

    Raises:
        ConfigError: If ``window`` is unknown, or a number is out of range.
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
            raise ConfigError(did_you_mean("training.train_on", window, ("batch", "all")))
        if gold_repeats < 1 or review_every < 0 or review_size < 0:
            raise ConfigError(
                f"training.gold_repeats={gold_repeats} must be 1 or more; "
                f"training.review_every={review_every} and training.review_size={review_size} "
                "must be 0 or more."
            )
        self._window = window
        self._gold_repeats = gold_repeats
        self._review = (review_every, review_size)
        self._seed = seed
        self._seed_source = seed_source
        self.position = Position("start", 0, 0, 1)
        # The accepted rows so far.
        self._reader = RowReader()
        self._gold: list[Row] = []
        self._names: list[Row] = []
        self._grown: list[Row] = []
        self._by_round: dict[int, list[Row]] = {}
        self._pool_texts: set[str] = set()

    @property
    def seed_source(self) -> str:
        """The setting behind the first rows, for error messages."""
        return self._seed_source

    def rows(self, pool: Pool, epoch: int) -> list[Row]:
        """Return the rows of this epoch.

        Gold shots and class names are always included, and of a relabelled pool text only its
        newest row.
        """
        if self.position.stage != "round" or self._window == "all":
            return self.all_rows(pool)
        # A round trains on its own batch, plus a periodic review of older rows.
        repeated = self._usable(pool)
        return [*repeated, *self._by_round.get(self.position.round, ()), *self._reviewed()]

    def all_rows(self, pool: Pool) -> list[Row]:
        """Return every usable row, with the copies of gold shots, whatever the stage trains on."""
        return [*self._usable(pool), *self._grown]

    def _usable(self, pool: Pool) -> list[Row]:
        """Take in the rows that are new, and return the given ones, with the copies of shots."""
        new, anew = self._reader.read(pool)
        if anew:
            self._gold, self._names, self._grown = [], [], []
            self._by_round, self._pool_texts = {}, set()
        accepted = [row for row in new if row.accepted]
        self._gold += [row for row in accepted if row.source == "gold"]
        self._names += [row for row in accepted if row.source == "class_name"]
        self._add([row for row in accepted if not row.given])
        # Given rows alone (shots, supervised) are not repeated: they compete with nothing.
        return [*(self._gold * self._gold_repeats if self._grown else self._gold), *self._names]

    def _add(self, grown: list[Row]) -> None:
        """Add rows that are not given; of a pool text the newest row alone stays."""
        texts = [row.parents[0] for row in grown if row.source == "pool"]
        relabelled = len(set(texts)) < len(texts) or not self._pool_texts.isdisjoint(texts)
        self._pool_texts.update(texts)
        self._grown += grown
        if relabelled:
            self._grown = newest_of_each_text(self._grown)
            self._by_round, grown = {}, self._grown
        for row in grown:
            self._by_round.setdefault(row.round, []).append(row)

    def _reviewed(self) -> list[Row]:
        every, size = self._review
        if not every or self.position.round % every:
            return []
        older = [row for row in self._grown if row.round != self.position.round]
        # Shuffle within each class, then draw from the classes in turn.
        rng = random.Random(derive_seed("review", self._seed, self.position.round))
        by_class: dict[str, list[Row]] = {}
        for row in older:
            # Generated rows count under the requested class, others under their target.
            by_class.setdefault(row.asked or row.target, []).append(row)
        for members in by_class.values():
            rng.shuffle(members)
        drawn: list[Row] = []
        while len(drawn) < size and any(by_class.values()):
            for name in sorted(by_class):
                if by_class[name] and len(drawn) < size:
                    drawn.append(by_class[name].pop())
        return drawn
