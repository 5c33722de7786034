"""Settings that every method that writes texts has."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.teacher.base import Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class WritingSettings:
    """How new texts are sampled, and which lengths are kept."""

    temperature: float
    """Sampling temperature of new texts."""
    top_p: float
    """Nucleus sampling of new texts, in (0, 1]."""
    max_tokens: int
    """Longest new text, in tokens of the teacher."""
    min_words: int
    """Texts with fewer words are rejected."""
    max_words: int
    """Texts with more words are rejected."""

    @property
    def sampling(self) -> Sampling:
        """Sampling of one text, which ends with its line."""
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            stop=("\n",),
        )
