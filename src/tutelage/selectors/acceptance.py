"""Which generated texts become training rows, from the label that was asked for and the one that scoring gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from tutelage.errors import ConfigError
from tutelage.records import LabelDistribution


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision: the target to train on, or the reason for rejecting."""

    target: str
    accepted: bool
    reason: str
    weight: float = 1.0


class Judge(Protocol):
    """What admission asks of a selector of generated rows."""

    def judge_batch(self, asked: Sequence[str], distributions: Sequence[LabelDistribution]) -> list[Verdict]:
        """A verdict for each text of a round, in order."""
        ...


class Acceptance:
    """Judges each generated text by itself.

    Args:
        agreement: reject a text whose scored label is not the one asked for. Without it the scored label is the target, which is
            the paper's separated labelling taken alone.
        min_confidence: calibrated confidence below which a text is rejected.
        rescue_confidence: with ``agreement``, a text of another scored label is kept *under that label* from this confidence on;
            1 switches it off (confidences stay below 1).
        weighted: weigh a row by the teacher's confidence.

    Raises:
        ConfigError: a confidence outside [0, 1].
    """

    stage: Literal["accept"] = "accept"

    def __init__(self, agreement: bool = True, min_confidence: float = 0.0, rescue_confidence: float = 1.0, weighted: bool = False) -> None:
        for name, value in (("min_confidence", min_confidence), ("rescue_confidence", rescue_confidence)):
            if not 0.0 <= value <= 1.0:
                raise ConfigError(f"selector.{name}={value} must be in [0, 1].")
        self._agreement = agreement
        self._minimum = min_confidence
        self._rescue = rescue_confidence
        self._weighted = weighted

    def judge_batch(self, asked: Sequence[str], distributions: Sequence[LabelDistribution]) -> list[Verdict]:
        """A verdict for each text, in order."""
        return [self.judge(label, distribution) for label, distribution in zip(asked, distributions, strict=True)]

    def judge(self, asked: str, distribution: LabelDistribution) -> Verdict:
        """Accept under a target, or reject with the reason."""
        top, confidence = distribution.top, distribution.confidence
        weight = confidence if self._weighted else 1.0
        if confidence < self._minimum:
            return Verdict(top, False, f"confidence below {self._minimum:g}")
        if self._agreement and top != asked and (self._rescue >= 1.0 or confidence < self._rescue):
            return Verdict(top, False, "scored label is not the one asked for")
        return Verdict(top, True, "", weight)
