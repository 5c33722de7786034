"""EDA's settings, as conf/method/eda.yaml gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tutelage.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class EDASettings:
    """How many texts each shot becomes, and how far they differ from it.

    Raises:
        ConfigError: A value is outside its range, or a mode is missing or given twice.
    """

    name: str
    """Names the method in results and run folders."""
    n_texts: int
    """Texts made from each shot, shared evenly by the modes."""
    modes: list[Literal["replace", "insert", "swap", "delete", "rename"]]
    """Ways of changing a text, one for each new text: replace some words, insert some, swap pairs,
    delete some, or for entities give other names of their types. A text that one mode cannot
    change is left to the next one."""
    share: float
    """Share of the words that a text changes, at least one; words of entities do not count. The
    paper's alpha."""
    near_duplicate: float
    """Similarity from which a text is a duplicate of a dev or test text, in (0, 1]."""

    def __post_init__(self) -> None:
        """Refuses settings that would make nothing."""
        if self.n_texts < 1:
            raise ConfigError(
                f"method.n_texts={self.n_texts}, so no text would be made from a shot. Give 1 or "
                "more, or take method=shots."
            )
        if not self.modes or len(set(self.modes)) != len(self.modes):
            raise ConfigError(
                f"method.modes={self.modes} must name at least one mode, and none twice."
            )
        if not 0.0 < self.share <= 1.0:
            raise ConfigError(f"method.share={self.share} must be in (0, 1].")
