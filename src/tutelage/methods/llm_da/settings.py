"""LLM-DA's settings, as conf/method/llm_da.yaml gives them."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.errors import ConfigError, did_you_mean
from tutelage.methods.generation.augmentation import MODES


@dataclass(frozen=True, slots=True)
class LLMDASettings:
    """What a round makes, and how much of it.

    Attributes:
        rounds: at most so many; a token budget or a plateau may end it sooner.
        n_texts: texts of a round, shared evenly over ``modes`` (of :data:`MODES`).
        invented_names: share of the other names that are new.
        noise_words: share of the words outside the entities that noise changes.
        separated: label by a query of its own.
        near_duplicate, near_own: similarity from which a text repeats one of dev or test, and one of the run's own.
    """

    rounds: int
    n_texts: int
    modes: list[str]
    invented_names: float
    noise_words: float
    separated: bool
    near_duplicate: float
    near_own: float

    def __post_init__(self) -> None:
        """Refuse what would grow nothing.

        Raises:
            ConfigError: a mode is unknown or there twice, or nothing is asked for.
        """
        for mode in self.modes:
            if mode not in MODES:
                raise ConfigError(did_you_mean("method.modes", mode, MODES))
        if len(set(self.modes)) != len(self.modes) or not self.modes:
            raise ConfigError(
                f"method.modes={self.modes} must name at least one of {', '.join(MODES)}, and none twice."
            )
        if self.n_texts <= 0:
            raise ConfigError(
                f"method.n_texts={self.n_texts}, so a round would make nothing. Give 1 or more, or take method=shots."
            )
        if not 0.0 < self.noise_words <= 1.0:
            raise ConfigError(f"method.noise_words={self.noise_words} must be in (0, 1].")
