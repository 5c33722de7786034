"""What the loop asks of a selector, by stage, and what it is shown. Plain numpy: selectors know nothing of networks.

Stages: "acquire" chooses unlabelled texts for the teacher; "accept" judges generated rows (:mod:`tutelage.selectors.acceptance`); "train"
chooses, step by step, which labelled rows the student learns from and with what weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Stage = Literal["acquire", "accept", "train"]
Uncertainty = Literal["entropy", "least_confidence", "margin"]
Normaliser = Literal["weights", "kept", "batch"]


class PoolView(Protocol):
    """N unlabelled texts as the student sees them; each array is computed when it is first asked for, once a round, in chunks."""

    @property
    def texts(self) -> Sequence[str]:
        """The texts, in the pool's order."""
        ...

    def probabilities(self) -> NDArray[np.float32]:
        """The student's distribution, [N, C]; for words that of the least certain word."""
        ...

    def uncertainty(self, kind: Uncertainty) -> NDArray[np.float32]:
        """In [0, 1], [N]; for words the mean over the words."""
        ...

    def embeddings(self) -> NDArray[np.float32]:
        """Mean-pooled last hidden states of the student, [N, D]."""
        ...

    def labelled_embeddings(self) -> NDArray[np.float32]:
        """Those of the rows that the run has already, [M, D]; M may be 0."""
        ...

    def proposed(self) -> Sequence[tuple[tuple[int, int], ...]]:
        """For each text where the student sees a name or nearly does, as [start, end) in words; nothing for a task without names."""
        ...

    def disagreement(self, passes: int) -> NDArray[np.float32]:
        """Mutual information between prediction and dropout mask over so many passes, in nats, [N]; for words the mean."""
        ...


@dataclass(frozen=True, slots=True)
class Acquired:
    """What an acquisition chose.

    Attributes:
        places: of the chosen texts in the view, best first, without repetition; where texts are chosen one after another, in that order.
        scores: one for each of ``indices``, finite, the higher the more wanted (a text without a score has the lowest of the others').
    """

    indices: Indices
    scores: Floats


class Acquirer(Protocol):
    """Stage "acquire"."""

    stage: Literal["acquire"]

    def query(self, view: PoolView, n: int, rng: np.random.Generator) -> Acquired:
        """Choose ``n`` texts, or all where fewer are left. Ties are broken by place; a score that is not a number ranks last.

        Raises:
            ConfigError: ``n`` is negative.
        """
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One training batch of B rows, as the teacher and the student see it; N decided units (the texts, or their words).

    Attributes:
        ids: of the rows.
        groups: the class that a row is counted under, [B]: place in the task's labels, or len(labels) for texts without entities.
        said: the class that the student gives it, [B], counted likewise; of the types of a text the one that most of its words
            have. Without meaning where the student was not asked.
        confidence: the teacher's in the row's target, [B]; for NER the mean over the row's entities.
        least_confidence: the same for classification; for NER of the least certain entity.
        gold: True for rows with a gold label, which no selector leaves out, [B].
        probabilities: the student's, before this step, [N, C]; NaN where the selector does not watch and the student was not asked.
        owners: the row of each unit, [N].
        classes: how many groups there are.
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


@dataclass(frozen=True, slots=True)
class Weighed:
    """A selector's decision about a batch.

    Attributes:
        weights: [B]; 0 leaves the row out.
        report: what is logged of the step: numbers, or lists of one number a class (None where there is none yet).
        scores: what the rows were chosen by, [B], the higher the more wanted; NaN for a row without; None where the selector has no such
            number.
    """

    weights: Floats
    report: dict[str, Any]
    scores: Floats | None = None


@dataclass(frozen=True, slots=True)
class EpochView:
    """All rows that an epoch will train on, M of them, for selectors that decide once an epoch. Each row stands once.

    Attributes:
        ids, texts, groups, confidence, least_confidence, gold: as in :class:`Step`, [M].
        probabilities: the student's distribution of each row, [M, C]; for words that of the least certain word.
        losses: the student's cross-entropy against the row's target, [M]; for words the mean.
        gradients: the gradient of that loss at the last layer (error times embedding, projected to few dimensions), [M, P]; None unless
            the selector ``needs`` "gradients".
        prior_losses: cross-entropy of the row's target where the text is left empty, [M]; None unless it needs "prior_losses".
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


class TrainSelector(Protocol):
    """Stage "train"."""

    stage: Literal["train"]
    needs: frozenset[str]
    """What ``begin`` must be given; empty where it is not called. "rows": what is known without the student, ``probabilities`` and ``losses``
    being NaN; "epoch": these too; "gradients" and "prior_losses": each of them besides."""
    normaliser: Normaliser
    """What the summed loss is divided by: the sum of the weights, the number of kept rows (at least 1), or of all in the batch."""
    refill: bool
    """Gather kept rows over several batches until one is full, and step then."""
    watches: bool
    """Whether ``weigh`` looks at the student's probabilities. Where it does not, a refilled batch costs no pass over rows that are left out."""

    def begin(self, view: EpochView) -> None:
        """See the rows of the epoch that begins."""
        ...

    def weigh(self, step: Step) -> Weighed:
        """Weights of a batch's rows."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Plain values that a resumed run needs."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what ``state_dict`` gave."""
        ...
