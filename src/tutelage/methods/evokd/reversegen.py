"""ReverseGen: explores which prompts write texts that the student fails, and keeps those.

After Li et al. 2024, Forewarned is Forearmed (arXiv 2410.16736). The paper tunes a proposer model
by preferences, towards instructions on which a target model fails, and trains the target on them.

Ours: no model is tuned. A bandit chooses among prompts instead (prompt variant, class, cell of the
attribute grid), and its reward is the share of texts that the student fails and that the teacher
vouches for. The student classifies, so a failure is another label than that of the separate query,
and a doubtful one is none (``method.mistake_margin``). Rounds, prompts and training are EvoKD's.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from math import ceil as round_up
from typing import Any

from tutelage.labelling.base import NewLabeller
from tutelage.methods.base import MethodContext, RequestFailure
from tutelage.methods.evokd.arm_bandit import Arm, ArmBandit
from tutelage.methods.evokd.method import EvoKD
from tutelage.methods.evokd.planner import RoundInput
from tutelage.methods.evokd.quota import TextGroup
from tutelage.methods.evokd.settings import ReverseGenSettings
from tutelage.records import Feedback, Growth, Row, derive_seed
from tutelage.selectors.acceptance import AcceptSelector
from tutelage.teacher.prompts import PromptSet

RIGHT = "the student gets it right"
DOUBTFUL = "the student fails it, but the teacher does not vouch for its label"


class ReverseGen(EvoKD):
    """EvoKD's rounds, shared out by a bandit, of which only the student's failures are kept.

    Args:
        settings: The settings of the method.
        prompts: The prompt templates.
        accept_selector: Decides about the labelled texts, before the student is asked.
        new_labeller: Builds the labeller over the shots.
    """

    settings_type = ReverseGenSettings

    def __init__(
        self,
        settings: ReverseGenSettings,
        prompts: PromptSet,
        accept_selector: AcceptSelector,
        new_labeller: NewLabeller,
    ) -> None:
        super().__init__(settings, prompts, accept_selector, new_labeller)
        self._variants: tuple[str, ...] = tuple(settings.variants)
        self._texts_per_arm = settings.texts_per_arm
        self._keep_right = settings.keep_right

    def setup(self, context: MethodContext) -> None:
        """Connects the method to a run, with a bandit over its arms.

        Args:
            context: The parts of the run.

        Raises:
            ConfigError: There is no teacher, or nothing to start from.
        """
        super().setup(context)
        names = [label.name for label in context.task.labels]
        # Two cells of a grid may read the same.
        styles = list(dict.fromkeys(self._planner.styles))
        self._bandit = ArmBandit(list(product(self._variants, names, styles)))

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        """Returns the rows of a round; the student's failures are the accepted ones.

        Args:
            feedback: The result of :meth:`aimed_at` for the round before.
            round: The new round, from 1.

        Raises:
            BudgetExhausted: The token budget ran out.
        """
        growth = super().next_rows(feedback, round)
        accepted = [row for row in growth.rows if row.accepted]
        outcomes = tuple(self._context.predict(accepted)) if accepted else ()
        vouched = self._filtered(Feedback(round, outcomes, {}), growth.rows)
        failed = {one.id for one in vouched.wrong}
        self._learn(growth.rows, failed)
        # Drop what the student gets right, but for the share that stays.
        right = sorted(one.id for one in outcomes if one.correct)
        rng = random.Random(derive_seed("right", self._context.seed, round))
        kept = failed.union(rng.sample(right, int(self._keep_right * len(right) + 0.5)))
        rows = tuple(
            row
            if row.id in kept or not row.accepted
            else replace(row, accepted=False, reason=RIGHT if row.id in right else DOUBTFUL)
            for row in growth.rows
        )
        dropped = len(accepted) - sum(row.accepted for row in rows)
        return replace(growth, rows=rows, rejected=growth.rejected + dropped)

    def state_dict(self) -> dict[str, Any]:
        """Returns the state a resumed run needs, with what the bandit learnt."""
        return {**super().state_dict(), "bandit": self._bandit.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state returned by :meth:`state_dict`."""
        super().load_state_dict(state)
        self._bandit.load_state_dict(state["bandit"])

    def _groups(self, given: RoundInput) -> Sequence[TextGroup]:
        """Returns the texts of the arms that the bandit draws for a round."""
        rng = random.Random(derive_seed("arms", self._context.seed, given.round))
        total = self._settings.n_hard + self._settings.n_easy
        turns = self._bandit.choose(round_up(total / self._texts_per_arm), rng)
        # The last turn has what is left.
        texts = Counter[Arm]()
        for turn, arm in enumerate(turns):
            texts[arm] += min(self._texts_per_arm, total - turn * self._texts_per_arm)
        return [
            TextGroup(
                kind="easy" if variant == "easy" else "hard",
                label=label,
                count=count,
                style=style,
                rewrites=variant == "paraphrase",
                detail=(("variant", variant),),
            )
            for (variant, label, style), count in texts.items()
        ]

    def _learn(self, rows: Sequence[Row], failed: set[str]) -> None:
        """Tells the bandit of its texts; a failed request says nothing about an arm."""
        results: dict[Arm, tuple[int, int]] = {}
        for row in rows:
            if RequestFailure.of(row) is None:
                arm = (row.detail["variant"], row.asked, row.detail.get("style", ""))
                texts, failures = results.get(arm, (0, 0))
                results[arm] = (texts + 1, failures + (row.id in failed))
        self._bandit.learn(results)
