"""Curate-Train-Refine: texts between the classes that the student confuses on held-out texts.

After Maheshwari and El Haddad 2026 (arXiv 2601.16530). The teacher writes a first set from the
shots (curate), a part of which is held out for validation. After each training, the student's
confusion on it is measured, and the teacher writes texts between the classes of the pairs confused
most: "clearly A, easily taken for B" (refine).

Ours: the loop is fixed, where the paper has an agent that calls tools; each text is labelled by a
query of its own; by default each round trains a new student on all rows so far
(conf/training/llmaaa.yaml); and the number of pairs and the cap are our choice. The analysis, and
chats, show mistakes on held-out texts. Near duplicates of these are never trained on, but texts
that resemble them less are.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tutelage.labelling.base import NewLabeller
from tutelage.methods.base import MethodContext
from tutelage.methods.evokd.demonstrations import ranked_pairs, shared_out
from tutelage.methods.evokd.method import EvoKD
from tutelage.methods.evokd.planner import RoundInput
from tutelage.methods.evokd.quota import TextGroup
from tutelage.methods.evokd.settings import CurateTrainRefineSettings
from tutelage.records import Feedback, Growth, Row, derive_seed
from tutelage.selectors.acceptance import AcceptSelector
from tutelage.teacher.prompts import PromptSet

HELD_OUT = "held out for validation"
"""Reason by which the pool remembers held-out texts, so that a resumed run has the same ones."""


class CurateTrainRefine(EvoKD):
    """EvoKD's rounds between the classes that are confused on texts that are never trained on.

    Args:
        settings: The settings of the method.
        prompts: The prompt templates.
        accept_selector: Decides about the labelled texts.
        new_labeller: Builds the labeller over the shots.
    """

    settings_type = CurateTrainRefineSettings

    def __init__(
        self,
        settings: CurateTrainRefineSettings,
        prompts: PromptSet,
        accept_selector: AcceptSelector,
        new_labeller: NewLabeller,
    ) -> None:
        super().__init__(settings, prompts, accept_selector, new_labeller)
        self._validation_share = settings.validation_share
        self._n_pairs = settings.n_pairs
        self._class_cap = settings.class_cap

    def setup(self, context: MethodContext) -> None:
        """Connects the method to a run; in a resumed one no new text repeats a held-out one.

        Args:
            context: The parts of the run.

        Raises:
            ConfigError: There is no teacher, or nothing to start from.
        """
        super().setup(context)
        for row in self._held_out():
            self._repeats.add(row.text, "pool")

    def first_rows(self) -> Growth:
        """Returns the shots and the first texts, a share of each class held out.

        Raises:
            ConfigError: The token budget does not cover them.
        """
        growth = super().first_rows()
        if self._settings.feedback == "dev":
            return growth
        by_class: dict[str, list[str]] = {}
        for row in growth.rows:
            if row.accepted and not row.given:
                name = self._context.task.classes(row.target)[0]
                by_class.setdefault(name, []).append(row.id)
        # One text of each class at least, as long as one is left to train on.
        rng, held = random.Random(derive_seed("validation", self._context.seed)), set[str]()
        for ids in by_class.values():
            share = int(self._validation_share * len(ids) + 0.5)
            held.update(rng.sample(ids, min(max(1, share), len(ids) - 1)))
        rows = tuple(
            replace(row, accepted=False, reason=HELD_OUT) if row.id in held else row
            for row in growth.rows
        )
        return replace(growth, rows=rows, rejected=growth.rejected + len(held))

    def aimed_at(self, feedback: Feedback) -> Feedback:
        """Returns the outcomes on the held-out texts, without doubtful mistakes.

        With ``method.feedback=dev`` these are the outcomes on dev.

        Args:
            feedback: The results of the latest round.
        """
        if self._settings.feedback == "dev":
            return super().aimed_at(feedback)
        held = self._held_out()
        found = {one.id: one for one in self._context.predict(held)} if held else {}
        outcomes = tuple(found[row.id] for row in held)
        return self._filtered(self._about(feedback, outcomes), held)

    def _held_out(self) -> list[Row]:
        return [row for row in self._context.pool.rows if row.reason == HELD_OUT]

    def _groups(self, given: RoundInput) -> Sequence[TextGroup]:
        """Shares the hard texts among the pairs confused most; without any, as EvoKD does."""
        groups = self._planner.groups(given.feedback)
        pairs = ranked_pairs(given.demonstrations.pairs)[: self._n_pairs]
        if pairs:
            hard = Counter(
                shared_out(
                    self._settings.n_hard,
                    {str(place): count for place, (_, count) in enumerate(pairs)},
                )
            )
            groups = [
                *(
                    TextGroup("hard", right, hard[str(place)], partner=predicted)
                    for place, ((right, predicted), _) in enumerate(pairs)
                ),
                *(group for group in groups if group.kind != "hard"),
            ]
        return self._capped(groups)

    def _capped(self, groups: Sequence[TextGroup]) -> list[TextGroup]:
        """Cuts groups so that no class gets more texts than its cap; what is cut is not asked."""
        written = Counter(
            name
            for row in self._context.pool.accepted()
            if not row.given
            for name in self._context.task.classes(row.target)
        )
        kept = []
        for group in groups:
            count = min(group.count, max(0, self._class_cap - written[group.label]))
            written[group.label] += count
            if count:
                kept.append(replace(group, count=count))
        return kept
