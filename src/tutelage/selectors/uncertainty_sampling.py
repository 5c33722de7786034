"""Acquire selectors based on the student's uncertainty, and the random baseline.

- :class:`RandomChoice` is the baseline for every other acquisition.
- :class:`UncertaintySampling` takes the texts the student is least certain of.
- :class:`DropoutDisagreement` takes the texts on which dropout passes contradict one another.
- :class:`Instability` takes the texts whose prediction changes with a few words.
- :class:`AcceptReject` accepts random texts with probability equal to their uncertainty.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from tutelage.errors import ConfigError
from tutelage.selectors.measures import checked_kind
from tutelage.selectors.protocol import Acquired, PoolView, Uncertainty
from tutelage.selectors.ranking import best_first, in_order, wanted


class RandomChoice:
    """Chooses texts uniformly at random, without a student pass; all scores are 0."""

    stage: Literal["acquire"] = "acquire"

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """Chooses ``n`` texts in random order.

        Args:
            view: The unlabelled texts.
            n: Number of texts to choose.
            rng: Source of the draw.
        """
        total = len(view.texts)
        count = wanted(n, total)
        indices = rng.choice(total, size=count, replace=False) if count else np.zeros(0)
        return Acquired(indices.astype(np.int64), np.zeros(count))


class UncertaintySampling:
    """Chooses the texts of highest uncertainty; the score is the uncertainty, in [0, 1].

    Least confidence: Lewis and Gale 1994. Margin, "breaking ties": Scheffer, Decomain and Wrobel
    2001. Entropy: Settles 2009, section 2.1. LLMaAA compares two of them (Zhang et al. 2023,
    section 3.3).

    Args:
        kind: Uncertainty measure: "entropy", "margin" or "least_confidence".

    Raises:
        ConfigError: ``kind`` is unknown.
    """

    stage: Literal["acquire"] = "acquire"

    def __init__(self, kind: Uncertainty = "entropy") -> None:
        self._kind = checked_kind(kind)

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """Chooses the ``n`` least certain texts, least certain first.

        Args:
            view: The unlabelled texts as the student sees them.
            n: Number of texts to choose.
            rng: Unused.
        """
        return best_first(view.uncertainty(self._kind), n)


class DropoutDisagreement:
    """Chooses the texts whose prediction depends most on the dropout mask.

    BALD (Houlsby et al. 2011) over dropout masks (Gal, Islam and Ghahramani 2017, section 4): high
    when each pass is confident and the passes contradict one another, low when all passes are
    equally unsure. ELAD selects samples this way (Zhang et al. 2024); here it is applied to
    encoders. The score is the mutual information in nats.

    Args:
        passes: Forward passes over the whole pool; at least 2.

    Raises:
        ConfigError: ``passes`` is below 2.
    """

    stage: Literal["acquire"] = "acquire"

    def __init__(self, passes: int = 10) -> None:
        if passes < 2:
            raise ConfigError(
                f"acquire.passes={passes} cannot measure disagreement; give 2 or more passes."
            )
        self._passes = passes

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """Chooses the ``n`` texts with the highest disagreement, highest first.

        Args:
            view: The unlabelled texts as the student sees them.
            n: Number of texts to choose.
            rng: Unused; the view seeds the dropout masks.
        """
        count = wanted(n, len(view.texts))
        return best_first(view.disagreement(self._passes), count)


class Instability:
    """Chooses the texts whose prediction changes most when a few of their words do.

    After ELAD (Zhang et al. 2024, arXiv 2402.13098; reconstructed from its summary), which has the
    teacher label the texts on which the student is unstable. What differs: the paper's student is a
    language model that writes down its reasoning, and its uncertainty is that of the steps; an
    encoder writes none, so the stability of its prediction stands in for them. The changed copies
    are no paraphrases of the teacher and cost none of its tokens: half of them leave out words, the
    others swap words (the operations of EDA, Wei and Zou 2019), which may change the meaning, as
    where "not" goes. For NER only words outside the entities that the student sees, or nearly sees,
    change. A text without words to change is stable.

    The score is the mean over the copies of the Kullback-Leibler divergence of the prediction for
    the copy from that for the text, in nats; for NER the mean over the words that both have. The
    share of copies with another label would be 0 for most texts.

    Args:
        copies: Changed copies of each text, one student pass each; at least 1.
        share: Share of the words that a copy changes, at least one word, in (0, 1].

    Raises:
        ConfigError: ``copies`` or ``share`` is outside its range.
    """

    stage: Literal["acquire"] = "acquire"

    def __init__(self, copies: int = 8, share: float = 0.1) -> None:
        if copies < 1:
            raise ConfigError(f"acquire.copies={copies} compares nothing; give 1 or more copies.")
        if not 0.0 < share <= 1.0:
            raise ConfigError(
                f"acquire.share={share} is no share of the words to change; give one above 0 and "
                "up to 1, such as acquire.share=0.1."
            )
        self._copies, self._share = copies, share

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """Chooses the ``n`` least stable texts, least stable first.

        Args:
            view: The unlabelled texts as the student sees them.
            n: Number of texts to choose.
            rng: Unused; the view seeds the changes of each text.
        """
        count = wanted(n, len(view.texts))
        return best_first(view.instability(self._copies, self._share), count)


class AcceptReject:
    """Walks the texts in random order, accepting each with probability equal to its uncertainty.

    M-RARU (arXiv 2511.11574; reconstructed from its summary). The walk repeats over the rejected
    texts until ``n`` are accepted. The walks are not carried out: the number of rejections before a
    text is accepted has a geometric distribution, so one draw per text, ordered by walk and
    position in it, gives the same probabilities without endless walks over certain texts. Texts of
    uncertainty 0 come last, in random order, and after them texts without a finite uncertainty, by
    index. The score is the uncertainty; scores may increase.

    Args:
        kind: Uncertainty measure: "entropy" (divided by log C), "margin" or "least_confidence".

    Raises:
        ConfigError: ``kind`` is unknown.
    """

    stage: Literal["acquire"] = "acquire"

    def __init__(self, kind: Uncertainty = "entropy") -> None:
        self._kind = checked_kind(kind)

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """Chooses ``n`` texts in the order of their acceptance.

        Args:
            view: The unlabelled texts as the student sees them.
            n: Number of texts to choose.
            rng: Source of the walking order and the acceptance draws.
        """
        count = wanted(n, len(view.texts))
        uncertainty = view.uncertainty(self._kind).astype(np.float64)
        # One uniform draw in (0, 1] per text, and its position in the random order.
        met = rng.permutation(len(uncertainty)).astype(np.float64)
        draws = 1.0 - rng.random(len(uncertainty))
        known = np.isfinite(uncertainty)
        # Invert the geometric distribution: rejections before acceptance, given the draw.
        with np.errstate(divide="ignore", invalid="ignore"):
            rejections = np.floor(np.log(draws) / np.log1p(-np.clip(uncertainty, 0.0, 1.0)))
        rejections[uncertainty >= 1.0] = 0.0
        rejections[uncertainty <= 0.0] = np.inf
        # Order by walk, then by position in the walk; texts without a score go last, by index.
        met[~known] = np.arange(len(met))[~known]
        order = np.lexsort((met, rejections, ~known))[:count]
        return in_order(order, uncertainty[order])
