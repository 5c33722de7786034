"""FreeAL: teacher and student clean each other's labels, without human ones.

After Xiao et al. 2023 (arXiv 2311.15614). The teacher labels the whole pool, and the student learns
from it, with select=small_loss through the small-loss filter. In each further round, pool texts the
student fits with a small loss count as clean: they become the teacher's demonstrations, and the
teacher relabels all others. A relabelled text has a second row with the same parent; training takes
the newest one (:func:`tutelage.data.training_view.newest_of_each_text`).

Without any shot, the teacher writes the demonstrations of the first labels itself
(:class:`~tutelage.methods.pool.own_shots.OwnShots`), and clean rows replace them later. The student
learns clean rows with mixup, and unclean ones by the agreement of two views
(:class:`~tutelage.student.losses.semi_supervised.SemiSupervisedLoss`).

Ours: k-means finds typical clean texts of a class, where the paper takes k-medoids; the filter
works from the first epoch on, while the paper's student first learns all rows for some epochs; and
the second view has hidden tokens, while the paper translates a text and back.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tutelage.data.training_view import newest_of_each_text
from tutelage.errors import BudgetExhausted, ConfigError
from tutelage.labelling.base import Labeller, Nearest, NewLabeller
from tutelage.labelling.neighbours import Neighbours
from tutelage.labelling.scoring import ordered_demonstrations
from tutelage.methods.base import MethodContext, joined
from tutelage.methods.pool.method import PoolLabelling
from tutelage.methods.pool.own_shots import OwnShots, own_shots
from tutelage.methods.pool.settings import FreeALSettings
from tutelage.records import Example, Feedback, Growth, Row, derive_seed, evenly
from tutelage.selectors.diversity import representatives
from tutelage.selectors.protocol import Acquirer, EpochView, Floats, PoolView
from tutelage.selectors.row_selection import SmallLoss
from tutelage.teacher.base import Request
from tutelage.teacher.prompts import PromptSet


class FreeAL(PoolLabelling):
    """FreeAL for both tasks; demonstrations are clean rows, and the shots if any.

    For NER the loss of a sentence is unknown outside training. The student's mean entropy over the
    words replaces it, and a sentence of the newest rows is never clean if the student disagrees
    with its row.

    Args:
        settings: The settings of the method.
        prompts: The prompt templates.
        acquirer: Chooses the texts to relabel in each round.
        new_labeller: Builds the labellers.
    """

    settings_type = FreeALSettings
    settings: FreeALSettings

    def __init__(
        self,
        settings: FreeALSettings,
        prompts: PromptSet,
        acquirer: Acquirer,
        new_labeller: NewLabeller,
    ) -> None:
        super().__init__(settings, prompts, acquirer, new_labeller)
        self._own: OwnShots | None = None
        self._a_class = settings.a_class
        self._count = settings.nearest
        self._filter = SmallLoss(settings.threshold)

    def setup(self, context: MethodContext) -> None:
        """Draws the pool of the run and builds the labeller.

        Args:
            context: The parts of the run.

        Raises:
            ConfigError: There is no teacher or no pool.
        """
        super().setup(context)
        if not context.shots and self.settings.own_shots:
            self._own = OwnShots(context, self._prompts, self.settings.own_shots)

    @property
    def foresees(self) -> str:
        """Nothing: the student chooses what the teacher is shown."""
        return "the demonstrations are chosen by the student"

    def first_rows(self) -> Growth:
        """Returns the first labelled texts, after the demonstrations that the teacher wrote.

        Raises:
            ConfigError: The token budget does not cover them.
        """
        if self._own is None:
            return super().first_rows()
        try:
            own = self._own.write(self._teacher)
        except BudgetExhausted:
            raise ConfigError(
                "budget.tokens is smaller than the cost of the teacher's own demonstrations, which "
                "come before the first label. Raise it."
            ) from None
        self._shots = ordered_demonstrations(own_shots(own.rows), self._context.seed)
        self._labeller = self._build_labeller()
        return joined(own, super().first_rows())

    def sample_requests(self, count: int) -> dict[str, list[Request]]:
        """Returns real requests of each kind; labelling ones do not show own demonstrations yet.

        Args:
            count: Maximum number of requests per kind.
        """
        own = {} if self._own is None else self._own.requests()
        kinds = {kind: evenly(list[Request](some), count) for kind, some in own.items()}
        return {**kinds, **super().sample_requests(count)}

    def requests_a_round(self) -> dict[str, int]:
        """Returns the number of requests of the largest round, the first."""
        own = {} if self._own is None else self._own.requests()
        counts = {kind: len(some) for kind, some in own.items()}
        return {**counts, **super().requests_a_round()}

    def _demonstrations(self) -> Sequence[Example]:
        # A resumed run finds its own ones among the rows.
        return self._context.shots or own_shots(self._context.pool.rows)

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        """Relabels unclean texts, with clean rows as demonstrations.

        Args:
            feedback: The results of the round before; for NER, its mistakes are unclean.
            round: The new round, from 1.

        Raises:
            BudgetExhausted: The token budget ran out.
        """
        began = time.perf_counter()
        self._context.on_phase("filtering", 0)
        texts = [example.text for example in self._pool]
        view = self._context.view_pool(texts, [shot.text for shot in self._shots])
        # The current label of each pool text.
        row_of = {
            row.parents[0]: row
            for row in newest_of_each_text(self._context.pool.accepted())
            if row.source == "pool"
        }
        # Clean rows teach the teacher; the acquire selector chooses among all other texts.
        clean = self._clean(view, row_of, feedback)
        labeller = self._taught(
            view, {index: row_of[self._pool[index].id] for index in clean}, round
        )
        chosen, scores = self._acquire(
            [example for index, example in enumerate(self._pool) if index not in clean],
            round,
            self.settings.n_texts,
        )
        seconds = time.perf_counter() - began
        growth = self._label(chosen, scores, round, labeller)
        return replace(growth, seconds={**growth.seconds, "filtering": seconds})

    def _clean(self, view: PoolView, row_of: Mapping[str, Row], feedback: Feedback) -> set[int]:
        """Returns the pool indices of the texts whose label is probably right."""
        task = self._context.task
        indices = [index for index, example in enumerate(self._pool) if example.id in row_of]
        if not indices:
            return set()
        # The filter compares losses within each class.
        rows = [row_of[self._pool[index].id] for index in indices]
        counts = Counter(name for row in rows for name in task.classes(row.target))
        losses = self._losses(view, indices, rows, feedback)
        # The train selector's small-loss filter, on the current labels of the pool.
        kept = self._filter.choose(
            EpochView(
                ids=tuple(row.id for row in rows),
                texts=tuple(row.text for row in rows),
                groups=np.array([task.group_of(row, counts) for row in rows], dtype=np.int64),
                confidence=np.array([row.mean_confidence for row in rows]),
                least_confidence=np.array([row.confidence for row in rows]),
                gold=np.zeros(len(rows), dtype=np.bool_),
                probabilities=view.probabilities()[indices].astype(np.float64),
                losses=losses,
                gradients=None,
                prior_losses=None,
                classes=task.num_groups,
            )
        ).kept
        return {index for index, clean in zip(indices, kept, strict=True) if clean}

    def _losses(
        self, view: PoolView, indices: Sequence[int], rows: Sequence[Row], feedback: Feedback
    ) -> Floats:
        """Returns the loss of each row, [M].

        The cross-entropy of the row's target; for NER the mean entropy, or NaN for a mistake, which
        never counts as clean.
        """
        task = self._context.task
        # Classification: cross-entropy of the current label.
        if not task.is_token_level:
            names = [label.name for label in task.labels]
            own = view.probabilities()[list(indices), [names.index(row.target) for row in rows]]
            losses: Floats = -np.log(np.maximum(own.astype(np.float64), 1e-12))
            return losses
        # NER: mean entropy, and NaN for a sentence with a mistake.
        losses = view.uncertainty("entropy")[list(indices)].astype(np.float64)
        wrong = {outcome.id for outcome in feedback.wrong}
        losses[[row.id in wrong for row in rows]] = np.nan
        return losses

    def _taught(self, view: PoolView, clean: Mapping[int, Row], round: int) -> Labeller:
        """Builds the labeller of a round, with clean rows and shots as demonstrations."""
        # Typical clean rows of each class.
        embeddings = view.embeddings()
        rng = np.random.default_rng(derive_seed("clean", self._context.seed, round))
        by_class: dict[str, list[int]] = {}
        for index in clean:
            by_class.setdefault(self._context.task.classes(clean[index].target)[0], []).append(
                index
            )
        typical = [
            members[number]
            for _, members in sorted(by_class.items())
            for number in sorted(
                representatives(embeddings[members], min(self._a_class, len(members)), rng)[0]
            )
        ]
        shown = [
            Example(clean[index].id, clean[index].text, clean[index].target) for index in typical
        ]
        # Clean rows replace the demonstrations that the teacher wrote itself.
        shots = self._shots if self._context.shots or not shown else []
        # With method.nearest, each text gets the ones most similar to it. Without any there is no
        # choice, and the labeller asks as in the first round.
        nearest: Nearest | None = None
        if self._count and (shots or shown):
            texts, known = (
                [example.text for example in self._pool],
                np.concatenate([view.labelled_embeddings()[: len(shots)], embeddings[typical]]),
            )
            # Calibration labels dev texts the same way, so they need neighbours too.
            if self._labeller.calibrator.needs == "dev":
                dev = [example.text for example in self._context.dev]
                texts, embeddings = (
                    [*texts, *dev],
                    np.concatenate([embeddings, self._context.view_pool(dev, []).embeddings()]),
                )
            nearest = Neighbours([*shots, *shown], known, texts, embeddings, self._count)
        demonstrations = ordered_demonstrations([*shots, *shown], self._context.seed)
        if nearest is None and demonstrations and not self._context.task.is_token_level:
            # Its own choice stands whole beside every text, however many the labeller would show.
            nearest = _always(demonstrations)
        labeller = self._new_labeller(self._context.task, self._teacher, demonstrations, nearest)
        labeller.fit(self._context.dev, self._context.on_reply)
        return labeller


def _always(demonstrations: Sequence[Example]) -> Nearest:
    return lambda _: demonstrations
