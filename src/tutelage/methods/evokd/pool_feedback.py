"""Feedback from real texts: a selector chooses texts of the pool, and the teacher labels them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tutelage.errors import ConfigError
from tutelage.labelling.base import Labeller
from tutelage.methods.base import MethodContext
from tutelage.methods.pool.method import PoolLabelling
from tutelage.methods.pool.settings import PoolSettings
from tutelage.records import Growth, Outcome, Row
from tutelage.selectors.acceptance import AcceptSelector
from tutelage.selectors.protocol import Acquirer
from tutelage.teacher.base import Request
from tutelage.teacher.prompts import PromptSet


class PoolFeedback:
    """Labels a few pool texts per round, and tells what the student predicted for them before.

    The texts are chosen, labelled and recorded as
    :class:`~tutelage.methods.pool.method.PoolLabelling` does it (LLKD on demand, active learning):
    the rows have the source "pool", with the id of the pool text as their parent. Which texts are
    used up follows from the ledger, so a resumed run goes on with the same ones.

    Args:
        name: Names the method in messages.
        n_pool: Texts per round.
        pool_size: Texts of the pool to choose from; None for all.
        prompts: The prompt templates.
        acquirer: Chooses the texts.
        accept_selector: Decides about the labelled texts. Nothing was asked for, so each counts as
            asked for under its scored label.

    Raises:
        ConfigError: ``n_pool`` is below 1, or nothing chooses the texts.
    """

    def __init__(
        self,
        name: str,
        n_pool: int,
        pool_size: int | None,
        prompts: PromptSet,
        acquirer: Acquirer | None,
        accept_selector: AcceptSelector,
    ) -> None:
        if n_pool < 1:
            raise ConfigError(
                f"method.n_pool={n_pool} labels no pool text, and method.feedback=pool and mixed "
                "follow the mistakes on them. Give method.n_pool=1 or more, or "
                "method.feedback=generated with acquire=none."
            )
        if acquirer is None:
            raise ConfigError(
                "method.feedback=pool and mixed need a selector that chooses pool texts, and "
                "acquire=none has none. Give acquire=random, or another option of acquire=."
            )
        self._labelling = PoolLabelling(
            PoolSettings(
                name=name,
                pool_size=pool_size,
                first=0,
                rounds=1,
                n_texts=n_pool,
                train_on_shots=True,
            ),
            prompts,
            acquirer,
            self._given_labeller,
        )
        self._n_pool = n_pool
        self._accept_selector = accept_selector

    def setup(self, context: MethodContext, labeller: Labeller) -> None:
        """Connects it to a run.

        Args:
            context: The parts of the run.
            labeller: The method's own labeller; real texts are asked about like written ones.

        Raises:
            ConfigError: There is no pool.
        """
        self._context, self._labeller = context, labeller
        self._labelling.setup(context)

    def grow(self, round: int, n_texts: int | None = None) -> tuple[Growth, tuple[Outcome, ...]]:
        """Labels texts of the pool, and asks the student about the accepted ones.

        Args:
            round: The new round, from 1.
            n_texts: Number of texts; None for ``n_pool``.

        Returns:
            The growth, and the outcomes of its accepted rows before the student learns from them.

        Raises:
            BudgetExhausted: The token budget ran out.
        """
        growth = self._labelling.label_chosen(round, self._n_pool if n_texts is None else n_texts)
        labelled = [row for row in growth.rows if row.accepted]
        outcomes = {one.id: one for one in self._context.predict(labelled)} if labelled else {}
        rows = self._decided(growth.rows, outcomes)
        accepted = [row for row in rows if row.accepted]
        turned_down = len(labelled) - len(accepted)
        return (
            replace(growth, rows=tuple(rows), rejected=growth.rejected + turned_down),
            tuple(outcomes[row.id] for row in accepted),
        )

    @property
    def foresees(self) -> str:
        """Why the next texts depend on the student; "" if they do not."""
        return self._labelling.foresees

    def upcoming(self, round: int) -> list[Request]:
        """Returns the requests of :meth:`grow`, if the budget covers them.

        Args:
            round: The next round, from 1.
        """
        return self._labelling.upcoming_texts(round, self._n_pool)

    def sample_requests(self, count: int) -> dict[str, list[Request]]:
        """Returns real labelling requests of pool texts.

        Args:
            count: Maximum number of requests.
        """
        return self._labelling.sample_requests(count)

    def requests_a_round(self) -> int:
        """Returns the expected number of labelling requests per round."""
        return self._labelling.requests_a_round().get("labelling", 0)

    def _given_labeller(self, *_: Any, **__: Any) -> Labeller:
        return self._labeller

    def _decided(self, rows: Sequence[Row], outcomes: Mapping[str, Outcome]) -> list[Row]:
        """Lets the accept selector decide about the labelled rows; failed ones stay as they are."""
        open_indices = [
            index for index, row in enumerate(rows) if row.accepted and row.distribution
        ]
        distributions = [
            distribution for index in open_indices if (distribution := rows[index].distribution)
        ]
        decisions = self._accept_selector.decide_batch(
            [distribution.top for distribution in distributions],
            distributions,
            [outcomes[rows[index].id].correct for index in open_indices],
        )
        decided = list(rows)
        for index, decision in zip(open_indices, decisions, strict=True):
            decided[index] = replace(
                rows[index],
                accepted=decision.accepted,
                reason=decision.reason,
                weight=decision.weight,
            )
        return decided
