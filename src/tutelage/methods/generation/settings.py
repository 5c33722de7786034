"""Settings that every method that writes texts has."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.errors import ConfigError
from tutelage.teacher.base import Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class WritingSettings:
    """How new texts are sampled, and which lengths are kept.

    Raises:
        ConfigError: ``texts_per_request`` is below 1.
    """

    temperature: float
    """Sampling temperature of new texts."""
    top_p: float
    """Nucleus sampling of new texts, in (0, 1]."""
    max_tokens: int | None
    """Longest new text, in tokens of the teacher. null: 1.5 times as long as long examples (95th
    percentile of the shots and of a sample of the pool), and 16 tokens more."""
    min_words: int | None
    """Texts with fewer words are rejected. null: texts with fewer tokens than half of a short
    example (5th percentile), which suits every language."""
    max_words: int | None
    """Texts with more words are rejected. null: texts with more tokens than ``max_tokens``."""

    texts_per_request: int
    """Most texts, or names, that a chat asks for at once, as a list in JSON; 1 asks for the text
    itself. Completions are always asked for one by one."""

    def __post_init__(self) -> None:
        """Checks what would show late."""
        if self.texts_per_request < 1:
            raise ConfigError(
                f"method.texts_per_request={self.texts_per_request} must be 1 or more."
            )

    @property
    def sampling(self) -> Sampling:
        """Sampling of one text, which ends with its line.

        The writer sets its room to that of the examples where ``max_tokens`` is null.
        """
        room = {} if self.max_tokens is None else {"max_tokens": self.max_tokens}
        return Sampling(temperature=self.temperature, top_p=self.top_p, stop=("\n",), **room)
