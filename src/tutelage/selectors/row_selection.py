"""Train selectors that choose the rows of an epoch once, when the epoch begins.

- :class:`EveryRow` keeps everything: the baseline of the other train selectors.
- :class:`Surest` keeps the rows the teacher is most confident about.
- :class:`ConfidentUncertain` adds the student's uncertainty: LLKD with a fixed share.
- :class:`SmallLoss` keeps the rows with a clean-looking loss (FreeAL's filter).
- :class:`GradientSimilarity` keeps the rows whose gradient points where the gold rows' does (LESS).
- :class:`AnswerDifficulty` keeps the rows whose text helps a little to find the label (IFD).

The shared rules are in :mod:`tutelage.selectors.per_epoch`. Three selectors have modules of their
own: :mod:`tutelage.selectors.llkd` decides at every step, :mod:`tutelage.selectors.dynamics`
weights every row, and :mod:`tutelage.selectors.spread` clusters the surest rows.
"""

from __future__ import annotations

import warnings
from collections import deque
from typing import Any, Literal, NamedTuple

import numpy as np

from tutelage.errors import ConfigError, did_you_mean
from tutelage.selectors.measures import (
    Confidence,
    TeacherConfidence,
    row_uncertainty,
    uncertainty_of,
)
from tutelage.selectors.per_epoch import NEVER, Chosen, OncePerEpoch, Ranked
from tutelage.selectors.protocol import EpochView, Floats, Normaliser, Step, Weighed


class EveryRow:
    """Gives every row the weight 1, so the batch loss is the mean over its rows.

    The baseline of all train selectors.
    """

    stage: Literal["train"] = "train"
    needs: frozenset[str] = frozenset()
    normaliser: Normaliser = "weights"
    refill = False
    watches = False

    def begin(self, view: EpochView) -> None:
        """Does nothing, and is never called."""

    def weigh(self, step: Step) -> Weighed:
        """Weights of 1, [B], with nothing to report."""
        return Weighed(np.ones(len(step.ids)), {})

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Does nothing."""


class Surest(Ranked):
    """Keeps the rows the teacher is most confident about; needs no student pass.

    Selection by confidence in its plainest form: a fixed share on the teacher's side of LLKD (Li et
    al. 2025, arXiv 2411.08028, reconstructed), without the student's gate and the weights.
    :class:`ConfidentUncertain` has both sides.

    Args:
        share: Share of the rows to keep, in (0, 1].
        per_class: Apply the share to each class predicted by the teacher. False applies it to all
            rows together, which may starve a class.
        confidence: The teacher's confidence in a text. For NER, "mean" over its entities, or
            "least" for its least certain entity; the same number for classification. With
            labelling=ensemble, "agreement" of its members.
        refill: Gather kept rows until a batch is full, so that each step learns from as many rows
            as with any other selector.

    Raises:
        ConfigError: ``share`` is outside (0, 1], or ``confidence`` is unknown.
    """

    needs: frozenset[str] = frozenset({"rows"})

    def __init__(
        self,
        share: float = 0.5,
        per_class: bool = True,
        confidence: Confidence = "mean",
        refill: bool = False,
    ) -> None:
        super().__init__(share, per_class, refill)
        self._confidence = TeacherConfidence(confidence)

    def scores(self, view: EpochView) -> Floats:
        """Teacher confidence, [M]."""
        return self._confidence.of(view)


class ConfidentUncertain(Ranked):
    """Keeps the rows with the highest product c * u, chosen once per epoch.

    c is the teacher's confidence; u is the entropy of the student's distribution divided by log C,
    in [0, 1]. For NER the ranking uses the word the student is least certain of, and the weight the
    mean over the words, as in LLKD.

    LLKD multiplies the two in its weights and gates them by moving thresholds (Li et al. 2025,
    arXiv 2411.08028, reconstructed). Here the product ranks the rows, and a fixed share is kept.
    With ``combine="product"`` and ``normaliser="kept"``, kept rows weigh the same as in LLKD: the
    ablation "fixed top share instead of dynamic thresholds".

    Args:
        share: Share of the rows to keep, in (0, 1].
        per_class: Apply the share to each class predicted by the teacher. False applies it to all
            rows together.
        confidence: The teacher's confidence in a text. For NER, "mean" over its entities, or
            "least" for its least certain entity; the same number for classification. With
            labelling=ensemble, "agreement" of its members.
        refill: Gather kept rows until a batch is full, so that each step learns from as many rows
            as with any other selector.
        combine: Weight of a kept row: "none" for 1, or "product" for c * u at the time of the step
            (0 if this is NaN). Gold rows always weigh 1.
        normaliser: Divisor of the weighted losses: "kept" for the number of kept rows, "weights"
            for the sum of their weights, or "batch" for the number of rows in the batch.

    Raises:
        ConfigError: ``share`` is outside (0, 1], or another value is unknown.
    """

    def __init__(
        self,
        share: float = 0.5,
        per_class: bool = True,
        confidence: Confidence = "mean",
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
                raise ConfigError(did_you_mean(f"select.{name}", value, known))
        self.watches = combine == "product"
        self.normaliser = normaliser

    def scores(self, view: EpochView) -> Floats:
        """Teacher confidence times student uncertainty, [M]."""
        product: Floats = self._confidence.of(view) * uncertainty_of(view.probabilities, "entropy")
        return product

    def weigh(self, step: Step) -> Weighed:
        """Weights a batch: 1 for gold rows, 1 or c * u for other kept rows, 0 for the rest.

        Args:
            step: The batch.

        Raises:
            RuntimeError: ``begin`` was not called before.
        """
        weighed = super().weigh(step)
        if not self.watches:
            return weighed
        # LLKD's weight, from the student at the time of this step.
        product = np.nan_to_num(
            self._confidence.of(step) * row_uncertainty(step, "entropy"), nan=0.0
        )
        return Weighed(
            weighed.weights * np.where(step.gold, 1.0, product), weighed.report, weighed.scores
        )


_SPREAD = 5e-4
"""Added to each component's variance, for losses in [0, 1]: no component collapses onto one row."""


class SmallLoss(OncePerEpoch):
    """Keeps the rows whose loss probably belongs to the clean, low-loss component of a mixture.

    FreeAL's small-loss filter: rows the student fits early are probably labelled correctly (Xiao et
    al. 2023, arXiv 2311.15614). In each class, a mixture of two Gaussians is fitted to the losses,
    scaled to [0, 1]; the component with the lower mean holds the clean rows. The mixture per class
    and the threshold of 0.7 are the paper's; the fallbacks are ours.

    Outside the two means, a loss counts as the nearer mean's. A wide component would otherwise
    claim the far end of the other one, and the largest losses of all could pass as clean. All rows
    of a class are kept if it has fewer than ``min_rows`` rows, if all its losses are equal, or if
    the mixture finds nothing clean (it has not separated two groups). A row without a finite loss
    is left out. Gold rows take no part.

    Args:
        threshold: Probability of the low-loss component from which a row is kept, in (0, 1].
        per_class: Fit one mixture per class, as labelled by the teacher. False fits one to all
            rows.
        min_rows: Fewest rows a mixture is fitted to; at least 2.
        refill: Gather kept rows until a batch is full, so that each step learns from as many rows
            as with any other selector.

    Raises:
        ConfigError: A number is outside its range.
    """

    def __init__(
        self,
        threshold: float = 0.7,
        per_class: bool = True,
        min_rows: int = 8,
        refill: bool = False,
    ) -> None:
        if not 0.0 < threshold <= 1.0:
            raise ConfigError(f"select.threshold={threshold} must be above 0 and at most 1.")
        if min_rows < 2:
            raise ConfigError(
                f"select.min_rows={min_rows} is too few for a mixture of two; give 2 or more."
            )
        super().__init__(refill)
        self._threshold = threshold
        self._per_class = per_class
        self._min_rows = min_rows

    def choose(self, view: EpochView) -> Chosen:
        """Keeps the clean-looking rows; the score is the probability of being clean.

        Gold rows and classes without a mixture have no score.
        """
        kept, scores = np.zeros(len(view.losses), dtype=np.bool_), np.full(len(view.losses), np.nan)
        judged = np.flatnonzero(~view.gold & np.isfinite(view.losses))
        # One mixture per class, or a single one over all judged rows.
        groups = (
            [judged[view.groups[judged] == key] for key in np.unique(view.groups[judged])]
            if self._per_class
            else [judged]
        )
        for group in groups:
            losses = view.losses[group]
            # No mixture: too few rows, or nothing to separate.
            if len(losses) < self._min_rows or losses.min() == losses.max():
                kept[group] = True
                continue
            scores[group] = low_probability((losses - losses.min()) / (losses.max() - losses.min()))
            # An empty clean component separates nothing, so the whole class stays.
            clean = scores[group] >= self._threshold
            kept[group] = clean if clean.any() else True
        return Chosen(kept, scores)


def low_probability(losses: Floats) -> Floats:
    """Probability of each loss to belong to the lower of two Gaussians fitted to all losses.

    Args:
        losses: Losses in [0, 1], [M]; at least two different values.

    Returns:
        Array of shape [M]; never increases with the loss.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(n_components=2, reg_covar=_SPREAD, random_state=0)
    with warnings.catch_warnings():
        # An early stop is fine: the groups separate long before the last digits converge.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(losses[:, None])
    means = mixture.means_[:, 0]
    # The odds fall steadily between the means, but not necessarily beyond them.
    between = np.clip(losses, means.min(), means.max())
    probability: Floats = mixture.predict_proba(between[:, None])[:, int(means.argmin())]
    return probability


class GradientSimilarity(Ranked):
    """Keeps the rows whose gradient is most similar to the mean gradient of the gold rows.

    After LESS (Xia et al. 2024, arXiv 2402.04333). The influence of a row z on the gold rows of a
    group j is a mean over checkpoints i with the learning rates r_i::

        influence_j(z) = sum_i r_i cos(g_ij, u_i(z)) / sum_i r_i

    g_ij is the mean gradient of the gold rows, and u_i(z) the gradient of the row or, with
    ``form="adam"``, Adam's direction for it. The score is the influence on the row's own class, or
    the largest one on any class. A class without gold rows is compared with all of them. A zero
    gradient has the cosine 0.

    Differences to the paper: LESS takes the gradients of a large model's LoRA weights, at the
    checkpoints of a training on a random part of the rows, and selects once before the training.
    Here they are those of the last layer's weights alone, the checkpoints are the student at the
    start of each epoch so far, and each epoch selects again. r_i is the rate of the epoch that
    begins there. The sum is divided by that of the rates, since newer rows have fewer checkpoints.

    Memory: 8 bytes for each of M rows times P directions, twice with Adam's, and for each of
    ``checkpoints`` times M rows times the number of classes; the latter is in the run's checkpoints
    too.

    Args:
        share: Share of the rows to keep, in (0, 1].
        per_class: Apply the share to each class, as labelled by the teacher. False applies it to
            all rows together.
        refill: Gather kept rows until a batch is full, so that each step learns from as many rows
            as with any other selector.
        form: "plain" for the gradient of a row; "adam" for what Adam would make of it, by its
            averages of the steps so far.
        checkpoints: Number of epochs that count, the newest ones; 1 for the coming one alone.
        against: "class" for the gold rows of the row's own class, or "any" for the class where it
            helps most (the paper's maximum over tasks).
        directions: Dimension P of the random projection, which keeps cosines to about 1 / sqrt(P);
            0 for none, with C times D numbers for each row (C outputs, D the student's width).

    Raises:
        ConfigError: A number is outside its range, or a value is unknown.
    """

    needs: frozenset[str] = frozenset({"epoch", "gradients"})

    def __init__(
        self,
        share: float = 0.5,
        per_class: bool = True,
        refill: bool = False,
        form: Literal["plain", "adam"] = "plain",
        checkpoints: int = 1,
        against: Literal["class", "any"] = "class",
        directions: int = 64,
    ) -> None:
        super().__init__(share, per_class, refill)
        for name, value, known in (
            ("form", form, ("plain", "adam")),
            ("against", against, ("class", "any")),
        ):
            if value not in known:
                raise ConfigError(did_you_mean(f"select.{name}", value, known))
        if checkpoints < 1 or directions < 0:
            raise ConfigError(
                f"select.checkpoints={checkpoints} must be 1 or more, and "
                f"select.directions={directions} 0 or more."
            )
        if form == "adam":
            self.needs = frozenset({"epoch", "gradients", "updates"})
        self.directions = directions
        self._against = against
        self._past: deque[_Checkpoint] = deque(maxlen=checkpoints)

    def begin(self, view: EpochView) -> None:
        """Adds a checkpoint, and chooses the rows of the coming epoch.

        Args:
            view: The rows of the epoch.

        Raises:
            ConfigError: The epoch has no gold row visible to the student.
        """
        self._past.append(self._checkpoint(view))
        super().begin(view)

    def scores(self, view: EpochView) -> Floats:
        """Influence of each row on its own class, or the largest one on any, [M].

        Raises:
            ConfigError: The epoch has no gold row visible to the student.
            ValueError: The view has no gradients.
        """
        sums, rates = np.zeros((2, len(view.ids), view.classes + 1))
        for one in self._past or [self._checkpoint(view)]:
            rows = [index for index, id in enumerate(view.ids) if id in one.rows]
            cosines = one.cosines[[one.rows[view.ids[index]] for index in rows]]
            found = np.isfinite(cosines)
            sums[rows] += one.rate * np.where(found, cosines, 0.0)
            rates[rows] += one.rate * found
        influence = np.where(rates > 0, sums / np.where(rates > 0, rates, 1.0), np.nan)
        # The last column is all gold rows, for a class without its own.
        by_class = influence[:, :-1]
        if self._against == "any":
            best: Floats = np.where(np.isnan(by_class), -np.inf, by_class).max(axis=1)
            return np.where(np.isfinite(best), best, influence[:, -1])
        own: Floats = by_class[np.arange(len(by_class)), view.groups]
        return np.where(np.isnan(own), influence[:, -1], own)

    def state_dict(self) -> dict[str, Any]:
        """The checkpoints so far, as plain values."""
        return {
            "past": [
                {"rate": one.rate, "rows": one.rows, "cosines": one.cosines.tolist()}
                for one in self._past
            ]
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the checkpoints, and discards the current choice."""
        super().load_state_dict(state)
        self._past.clear()
        for one in state["past"]:
            cosines = np.array(one["cosines"], dtype=np.float64)
            self._past.append(_Checkpoint(float(one["rate"]), dict(one["rows"]), cosines))

    def _checkpoint(self, view: EpochView) -> _Checkpoint:
        """Compares each row with the gold rows of each class, and with all of them."""
        ways = view.updates if "updates" in self.needs else view.gradients
        if view.gradients is None or ways is None:
            raise ValueError("GradientSimilarity was given a view without gradients.")
        # A gold row without a finite gradient (no word visible to the student) cannot guide.
        trusted = view.gold & np.isfinite(view.gradients).all(axis=1)
        if not trusted.any():
            raise ConfigError(
                "select=gradient_similarity compares rows with gold rows, but none of this epoch's "
                f"{len(view.ids)} rows is gold. Give shots=1 or more with training.gold=shots, and "
                "method.train_on_shots=true if the method has this setting; or choose another "
                "select=."
            )
        # Cosines are products of unit vectors.
        rows = _unit(ways)
        cosines = np.full((len(rows), view.classes + 1), np.nan)
        for key in range(view.classes + 1):
            guides = trusted & (view.groups == key) if key < view.classes else trusted
            if guides.any():
                cosines[:, key] = rows @ _unit(view.gradients[guides].mean(axis=0))
        # Without any rate, as with a frozen head, all checkpoints count alike.
        rate = max(view.rate, 1e-12)
        return _Checkpoint(rate, {id: index for index, id in enumerate(view.ids)}, cosines)


class _Checkpoint(NamedTuple):
    """The student at the start of an epoch.

    Attributes:
        rate: Learning rate of the epoch.
        rows: Index of each row by its id.
        cosines: Cosine of each row with the gold rows of each class, then with all of them, NaN
            without any, [M, classes + 1].
    """

    rate: float
    rows: dict[str, int]
    cosines: Floats


def _unit(vectors: Floats) -> Floats:
    """Scales vectors [..., P] to length 1; zero vectors stay zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        scaled: Floats = vectors / np.where(lengths == 0, 1.0, lengths)
    return scaled


class AnswerDifficulty(Ranked):
    """Keeps the rows whose text helps to find the answer, but only a little.

    After IFD (Li et al. 2023, arXiv 2308.12032): the loss of an answer given its instruction,
    divided by the loss of the answer alone. Above 1 the instruction misleads, and the pair is
    dropped as misaligned; among the others, those with the highest score teach most. Here the
    answer is the row's target and the instruction its text: the score is loss / prior loss, where
    the prior loss is the target's loss given an empty text. The highest scores below 1 are kept, so
    fewer rows than ``share`` if there are not enough.

    Args:
        share: Largest share of the rows to keep, dropped rows included in the count; in (0, 1].
        per_class: Apply the share to each class, as labelled by the teacher. False applies it to
            all rows together; the prior loss differs by class, and so do the ratios.
        refill: Gather kept rows until a batch is full, so that each step learns from as many rows
            as with any other selector.

    Raises:
        ConfigError: ``share`` is outside (0, 1].
    """

    needs: frozenset[str] = frozenset({"epoch", "prior_losses"})

    def scores(self, view: EpochView) -> Floats:
        """Loss ratios, [M]; ``NEVER`` from 1 on, and NaN if both losses are 0.

        Raises:
            ValueError: The view has no prior losses.
        """
        if view.prior_losses is None:
            raise ValueError("AnswerDifficulty was given a view without prior losses.")
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = view.losses / view.prior_losses
        # From 1 on, the text misleads: the row counts as misaligned.
        return np.where(ratios >= 1.0, NEVER, ratios)
