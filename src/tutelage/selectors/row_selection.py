"""FOLD: selectors.row_selection."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, did_you_mean
from tutelage.selectors.measures import TeacherConfidence, row_uncertainty, uncertainty_of
from tutelage.selectors.protocol import EpochView, Floats, Normaliser, Step, Weighed


# FOLD: What the train selectors share that choose rows once, when an epoch begins.
class Chosen(NamedTuple):
    """What a selector makes of an epoch of M rows.

    Attributes:
        kept: True for the rows to keep, [M].
        scores: what they were chosen by, [M]; NaN for a row that was not judged.
    """

    kept: NDArray[np.bool_]
    scores: Floats


class OnceAnEpoch(ABC):
    """Keeps the rows that :meth:`choose` names for a whole epoch, with weight 1; the others have weight 0.

    Gold rows are always kept and never judged: :meth:`choose` sees them, but its word on them does not count. A row that ``begin`` did not
    see has weight 0 unless it is gold; rows come between epochs only, so there should be none. Nothing survives a checkpoint, since
    checkpoints lie between epochs and ``begin`` comes again.

    Args:
        refill: gather kept rows until a batch is full, so that a step learns from as many rows as any other arm's.
    """

    stage: Literal["train"] = "train"
    needs: frozenset[str] = frozenset({"epoch"})
    normaliser: Normaliser = "weights"
    watches = False

    def __init__(self, refill: bool = False) -> None:
        self.refill = refill
        self._chosen: dict[str, tuple[bool, float]] | None = None

    @abstractmethod
    def choose(self, view: EpochView) -> Chosen:
        """Which of the M rows to keep, and by what score."""

    def begin(self, view: EpochView) -> None:
        """Choose the rows of the epoch that begins.

        Raises:
            ConfigError: they lack what the selector compares them with.
        """
        kept, scores = self.choose(view)
        self._chosen = dict(
            zip(view.ids, zip(kept.tolist(), scores.tolist(), strict=True), strict=True)
        )

    def weigh(self, step: Step) -> Weighed:
        """1 for kept and gold rows, 0 for the others, [B].

        Raises:
            RuntimeError: ``begin`` was not called before.
        """
        if self._chosen is None:
            raise RuntimeError(
                f"{type(self).__name__}.weigh was called before begin, so nothing is chosen yet."
            )
        kept, scores = (
            np.array([self._chosen.get(id, (False, np.nan)) for id in step.ids], dtype=np.float64)
            .reshape(-1, 2)
            .T
        )
        weights = np.maximum(kept, step.gold)
        return Weighed(weights, {"kept": int(weights.sum()), "of": len(weights)}, scores)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the next epoch chooses anew."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Forget what was chosen."""
        self._chosen = None


# FOLD: Keep the best share of an epoch's rows by a score: the rule stands here once, and the selectors differ in the score.
NEVER = -math.inf
"""The score of a row that is left out whatever the share."""


def first_of(rows: int, share: float) -> int:
    """How many of ``rows`` a share keeps: ceil(share * rows)."""
    # Rounded first: 0.07 * 100 is a little more than 7.
    return math.ceil(round(rows * share, 9))


class Ranked(OnceAnEpoch):
    """Keeps the first ceil(share * m) rows by :meth:`scores`, where m counts the rows without a gold label.

    Equal scores are ranked by place, and a score that is not a number comes last. Rows scored ``NEVER`` count in m and are not kept. Gold
    rows use up nothing of the share.

    Args:
        share: of the rows that is kept, in (0, 1].
        per_class: take the share of each class (as the teacher labelled) and not of all rows together. Then m is the class's, and a class
            with any rows keeps at least one.
        refill: as in :class:`~tutelage.selectors.row_selection.OnceAnEpoch`.

    Raises:
        ConfigError: ``share`` is outside (0, 1].
    """

    def __init__(self, share: float = 0.5, per_class: bool = True, refill: bool = False) -> None:
        if not 0.0 < share <= 1.0:
            raise ConfigError(f"selector.share={share} must be above 0 and at most 1.")
        super().__init__(refill)
        self._share = share
        self._per_class = per_class

    @abstractmethod
    def scores(self, view: EpochView) -> Floats:
        """One for each row, [M]; the higher the more wanted."""

    def choose(self, view: EpochView) -> Chosen:
        """The rows that rank high enough; gold rows are not ranked."""
        scores = self.scores(view)
        kept = np.zeros(len(scores), dtype=np.bool_)
        judged = np.flatnonzero(~view.gold)
        groups = (
            [judged[view.groups[judged] == key] for key in np.unique(view.groups[judged])]
            if self._per_class
            else [judged]
        )
        for group in groups:
            wanted = group[scores[group] != NEVER]
            # A stable sort ranks equals by place, and NumPy puts what is not a number last.
            kept[
                wanted[np.argsort(-scores[wanted], kind="stable")][
                    : first_of(len(group), self._share)
                ]
            ] = True
        return Chosen(kept, scores)


# FOLD: Learn from every row: the arm that the other train selectors are measured against.
class EveryRow:
    """Gives every row the weight 1, so that a batch's loss is the mean over its rows."""

    stage: Literal["train"] = "train"
    needs: frozenset[str] = frozenset()
    normaliser: Normaliser = "weights"
    refill = False
    watches = False

    def begin(self, view: EpochView) -> None:
        """Nothing to decide; it is not called."""

    def weigh(self, step: Step) -> Weighed:
        """Ones, [B]; there is nothing to report of them."""
        return Weighed(np.ones(len(step.ids)), {})

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up nothing."""


# FOLD: Learn from what the teacher is surest of: selection by confidence in its plainest form.
# FOLD:
# FOLD: A fixed share on the teacher's side of LLKD alone (Li et al. 2025, arXiv 2411.08028, reconstructed), without its student's gate and its
# FOLD: weights; :mod:`tutelage.selectors.row_selection` has both sides, and is LLKD's ablation.
class Surest(Ranked):
    """Ranks an epoch's rows by the teacher's confidence and keeps the first ones. It needs no pass of the student.

    Args:
        share: of the rows that is kept, in (0, 1].
        per_class: the share of each class that the teacher predicted; False: of all rows, which may starve a class.
        confidence: for NER the "mean" over a row's entities, or that of the "least" certain one.
        refill: gather kept rows until a batch is full.

    Raises:
        ConfigError: ``share`` is outside (0, 1], or ``confidence`` is unknown.
    """

    needs: frozenset[str] = frozenset({"rows"})

    def __init__(
        self,
        share: float = 0.5,
        per_class: bool = True,
        confidence: Literal["mean", "least"] = "mean",
        refill: bool = False,
    ) -> None:
        super().__init__(share, per_class, refill)
        self._confidence = TeacherConfidence(confidence)

    def scores(self, view: EpochView) -> Floats:
        """The teacher's confidence, [M]."""
        return self._confidence.of(view)


# FOLD: Learn from what the teacher is sure of and the student is not, by a fixed share.
# FOLD:
# FOLD: LLKD multiplies the two in its weights and gates them by moving thresholds (Li et al. 2025, arXiv 2411.08028, reconstructed). Here the
# FOLD: product ranks the rows once an epoch and a fixed share is kept. With ``combine="product"`` and ``normaliser="kept"`` kept rows weigh what they
# FOLD: would in LLKD: the ablation "fixed top share instead of dynamic thresholds".
class ConfidentUncertain(Ranked):
    """Ranks an epoch's rows by c * u and keeps the first ones.

    c is the teacher's confidence; u is the entropy of the student's distribution divided by log C, in [0, 1]. For NER the ranking takes the
    word that the student is least certain of, the weight the mean over the words, as LLKD does.

    Args:
        share: of the rows that is kept, in (0, 1].
        per_class: the share of each class that the teacher predicted; False: of all rows.
        confidence: for NER the "mean" over a row's entities, or that of the "least" certain one.
        refill: gather kept rows until a batch is full.
        combine: weight of a kept row: "none" (1), or "product": c * u of the student as it stands at the step; 0 where that is not a number.
            Gold rows weigh 1.
        normaliser: what the weighted losses are divided by: "kept" rows, "weights", or "batch".

    Raises:
        ConfigError: ``share`` is outside (0, 1], or another value is unknown.
    """

    def __init__(
        self,
        share: float = 0.5,
        per_class: bool = True,
        confidence: Literal["mean", "least"] = "mean",
        refill: bool = False,
        combine: Literal["none", "product"] = "none",
        normaliser: Normaliser = "weights",
    ) -> None:
        super().__init__(share, per_class, refill)
        self._confidence = TeacherConfidence(confidence)
        for name, value, known in (
            ("combine", combine, ("none", "product")),
            ("normaliser", normaliser, ("kept", "weights", "batch")),
        ):
            if value not in known:
                raise ConfigError(did_you_mean(f"selector.{name}", value, known))
        self.watches = combine == "product"
        self.normaliser = normaliser

    def scores(self, view: EpochView) -> Floats:
        """Confidence times uncertainty, [M]."""
        product: Floats = self._confidence.of(view) * uncertainty_of(view.probabilities, "entropy")
        return product

    def weigh(self, step: Step) -> Weighed:
        """1 for gold rows, 1 or c * u for the others that are kept, 0 for the rest, [B].

        Raises:
            RuntimeError: ``begin`` was not called before.
        """
        weighed = super().weigh(step)
        if not self.watches:
            return weighed
        product = np.nan_to_num(
            self._confidence.of(step) * row_uncertainty(step, "entropy"), nan=0.0
        )
        return Weighed(
            weighed.weights * np.where(step.gold, 1.0, product), weighed.report, weighed.scores
        )


# FOLD: FreeAL's small-loss filter: rows that the student fits early are likely labelled right (Xiao et al. 2023, arXiv 2311.15614).
# FOLD:
# FOLD: In each class a mixture of two Gaussians is fitted to the losses; the component with the lower mean holds the clean rows. The paper gives
# FOLD: the mixture by class and the threshold 0.7; the fallbacks below are ours.
_SPREAD = 5e-4
"""Added to the variance of each component, on losses in [0, 1], so that none collapses onto one row."""


class SmallLoss(OnceAnEpoch):
    """Keeps the rows whose probability of belonging to the low-loss component reaches ``threshold``.

    Losses are scaled to [0, 1] in each class. Outside the two means a loss counts as the nearer mean's: a wide component would otherwise
    claim the other one's far end, and the largest losses of all could pass as clean. All rows of a class are kept where it has fewer than
    ``min_rows``, where its losses are all the same, and where the mixture finds nothing clean (it has not told two groups apart). A row
    whose loss is not a finite number has no part in this and is left out. Gold rows take no part either.

    Args:
        threshold: of the probability, in (0, 1].
        per_class: fit a mixture for each class as the teacher labelled; False: one for all rows.
        min_rows: fewest rows that a mixture is fitted to; at least 2.
        refill: gather kept rows until a batch is full.

    Raises:
        ConfigError: a number is outside its range.
    """

    def __init__(
        self,
        threshold: float = 0.7,
        per_class: bool = True,
        min_rows: int = 8,
        refill: bool = False,
    ) -> None:
        if not 0.0 < threshold <= 1.0:
            raise ConfigError(f"selector.threshold={threshold} must be above 0 and at most 1.")
        if min_rows < 2:
            raise ConfigError(
                f"selector.min_rows={min_rows} is too few for a mixture of two; give 2 or more."
            )
        super().__init__(refill)
        self._threshold = threshold
        self._per_class = per_class
        self._min_rows = min_rows

    def choose(self, view: EpochView) -> Chosen:
        """The rows that look clean, by the probability of it; gold rows are not judged, nor is a class that no mixture is fitted to."""
        kept, scores = np.zeros(len(view.losses), dtype=np.bool_), np.full(len(view.losses), np.nan)
        judged = np.flatnonzero(~view.gold & np.isfinite(view.losses))
        groups = (
            [judged[view.groups[judged] == key] for key in np.unique(view.groups[judged])]
            if self._per_class
            else [judged]
        )
        for group in groups:
            losses = view.losses[group]
            if len(losses) < self._min_rows or losses.min() == losses.max():
                kept[group] = True
                continue
            scores[group] = low_probability((losses - losses.min()) / (losses.max() - losses.min()))
            clean = scores[group] >= self._threshold
            kept[group] = clean if clean.any() else True
        return Chosen(kept, scores)


def low_probability(losses: Floats) -> Floats:
    """Probability that each loss belongs to the lower of two Gaussians fitted to all of them, [M] → [M]; it never grows with the loss.

    Args:
        losses: in [0, 1], at least two different ones.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(n_components=2, reg_covar=_SPREAD, random_state=0)
    with warnings.catch_warnings():
        # A fit that stops early is still a fit; the groups are told apart long before the last digits.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(losses[:, None])
    means = mixture.means_[:, 0]
    # Between the means the odds fall steadily; beyond them they need not.
    between = np.clip(losses, means.min(), means.max())
    probability: Floats = mixture.predict_proba(between[:, None])[:, int(means.argmin())]
    return probability


# FOLD: Learn from rows that would move the student where the gold rows do: after LESS (Xia et al. 2024, arXiv 2402.04333).
# FOLD:
# FOLD: LESS compares projected gradients of a large model, Adam's for training rows, at several checkpoints. Here the gradient is that of the last
# FOLD: layer alone, of the student as it stands when the epoch begins, and the gold shots are the trusted set.
class GradientSimilarity(Ranked):
    """Ranks an epoch's rows by the cosine between their gradient and the mean gradient of the gold rows, and keeps the first ones.

    The gold rows are those of the row's class, or all where the class has none. Gradients of length 0 have the cosine 0.

    Args:
        share: of the rows that is kept, in (0, 1].
        per_class: the share of each class as the teacher labelled; False: of all rows.
        refill: gather kept rows until a batch is full.

    Raises:
        ConfigError: ``share`` is outside (0, 1].
    """

    needs: frozenset[str] = frozenset({"epoch", "gradients"})

    def scores(self, view: EpochView) -> Floats:
        """Cosines, [M].

        Raises:
            ConfigError: the epoch has no gold row that the student can see.
            ValueError: the view has no gradients.
        """
        if view.gradients is None:
            raise ValueError("GradientSimilarity was given a view without gradients.")
        trusted = view.gold & np.isfinite(view.gradients).all(axis=1)
        if not trusted.any():
            raise ConfigError(
                f"selector=gradient_similarity compares rows with gold ones, and of this epoch's {len(view.ids)} rows none is gold. "
                "Give shots=1 or more with method.training.gold=shots, and method.train_on_shots=true where the method has that setting; or "
                "choose another selector=."
            )
        rows = _unit(view.gradients)
        scores = np.empty(len(rows))
        for key in np.unique(view.groups):
            own = view.groups == key
            guides = trusted & own if (trusted & own).any() else trusted
            scores[own] = rows[own] @ _unit(view.gradients[guides].mean(axis=0))
        return scores


def _unit(vectors: Floats) -> Floats:
    """Vectors of length 1, [..., P]; those of length 0 as they are."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        scaled: Floats = vectors / np.where(lengths == 0, 1.0, lengths)
    return scaled


# FOLD: Learn from rows whose text helps to find the answer, but little: after IFD (Li et al. 2023, arXiv 2308.12032).
# FOLD:
# FOLD: IFD is the loss of an answer given its instruction, divided by its loss alone. Above 1 the instruction misleads, and the pair is dropped as
# FOLD: misaligned; of the others those with the highest score teach most. Here the answer is the row's target and the instruction its text.
class AnswerDifficulty(Ranked):
    """Ranks an epoch's rows by loss / prior loss and keeps the highest ones below 1, so fewer than ``share`` where there are not enough.

    The prior loss is that of the target where the text is left empty.

    Args:
        share: of the rows, the dropped ones included, that is kept at most; in (0, 1].
        per_class: the share of each class as the teacher labelled; False: of all rows. The prior differs by class, and so do the ratios.
        refill: gather kept rows until a batch is full.

    Raises:
        ConfigError: ``share`` is outside (0, 1].
    """

    needs: frozenset[str] = frozenset({"epoch", "prior_losses"})

    def scores(self, view: EpochView) -> Floats:
        """The ratios, [M]; ``NEVER`` from 1 on, and not a number where both losses are 0.

        Raises:
            ValueError: the view has no prior losses.
        """
        if view.prior_losses is None:
            raise ValueError("AnswerDifficulty was given a view without prior losses.")
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = view.losses / view.prior_losses
        return np.where(ratios >= 1.0, NEVER, ratios)
