"""FreeAL: teacher and student clean each other's labels, without human ones (after Xiao et al. 2023, arXiv 2311.15614).

The teacher labels the whole pool. The student learns from it, through the small-loss filter where selector@train is small_loss. In each
further round the pool texts whose label the student fits with a small loss count as clean: they become the teacher's demonstrations, and
it labels the others anew. A text labelled anew has a second row with the same parent, and training takes the newest
(:func:`tutelage.data.training_view.newest_of_each_text`). Ours: the first round's demonstrations are the shots, or none, where the paper lets the
teacher write some; k-means finds the typical clean texts of a class; no step of learning on the unclean ones without their labels.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tutelage.data.training_view import newest_of_each_text
from tutelage.labelling.base import Labeller, Nearest, NewLabeller
from tutelage.labelling.scoring import ordered_demonstrations
from tutelage.methods.pool.method import PoolLabelling
from tutelage.methods.pool.neighbours import Neighbours
from tutelage.methods.pool.settings import FreeALSettings
from tutelage.records import Example, Feedback, Growth, Row, derive_seed
from tutelage.selectors.diversity import representatives
from tutelage.selectors.protocol import Acquirer, EpochView, Floats, PoolView
from tutelage.selectors.row_selection import SmallLoss
from tutelage.teacher.prompts import PromptSet


class FreeAL(PoolLabelling):
    """The method, for both tasks. All that the teacher is shown are its own labels, and the shots where there are any.

    For NER the loss of a sentence is not known outside training. Its stand-in is the student's mean entropy over the words, and a sentence
    of the newest rows that the student marks otherwise than its row is never clean.

    """

    settings_type = FreeALSettings

    def __init__(
        self,
        settings: FreeALSettings,
        prompts: PromptSet,
        acquirer: Acquirer,
        new_labeller: NewLabeller,
    ) -> None:
        super().__init__(settings, prompts, acquirer, new_labeller)
        self._a_class = settings.a_class
        self._count = settings.nearest
        self._filter = SmallLoss(settings.threshold)

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        """Demonstrations from the clean rows, and new labels for the other texts (those that the selector chooses of them).

        Raises:
            BudgetExhausted: the tokens are spent.
        """
        began = time.perf_counter()
        self._context.on_phase("filtering", 0)
        texts = [example.text for example in self._pool]
        view = self._context.view_pool(texts, [shot.text for shot in self._shots])
        row_of = {
            row.parents[0]: row
            for row in newest_of_each_text(self._context.pool.accepted())
            if row.source == "pool"
        }
        clean = self._clean(view, row_of, feedback)
        labeller = self._taught(
            view, {index: row_of[self._pool[index].id] for index in clean}, round
        )
        chosen, scores = self._acquire(
            [example for index, example in enumerate(self._pool) if index not in clean], round
        )
        seconds = time.perf_counter() - began
        growth = self._label(chosen, scores, round, labeller)
        return replace(growth, seconds={**growth.seconds, "filtering": seconds})

    def _clean(self, view: PoolView, row_of: Mapping[str, Row], feedback: Feedback) -> set[int]:
        """Places in the pool of the texts whose label looks right."""
        task = self._context.task
        indices = [index for index, example in enumerate(self._pool) if example.id in row_of]
        if not indices:
            return set()
        rows = [row_of[self._pool[index].id] for index in indices]
        counts = Counter(name for row in rows for name in task.classes(row.target))
        losses = self._losses(view, indices, rows, feedback)
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
        """Cross-entropy of each row's target, or its stand-in for NER, [M]; not a number for a row that must not count as clean."""
        task = self._context.task
        if not task.is_token_level:
            names = [label.name for label in task.labels]
            own = view.probabilities()[list(indices), [names.index(row.target) for row in rows]]
            losses: Floats = -np.log(np.maximum(own.astype(np.float64), 1e-12))
            return losses
        losses = view.uncertainty("entropy")[list(indices)].astype(np.float64)
        wrong = {outcome.id for outcome in feedback.wrong}
        losses[[row.id in wrong for row in rows]] = np.nan
        return losses

    def _taught(self, view: PoolView, clean: Mapping[int, Row], round: int) -> Labeller:
        """What labels the rest of a round: with the clean rows and the shots for demonstrations."""
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
        nearest: Nearest | None = None
        if self._count:
            texts, known = (
                [example.text for example in self._pool],
                np.concatenate([view.labelled_embeddings(), embeddings[typical]]),
            )
            if self._labeller.calibrator.needs == "dev":
                dev = [example.text for example in self._context.dev]
                texts, embeddings = (
                    [*texts, *dev],
                    np.concatenate([embeddings, self._context.view_pool(dev, []).embeddings()]),
                )
            nearest = Neighbours([*self._shots, *shown], known, texts, embeddings, self._count)
        demonstrations = ordered_demonstrations([*self._shots, *shown], self._context.seed)
        labeller = self._new_labeller(self._context.task, self._teacher, demonstrations, nearest)
        labeller.fit(self._context.dev, self._context.on_reply)
        return labeller
