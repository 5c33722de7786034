"""Which of the teacher's two confidences a selector looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tutelage.errors import ConfigError, did_you_mean
from tutelage.selectors.protocol import EpochView, Floats, Step

KINDS = ("mean", "least")


@dataclass(frozen=True, slots=True)
class TeacherConfidence:
    """The teacher's confidence in a row. For classification both kinds are the same number.

    Attributes:
        kind: for NER "mean" is the mean over the row's entities, "least" that of its least certain entity.

    Raises:
        ConfigError: ``kind`` is neither.
    """

    kind: Literal["mean", "least"] = "mean"

    def __post_init__(self) -> None:
        """Check the kind."""
        if self.kind not in KINDS:
            raise ConfigError(did_you_mean("selector.confidence", str(self.kind), KINDS))

    def of(self, rows: Step | EpochView) -> Floats:
        """One number in [0, 1] for each row, [B] or [M]."""
        return rows.confidence if self.kind == "mean" else rows.least_confidence
