"""Interfaces of the selectors and the data they see, stage by stage.

Everything is plain numpy: selectors know nothing of networks. The stages:

- "acquire" chooses unlabelled texts for the teacher (:class:`Acquirer`).
- "accept" decides about generated texts (:mod:`tutelage.selectors.acceptance`).
- "train" chooses, step by step, the labelled rows a student learns from, and their weights
  (:class:`TrainSelector`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
WITHOUT_STUDENT = frozenset({"rows", "held_out", "confirmed"})
"""Contents of an epoch's view that need no pass of the student (see :class:`TrainSelector`)."""
Stage = Literal["acquire", "accept", "train"]
Uncertainty = Literal["entropy", "least_confidence", "margin"]
Normaliser = Literal["weights", "kept", "batch"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The student's own label of a text.

    Attributes:
        target: The predicted target, in the form of a row's target.
        confidence: The probability of the predicted label; for NER that of the least certain word's
            tag.
        shares: Distribution over the groups of the task, [G]: its labels, and for NER the texts
            without entities, read at the least certain word.
    """

    target: str
    confidence: float
    shares: tuple[float, ...]


class PoolView(Protocol):
    """N unlabelled texts as the student sees them.

    Each array is computed on first access, once per round, in chunks.
    """

    @property
    def texts(self) -> Sequence[str]:
        """The texts, in the order of the pool."""
        ...

    def probabilities(self) -> NDArray[np.float32]:
        """Student distributions, [N, C]; for NER the distribution of the least certain word."""
        ...

    def uncertainty(self, kind: Uncertainty) -> NDArray[np.float32]:
        """Student uncertainties, [N], in [0, 1]; for NER the mean over the words.

        Args:
            kind: "entropy", "least_confidence" or "margin".
        """
        ...

    def embeddings(self) -> NDArray[np.float32]:
        """Mean-pooled last hidden states of the student, [N, D]."""
        ...

    def labelled_embeddings(self) -> NDArray[np.float32]:
        """Embeddings of the rows the run already has, [M, D]; M may be 0."""
        ...

    def proposed(self) -> Sequence[tuple[tuple[int, int], ...]]:
        """Word ranges [start, end) of each text where the student sees, or nearly sees, an entity.

        Returns:
            One tuple per text; empty for tasks without entities.
        """
        ...

    def predictions(self) -> Sequence[Prediction | None]:
        """The student's own label of each text; None for a text of which it sees no word."""
        ...

    def disagreement(self, passes: int) -> NDArray[np.float32]:
        """Mutual information between prediction and dropout mask, in nats, [N]; for NER the mean.

        Args:
            passes: Number of stochastic forward passes per text.
        """
        ...

    def instability(self, copies: int, share: float) -> NDArray[np.float32]:
        """Mean divergence of the prediction for changed copies of a text, in nats, [N].

        For NER the mean over the words.

        Args:
            copies: Number of changed copies per text.
            share: Share of the words that a copy changes.
        """
        ...


@dataclass(frozen=True, slots=True)
class Acquired:
    """The choice of an acquire selector.

    Attributes:
        indices: Indices of the chosen texts in the view, without repetition, best first; selectors
            choosing one text after another keep that order.
        scores: One finite score per index; higher is more wanted. A text without a score of its own
            gets the lowest of the others.
    """

    indices: Indices
    scores: Floats


class Acquirer(Protocol):
    """Interface of the "acquire" stage."""

    stage: Literal["acquire"]

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """Chooses ``n`` texts, or all texts when fewer are left.

        Ties go to the lower index; NaN scores rank last.

        Args:
            view: The unlabelled texts as the student sees them.
            n: Number of texts to choose; at least 0.
            rng: Source of all random draws.

        Returns:
            The chosen indices with their scores.

        Raises:
            ConfigError: ``n`` is negative.
        """
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One training batch of B rows as the teacher and the student see it.

    N counts the decided units of the batch: its texts, or the words of its texts.

    Attributes:
        ids: Row ids, [B].
        groups: Group of each row, [B]: its index in the task's labels, or len(labels) for texts
            without entities.
        predicted: Group predicted by the student, [B]; for NER the type given to most words of the
            text. Meaningless when the student made no pass.
        confidence: Teacher's confidence in the row's target, [B]; for NER the mean over its
            entities.
        least_confidence: The same for classification; for NER the confidence of the least certain
            entity, [B].
        gold: True for gold rows and class names, which no selector leaves out, [B].
        probabilities: Student distributions before this step, [N, C]; NaN when the selector does
            not watch and the student made no pass.
        owners: Row of each unit, [N].
        classes: Number of groups.
        disagreement: Disagreement of the teacher ensemble about each row, [B]; NaN for rows without
            an ensemble's opinion.
    """

    ids: tuple[str, ...]
    groups: Indices
    predicted: Indices
    confidence: Floats
    least_confidence: Floats
    gold: NDArray[np.bool_]
    probabilities: Floats
    owners: Indices
    classes: int
    disagreement: Floats | None = None


@dataclass(frozen=True, slots=True)
class Weighed:
    """A train selector's decision about one batch.

    Attributes:
        weights: Weight of each row, [B]; 0 leaves the row out.
        report: Values to log for this step: numbers, or lists with one number per class (None for a
            class without one).
        scores: The score each row was chosen by, [B], higher is more wanted; NaN for rows without
            one. None for selectors without scores.
        peer_weights: Weight of each row for each of the student's P networks, [B, P], where these
            differ (``student.peers=2``); ``weights`` is then their mean. None: all have
            ``weights``.
    """

    weights: Floats
    report: dict[str, Any]
    scores: Floats | None = None
    peer_weights: Floats | None = None


@dataclass(frozen=True, slots=True)
class EpochView:
    """All M rows of the coming epoch, once each, for selectors that decide once per epoch.

    Attributes:
        ids: Row ids, [M].
        texts: Texts of the rows, [M].
        groups: Group of each row, [M]; see :class:`Step`.
        confidence: Teacher's confidence in each row, [M]; see :class:`Step`.
        least_confidence: Confidence of the least certain entity, [M]; see :class:`Step`.
        gold: True for rows whose label the user gave, gold ones and class names, [M].
        probabilities: Student distribution of each row, [M, C]; for NER the distribution of the
            least certain word.
        losses: Student's cross-entropy against the row's target, [M]; for NER the mean over the
            words.
        gradients: Gradient of this loss at the last layer (error times embedding, projected to P
            dimensions), [M, P]; None unless the selector ``needs`` "gradients".
        prior_losses: Cross-entropy of the row's target given an empty text, [M]; None unless the
            selector ``needs`` "prior_losses".
        classes: Number of groups.
        disagreement: Disagreement of the teacher ensemble about each row, [M]; see :class:`Step`.
        embeddings: Mean-pooled last hidden state of each row, [M, D]; None unless the selector
            ``needs`` "embeddings".
        held_out: Probability of each row's label to a classifier that has not seen the row, [M];
            None unless the selector ``needs`` "held_out".
        confirmed: Whether a classifier of the gold rows and class names alone gives each row's
            label too, [M]; None unless the selector ``needs`` "confirmed".
        peer_losses: ``losses`` of each of the student's P networks alone, [M, P]; None for one
            network (``student.peers=1``), and unless the selector ``needs`` "peers".
        updates: Adam's direction for each row's gradient, projected like ``gradients``, [M, P];
            None unless the selector ``needs`` "updates".
        rate: Mean learning rate of the head in the coming epoch.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    groups: Indices
    confidence: Floats
    least_confidence: Floats
    gold: NDArray[np.bool_]
    probabilities: Floats
    losses: Floats
    gradients: Floats | None
    prior_losses: Floats | None
    classes: int
    disagreement: Floats | None = None
    embeddings: Floats | None = None
    held_out: Floats | None = None
    confirmed: NDArray[np.bool_] | None = None
    peer_losses: Floats | None = None
    updates: Floats | None = None
    rate: float = 1.0


class TrainSelector(Protocol):
    """Interface of the "train" stage."""

    stage: Literal["train"]
    needs: frozenset[str]
    """Contents of the view passed to ``begin``; empty for a selector without ``begin``.

    "rows": everything known without a student pass; ``probabilities`` and ``losses`` are NaN.
    "epoch": these two as well. "gradients", "prior_losses", "embeddings", "held_out" and
    "confirmed": each of these in addition. "updates": these beside "gradients". "peers":
    ``peer_losses``, for a student of two networks.
    """
    normaliser: Normaliser
    """Divisor of the summed loss.

    "weights": the sum of the weights. "kept": the number of kept rows, at least 1. "batch": the
    number of rows in the batch.
    """
    refill: bool
    """Whether to gather kept rows over several batches and step once a batch is full."""
    watches: bool
    """Whether ``weigh`` reads the student's probabilities.

    If not, a refilled batch costs no forward pass over the rows left out.
    """

    def begin(self, view: EpochView) -> None:
        """Looks at the rows of the coming epoch.

        Args:
            view: The rows, with the contents listed in ``needs``.
        """
        ...

    def weigh(self, step: Step) -> Weighed:
        """Weights the rows of one batch.

        Args:
            step: The batch as the teacher and the student see it.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Plain values needed to resume a run."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the values returned by ``state_dict``."""
        ...
