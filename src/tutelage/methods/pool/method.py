"""Labelling of an unlabelled pool: all at once, or on demand, as chosen by an acquire selector.

LLKD (after Li et al. 2025) is this method with its train selector, static and full_pool are its
controls, and LLMaAA and FreeAL change the teacher's demonstrations. The value of a row is a matter
of the train selector: here each answered text becomes an accepted row.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from tutelage.data.pool import RowReader
from tutelage.errors import BudgetExhausted, ConfigError
from tutelage.labelling.base import Draft, Labeller, NewLabeller
from tutelage.labelling.scoring import ordered_demonstrations
from tutelage.methods.base import (
    ESTIMATED,
    MethodContext,
    RequestFailure,
    TeacherMethod,
    drawn_pool,
    gold_rows,
)
from tutelage.methods.generation.acceptance import with_proposals
from tutelage.methods.pool.settings import PoolSettings
from tutelage.records import Example, Feedback, Growth, Row, derive_seed, evenly, record_id
from tutelage.selectors.protocol import Acquired, Acquirer, PoolView
from tutelage.selectors.texts_only import StudentAsked, texts_only
from tutelage.teacher.base import Request
from tutelage.teacher.prompts import PromptSet
from tutelage.teacher.wrappers.budget import BudgetedTeacher


class PoolLabelling(TeacherMethod):
    """Labels pool texts, with the shots as the teacher's demonstrations.

    Args:
        settings: The settings of the method.
        prompts: The prompt templates.
        acquirer: Chooses the texts to label in each round.
        new_labeller: Builds the labeller over the shots.
    """

    _labeller: Labeller

    settings_type: type[PoolSettings] = PoolSettings
    round_settings = ("method.pool_size", "method.first", "method.n_texts")

    def __init__(
        self,
        settings: PoolSettings,
        prompts: PromptSet,
        acquirer: Acquirer,
        new_labeller: NewLabeller,
    ) -> None:
        super().__init__(settings.name, prompts, new_labeller)
        self.settings = settings
        self._acquirer = acquirer

    @property
    def rounds(self) -> int:
        """Maximum number of acquisition rounds."""
        return self.settings.rounds

    def setup(self, context: MethodContext) -> None:
        """Draws the pool of the run and builds the labeller.

        Args:
            context: The parts of the run.

        Raises:
            ConfigError: There is no teacher or no pool.
        """
        if context.teacher is None:
            raise ConfigError(f"method={self.name} needs a teacher.")
        if not context.unlabelled:
            raise ConfigError(
                f"method={self.name} labels a pool, and the data set has no pool texts. Take data "
                "with a pool, or a method that generates texts."
            )
        self._context, self._teacher = context, context.teacher
        self._pool = drawn_pool(context.unlabelled, self.settings.pool_size, context.seed)
        self._reader, self._without_row = RowReader(), {one.id: one for one in self._pool}
        self._shots = ordered_demonstrations(self._demonstrations(), context.seed)
        self._labeller = self._build_labeller()

    def _demonstrations(self) -> Sequence[Example]:
        """Returns the labelled examples that the teacher is shown."""
        return self._context.shots

    def _build_labeller(self) -> Labeller:
        """Builds the labeller of the pool."""
        return self._new_labeller(self._context.task, self._teacher, self._shots)

    def first_rows(self) -> Growth:
        """Returns the shots, if the student trains on them, and the first labelled texts.

        Raises:
            ConfigError: The token budget does not cover them.
        """
        self._calibrate()
        gold = gold_rows(self._context.shots) if self.settings.train_on_shots else []
        first = (
            self._pool
            if self.settings.first is None
            else self._shuffled("first", self._pool)[: self.settings.first]
        )
        try:
            growth = self._label(first, [""] * len(first), 0)
        except BudgetExhausted as error:
            raise ConfigError(
                f"budget.tokens is smaller than the cost of the first {len(first)} texts of the "
                f"pool: {error} Raise it, or label fewer texts (method.first, or "
                "method.pool_size)."
            ) from None
        return replace(growth, rows=(*gold, *growth.rows))

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        """Lets the selector choose unlabelled texts, and the teacher label them.

        Args:
            feedback: Not used: acquisition asks the student itself.
            round: The new round, from 1.

        Raises:
            BudgetExhausted: The token budget ran out.
        """
        return self.label_chosen(round, self.settings.n_texts)

    def label_chosen(self, round: int, n_texts: int | None) -> Growth:
        """Labels the selector's choice among the texts without a row.

        Args:
            round: The new round, from 1.
            n_texts: Number of texts; None for all that are left.

        Raises:
            BudgetExhausted: The token budget ran out.
        """
        began = time.perf_counter()
        chosen, scores = self._acquire(self._left(), round, n_texts)
        seconds = time.perf_counter() - began
        growth = self._label(chosen, scores, round)
        return replace(growth, seconds={**growth.seconds, "acquisition": seconds})

    @property
    def foresees(self) -> str:
        """Why the next texts depend on the student; "" if they do not."""
        if not self.rounds:
            return f"method={self.name} with method.rounds=0 has no later round"
        if self._labeller.asks_student:
            return "the labels of a text depend on what the student predicts for it"
        try:
            self._acquirer.query(texts_only([""]), 1, np.random.default_rng(0))
        except StudentAsked:
            return "the acquire selector asks the student which texts to label"
        return ""

    def upcoming(self, round: int) -> list[Request]:
        """Returns the labelling requests of the next round, if the budget covers them.

        Args:
            round: The next round, from 1.
        """
        return self.upcoming_texts(round, self.settings.n_texts)

    def upcoming_texts(self, round: int, n_texts: int | None) -> list[Request]:
        """Returns the requests of :meth:`label_chosen`, if the budget covers them.

        Args:
            round: The next round, from 1.
            n_texts: Number of texts; None for all that are left.
        """
        left = self._left()
        if not left:
            return []
        chosen = self._chosen(texts_only([one.text for one in left]), round, n_texts)
        requests = self._labeller.requests([Draft(left[index].text) for index in chosen.indices])
        try:
            self._check_budget(requests, len(chosen.indices))
        except BudgetExhausted:
            return []
        return requests

    def aimed_at(self, feedback: Feedback) -> Feedback:
        """Returns the feedback unchanged; the report shows its mistakes."""
        return feedback

    def sample_requests(self, count: int) -> dict[str, list[Request]]:
        """Returns real labelling requests of the first pool texts with any.

        For NER, a text without a span candidate has none.

        Args:
            count: Maximum number of requests.
        """
        # Look for texts with a request lazily: for NER, labelling a whole pool takes long.
        asking = (
            draft
            for example in self._pool
            if self._labeller.requests([draft := Draft(example.text)])
        )
        requests = self._labeller.requests(list(islice(asking, count)))
        return {"labelling": evenly(requests, count)} if requests else {}

    def requests_a_round(self) -> dict[str, int]:
        """Returns the number of requests of the largest round: the first, or one of acquisition."""
        first = (
            len(self._pool)
            if self.settings.first is None
            else min(self.settings.first, len(self._pool))
        )
        sample = [Draft(example.text) for example in evenly(self._pool, ESTIMATED)]
        each = len(self._labeller.requests(sample)) / max(1, len(sample))
        later = len(self._pool) if self.settings.n_texts is None else self.settings.n_texts
        return {"labelling": round(max(first, later if self.settings.rounds else 0) * each)}

    def _acquire(
        self, left: Sequence[Example], round: int, n_texts: int | None
    ) -> tuple[list[Example], list[str]]:
        """Returns the selector's choice among ``left``, with its scores as text."""
        if not left:
            return [], []
        self._context.on_phase("acquisition", 0)
        # Let the selector score the texts with the current student.
        view = self._context.view_pool(
            [example.text for example in left], [row.text for row in self._context.pool.accepted()]
        )
        acquired = self._chosen(view, round, n_texts)
        return [left[index] for index in acquired.indices], [
            f"{score:.6g}" for score in acquired.scores
        ]

    def _left(self) -> list[Example]:
        """Returns the texts without a row. Failed ones have one, and are not asked about again."""
        new, anew = self._reader.read(self._context.pool)
        if anew:
            self._without_row = {example.id: example for example in self._pool}
        for row in new:
            if row.source == "pool":
                self._without_row.pop(row.parents[0], None)
        return list(self._without_row.values())

    def _chosen(self, view: PoolView, round: int, n_texts: int | None) -> Acquired:
        """Returns the selector's choice among the texts of a view."""
        rng = np.random.default_rng(derive_seed("acquire", self._context.seed, round))
        count = len(view.texts)
        return self._acquirer.query(view, count if n_texts is None else min(n_texts, count), rng)

    def _label(
        self,
        examples: Sequence[Example],
        scores: Sequence[str],
        round: int,
        labeller: Labeller | None = None,
    ) -> Growth:
        """Labels examples and returns their rows, in order.

        A text without an answer is rejected with the reason.

        Args:
            examples: The texts to label.
            scores: Acquisition score of each text; "" for none.
            round: The round of the rows.
            labeller: Replaces the labeller of the run.

        Raises:
            BudgetExhausted: The labels would pass the token limit.
        """
        # Prepare the requests, and refuse a batch beyond the budget before it starts.
        labeller = labeller or self._labeller
        began = time.perf_counter()
        drafts = with_proposals(
            [Draft(example.text) for example in examples], labeller, self._context, round
        )
        requests = labeller.requests(drafts)
        self._check_budget(requests, len(examples))

        # Ask the teacher.
        self._context.on_phase("labelling", len(requests))
        labelled = labeller.label(drafts, self._context.on_reply)

        # One row per text.
        rows = []
        for index, (example, score, opinion) in enumerate(
            zip(examples, scores, labelled.opinions, strict=True)
        ):
            rows.append(
                Row(
                    id=record_id("pool row", round, example.id),
                    text=example.text,
                    target=opinion.target(opinion.distribution.top) if opinion else "",
                    source="pool",
                    round=round,
                    accepted=opinion is not None,
                    reason=""
                    if opinion
                    else RequestFailure.LABELLING.reason(labelled.errors[index]),
                    distribution=opinion.distribution if opinion else None,
                    parents=(example.id,),
                    detail={"acquisition": score} if score else {},
                    entity_confidence=opinion.entity_confidence("") if opinion else (),
                )
            )
        return Growth(
            round=round,
            rows=tuple(rows),
            seconds={"labelling": time.perf_counter() - began},
            asked=labelled.asked,
            answered=labelled.asked - labelled.failed,
            rejected=0,
            failed=labelled.failed,
        )

    def _check_budget(self, requests: Sequence[Request], texts: int) -> None:
        """Refuses a batch beyond the token limit: a whole pool may cost many times the rest.

        Raises:
            BudgetExhausted: The batch would pass the limit.
        """
        left = self._teacher.left if isinstance(self._teacher, BudgetedTeacher) else None
        if left is None:
            return
        # At least the prompts and one token per reply.
        cost = sum(
            len(ids) + 1 for ids in self._teacher.tokenize([request.prompt for request in requests])
        )
        if cost > left:
            raise BudgetExhausted(
                f"labelling {texts:,} texts takes about {cost:,} tokens and {left:,} are left."
            )

    def _shuffled(self, what: str, examples: Sequence[Example]) -> list[Example]:
        order = list(examples)
        random.Random(derive_seed(what, self._context.seed)).shuffle(order)
        return order
