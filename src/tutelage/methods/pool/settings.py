"""The settings of methods that draw from the unlabelled pool."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """conf/method files of :mod:`tutelage.methods.pool.method` and of the methods that go on from it (llmaaa, freeal).

    Attributes:
        pool_size: texts of the pool that the run may use at all, drawn by its seed; None for every one.
        first: texts labelled before there is a student to ask, drawn at random; None for all of them.
        rounds: rounds of acquisition after that.
        n_texts: texts that the acquisition selector chooses in each; None for every one that there is.
        train_on_shots: the student learns from the gold shots too; they are the teacher's demonstrations either way.

    Raises:
        ConfigError: a number is negative, or there are rounds with nothing to choose in them.
    """

    pool_size: int | None
    first: int | None
    rounds: int
    n_texts: int | None
    train_on_shots: bool

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("pool_size", "first", "rounds", "n_texts"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ConfigError(f"method.{name}={value} must be 0 or more.")
        if self.pool_size == 0:
            raise ConfigError(
                "method.pool_size=0 leaves no pool; give 1 or more, or null for all of it."
            )
        if self.rounds and self.n_texts == 0:
            raise ConfigError(
                f"method.rounds={self.rounds} with method.n_texts=0 would label nothing; set n_texts, or rounds=0."
            )
        if self.first == 0 and not self.train_on_shots:
            raise ConfigError(
                "method.first=0 and method.train_on_shots=false leave the student nothing to begin with; set one of them."
            )
