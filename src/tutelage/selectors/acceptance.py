"""Accept selectors: which generated texts become training rows.

Every generated text carries two labels: the one requested at generation, and the one label scoring
gives it afterwards. :class:`LabelAgreement` decides about each text on its own; :class:`ClassShare`
ranks the texts of a round within each class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from tutelage.errors import ConfigError
from tutelage.records import LabelDistribution
from tutelage.selectors.per_epoch import first_of


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision about one generated text.

    Attributes:
        target: Label to train on; for a rejected text, the label recorded with it.
        accepted: Whether the text becomes a training row.
        reason: Why the text was rejected; "" for an accepted one.
        weight: Weight of the row in the loss.
    """

    target: str
    accepted: bool
    reason: str
    weight: float = 1.0


class AcceptSelector(Protocol):
    """Interface of the "accept" stage."""

    asks_student: bool
    """Whether it reads ``confirmed``, which costs a pass of the student."""

    def decide_batch(
        self,
        asked: Sequence[str],
        distributions: Sequence[LabelDistribution],
        confirmed: Sequence[bool] | None = None,
    ) -> list[Decision]:
        """Decides about all scored texts of a round.

        Args:
            asked: The label requested for each text.
            distributions: The teacher's calibrated label distribution for each text.
            confirmed: Whether the student, before it learns from the text, predicts the teacher's
                label; None where there is no trained student, or ``asks_student`` is false.

        Returns:
            One decision per text, in the same order.
        """
        ...


class LabelAgreement:
    """Accepts a generated text when label scoring agrees with the requested label.

    Each text is decided on its own. Without ``agreement`` every text is kept under its scored
    label, the separated labelling of the paper taken alone.

    Args:
        agreement: Reject a text whose scored label differs from the requested one.
        min_confidence: Reject a text below this calibrated confidence, in [0, 1].
        rescue_confidence: With ``agreement``, keep a text of another scored label *under the scored
            label* from this confidence on, in [0, 1]. 1 disables rescuing, since confidences stay
            below 1.
        student_confirms: Keep a text below ``min_confidence`` too, if the student predicts the
            teacher's label for it. Student and teacher err apart, so a label on which they agree is
            more often right than the teacher's confidence says.
        weighted: Weight each row by the teacher's confidence instead of 1.

    Raises:
        ConfigError: A confidence is outside [0, 1], or ``student_confirms`` has no least confidence
            to make an exception from.
    """

    stage: Literal["accept"] = "accept"

    def __init__(
        self,
        agreement: bool = True,
        min_confidence: float = 0.0,
        rescue_confidence: float = 1.0,
        student_confirms: bool = False,
        weighted: bool = False,
    ) -> None:
        if student_confirms and not min_confidence:
            raise ConfigError(
                "accept.student_confirms=true keeps texts below accept.min_confidence, and "
                "accept.min_confidence=0 turns none down. Give accept.min_confidence=0.8."
            )
        for name, value in (
            ("min_confidence", min_confidence),
            ("rescue_confidence", rescue_confidence),
        ):
            if not 0.0 <= value <= 1.0:
                raise ConfigError(f"accept.{name}={value} must be in [0, 1].")
        self._agreement = agreement
        self._minimum = min_confidence
        self._rescue = rescue_confidence
        self._weighted = weighted
        self.asks_student = student_confirms

    def decide_batch(
        self,
        asked: Sequence[str],
        distributions: Sequence[LabelDistribution],
        confirmed: Sequence[bool] | None = None,
    ) -> list[Decision]:
        """Decides about each text independently.

        Args:
            asked: The label requested for each text.
            distributions: The teacher's calibrated label distribution for each text.
            confirmed: Whether the student predicts the teacher's label; None counts as no.

        Returns:
            One decision per text, in the same order.
        """
        if confirmed is None:
            confirmed = [False] * len(asked)
        return [self.judge(*one) for one in zip(asked, distributions, confirmed, strict=True)]

    def judge(
        self, asked: str, distribution: LabelDistribution, confirmed: bool = False
    ) -> Decision:
        """Accepts one text under its scored label, or rejects it with a reason.

        Args:
            asked: The label requested at generation.
            distribution: The teacher's calibrated label distribution for the text.
            confirmed: Whether the student predicts the teacher's label.
        """
        top, confidence = distribution.top, distribution.confidence
        weight = confidence if self._weighted else 1.0
        if confidence < self._minimum and not (self.asks_student and confirmed):
            return Decision(top, False, f"confidence below {self._minimum:g}")
        if self._agreement and top != asked and (self._rescue >= 1.0 or confidence < self._rescue):
            return Decision(top, False, "scored label is not the one asked for")
        return Decision(top, True, "", weight)


class ClassShare:
    """Keeps the most probable share of each requested class, within one round.

    Texts are ranked inside their class by the calibrated probability of the requested label, so
    each class sets its own threshold. A small teacher is not equally confident about all classes,
    and a single threshold starves the classes it is unsure of: on SNIPS with 1 shot, a threshold of
    0.7 left PlayMusic one row in 450 texts, and a student without such a class fails. Ranking
    within a class follows LLKD's class-wise thresholds (Li et al. 2025, arXiv 2411.08028), applied
    to generated texts.

    Args:
        share: Share of each class's scored texts to keep, in (0, 1]; the number is rounded up.
        min_probability: Reject a text whose requested label has a lower probability, whatever its
            rank; in [0, 1].
        weighted: Weight each row by the probability of its label instead of 1.

    Raises:
        ConfigError: A number is outside its range.
    """

    stage: Literal["accept"] = "accept"
    asks_student = False

    def __init__(
        self, share: float = 0.5, min_probability: float = 0.0, weighted: bool = False
    ) -> None:
        if not 0.0 < share <= 1.0:
            raise ConfigError(f"accept.share={share} must be above 0 and at most 1.")
        if not 0.0 <= min_probability <= 1.0:
            raise ConfigError(f"accept.min_probability={min_probability} must be in [0, 1].")
        self._share = share
        self._minimum = min_probability
        self._weighted = weighted

    def decide_batch(
        self,
        asked: Sequence[str],
        distributions: Sequence[LabelDistribution],
        confirmed: Sequence[bool] | None = None,
    ) -> list[Decision]:
        """Ranks each class's texts and keeps the first ones; the earlier text wins a tie.

        Args:
            asked: The label requested for each text.
            distributions: The teacher's calibrated label distribution for each text.
            confirmed: Not read.

        Returns:
            One decision per text, in the same order.
        """
        probability = [
            distribution.probability(label)
            for label, distribution in zip(asked, distributions, strict=True)
        ]
        # Rank each class on its own: its share of texts passes, however unsure the teacher is of
        # it.
        kept: set[int] = set()
        for label in sorted(set(asked)):
            indices = [index for index, own in enumerate(asked) if own == label]
            indices.sort(key=lambda index: (-probability[index], index))
            kept.update(indices[: first_of(len(indices), self._share)])
        # The floor is checked first, so the recorded reason names it even for a low-ranked text.
        decisions = []
        for index, label in enumerate(asked):
            if probability[index] < self._minimum:
                decisions.append(
                    Decision(
                        label, False, f"probability of the class asked for below {self._minimum:g}"
                    )
                )
            elif index not in kept:
                decisions.append(
                    Decision(label, False, f"not among the surest {self._share:.0%} of its class")
                )
            else:
                decisions.append(
                    Decision(label, True, "", probability[index] if self._weighted else 1.0)
                )
        return decisions
