"""The settings of methods that draw from the unlabelled pool."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """Settings of :class:`~tutelage.methods.pool.method.PoolLabelling` and its subclasses.

    Raises:
        ConfigError: a number is negative, or there would be nothing to label or to learn from.
    """

    name: str
    """Names the method in results and run folders."""
    pool_size: int | None
    """Texts of the unlabelled pool that the run may use, drawn by its seed; null for all."""
    first: int | None
    """Texts labelled before there is a student to ask, drawn at random; null for all."""
    rounds: int
    """Rounds of acquisition after that."""
    n_texts: int | None
    """Texts that the acquire selector chooses per round; null for all that are left."""
    train_on_shots: bool
    """The student learns from the gold shots too; they are the teacher's demonstrations either
    way."""

    def __post_init__(self) -> None:
        """Checks the numbers."""
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
                f"method.rounds={self.rounds} with method.n_texts=0 would label nothing; set "
                "n_texts, or rounds=0."
            )
        if self.first == 0 and not self.train_on_shots:
            raise ConfigError(
                "method.first=0 and method.train_on_shots=false leave the student nothing to begin "
                "with; set one of them."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMaAASettings(PoolSettings):
    """Settings of :class:`~tutelage.methods.pool.llmaaa.LLMaAA`.

    Raises:
        ConfigError: as for :class:`PoolSettings`, or ``demonstrations`` is below 1.
    """

    demonstrations: int
    """Shots shown with each text: the most similar by the student's embeddings, the nearest
    last."""

    def __post_init__(self) -> None:
        """Checks the numbers."""
        PoolSettings.__post_init__(self)
        if self.demonstrations < 1:
            raise ConfigError(
                f"method.demonstrations={self.demonstrations} must be 1 or more; llkd_on_demand "
                "shows every text the same demonstrations."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeALSettings(PoolSettings):
    """Settings of :class:`~tutelage.methods.pool.freeal.FreeAL`.

    Raises:
        ConfigError: as for :class:`PoolSettings`, or a number is outside its range.
    """

    a_class: int
    """Clean texts per class that may be demonstrations; the typical ones (k-means) where there are
    more."""
    nearest: int
    """How many of them each text is shown with, the most similar ones; 0 shows all."""
    threshold: float
    """Probability of the small-loss component from which a row counts as clean, in (0, 1]."""
    own_shots: int
    """Demonstrations per class that the teacher writes itself for the first labels, where the run
    has no shot (``training.gold=none``); 0 for none. They are not trained on."""

    def __post_init__(self) -> None:
        """Checks the numbers."""
        PoolSettings.__post_init__(self)
        if self.a_class < 1 or self.nearest < 0:
            raise ConfigError(
                f"method.a_class={self.a_class} must be 1 or more, and "
                f"method.nearest={self.nearest} 0 "
                "or more."
            )
        if self.own_shots < 0:
            raise ConfigError(f"method.own_shots={self.own_shots} must be 0 or more.")
        if self.first is not None:
            raise ConfigError(
                f"method.first={self.first}: FreeAL labels the whole pool at first; leave it null, "
                "or set method.pool_size."
            )
        if not 0.0 < self.threshold <= 1.0:
            raise ConfigError(f"method.threshold={self.threshold} must be above 0 and at most 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoLabelSettings:
    """Settings of :class:`~tutelage.methods.pool.pseudo_labels.PseudoLabels`.

    Raises:
        ConfigError: A number is outside its range.
    """

    name: str
    """Names the method in results and run folders."""
    pool_size: int | None
    """Texts of the unlabelled pool that the run may use, drawn by its seed; null for all."""
    rounds: int
    """Rounds in which the student labels texts."""
    n_texts: int
    """Texts to label per round; a class has no more than its even share of them."""
    min_confidence: float
    """Least probability of a label that counts, in [0, 1]; for NER that of the least certain
    word."""

    def __post_init__(self) -> None:
        """Checks the numbers."""
        if self.pool_size is not None and self.pool_size < 1:
            raise ConfigError(
                f"method.pool_size={self.pool_size} leaves the student no text to label; give 1 or "
                "more, or null for all of the pool."
            )
        if self.rounds < 1 or self.n_texts < 1:
            raise ConfigError(
                f"method.rounds={self.rounds} and method.n_texts={self.n_texts} must be 1 or more; "
                "without pseudo-labels this is method=shots."
            )
        if not 0.0 <= self.min_confidence <= 1.0:
            raise ConfigError(
                f"method.min_confidence={self.min_confidence} must be in [0, 1]; 0 takes the "
                "surest, however sure."
            )
