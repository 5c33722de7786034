"""LLM-DA's settings, as conf/method/llm_da.yaml gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tutelage.errors import ConfigError
from tutelage.methods.generation.settings import WritingSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMDASettings(WritingSettings):
    """What a round makes, and how much of it.

    Raises:
        ConfigError: no mode or one twice, or nothing to make.
    """

    name: str
    """Names the method in results and run folders."""
    rounds: int
    """Maximum number of rounds; a token budget or a plateau may end growth sooner."""
    n_texts: int
    """Texts per round, shared evenly by the modes."""
    modes: list[Literal["rewrite", "replace", "both", "noise"]]
    """Ways of changing a gold sentence: another wording (``prompt.strategies``), other names, other
    names in another wording, or noise in the words outside the entities."""
    invented_names: float
    """Share of the other names that the teacher invents; the rest come from the shots and earlier
    rounds."""
    noise_words: float
    """Share of the words outside the entities that noise changes or drops, at least one word."""
    separated: bool
    """Label each text by a query of its own, as EvoKD does; false: keep the gold sentence's
    entities."""
    near_duplicate: float
    """Similarity from which a text is a duplicate of a dev or test text, in [0, 1]."""
    near_own: float
    """The same within the run's own texts: a variant resembles its sentence."""

    def __post_init__(self) -> None:
        """Refuses settings that would grow nothing."""
        WritingSettings.__post_init__(self)
        if len(set(self.modes)) != len(self.modes) or not self.modes:
            raise ConfigError(
                f"method.modes={self.modes} must name at least one mode, and none twice."
            )
        if self.n_texts <= 0:
            raise ConfigError(
                f"method.n_texts={self.n_texts}, so a round would make nothing. Give 1 or more, or "
                "take method=shots."
            )
        if not 0.0 < self.noise_words <= 1.0:
            raise ConfigError(f"method.noise_words={self.noise_words} must be in (0, 1].")
