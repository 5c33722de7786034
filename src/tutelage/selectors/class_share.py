"""Keep the best share of each class's texts: a threshold for each class, set by the class itself.

A small teacher is not equally sure of all classes. One threshold for all starves the classes that it is unsure of (on SNIPS, 1 shot,
0.7 left PlayMusic one row in 450 texts), and a student without them fails. Ranking inside the class asked for is the idea of LLKD's
class-wise thresholds (papers in the README), applied to generated texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tutelage.errors import ConfigError
from tutelage.records import LabelDistribution
from tutelage.selectors.acceptance import Verdict
from tutelage.selectors.ranked import first_of


class ClassShare:
    """Ranks a round's texts of each asked class by the calibrated probability of that class, and keeps the first ones.

    Args:
        share: of each class's scored texts that is kept, rounded up; in (0, 1].
        min_probability: of the class asked for, below which a text is rejected whatever its rank.
        weighted: weigh a row by that probability.

    Raises:
        ConfigError: a number is outside its range.
    """

    stage: Literal["accept"] = "accept"

    def __init__(self, share: float = 0.5, min_probability: float = 0.0, weighted: bool = False) -> None:
        if not 0.0 < share <= 1.0:
            raise ConfigError(f"selector.share={share} must be above 0 and at most 1.")
        if not 0.0 <= min_probability <= 1.0:
            raise ConfigError(f"selector.min_probability={min_probability} must be in [0, 1].")
        self._share = share
        self._minimum = min_probability
        self._weighted = weighted

    def judge_batch(self, asked: Sequence[str], distributions: Sequence[LabelDistribution]) -> list[Verdict]:
        """A verdict for each text, in order; of equally probable texts the earlier one ranks first."""
        probability = [distribution.probability(label) for label, distribution in zip(asked, distributions, strict=True)]
        kept: set[int] = set()
        for label in sorted(set(asked)):
            places = [place for place, own in enumerate(asked) if own == label]
            places.sort(key=lambda place: (-probability[place], place))
            kept.update(places[: first_of(len(places), self._share)])
        verdicts = []
        for place, label in enumerate(asked):
            if probability[place] < self._minimum:
                verdicts.append(Verdict(label, False, f"probability of the class asked for below {self._minimum:g}"))
            elif place not in kept:
                verdicts.append(Verdict(label, False, f"not among the surest {self._share:.0%} of its class"))
            else:
                verdicts.append(Verdict(label, True, "", probability[place] if self._weighted else 1.0))
        return verdicts
