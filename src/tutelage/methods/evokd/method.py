"""EvoKD: the teacher studies the student's mistakes and writes new hard and easy examples.

After Liu et al. 2024, reconstructed. A round has four phases:

1. Analysis: the teacher reads correct and wrong outcomes of the student and names its weakness;
   or it explains each mistake (ELAD).
2. Specs: the round is planned, with hard texts (near the mistakes) and easy texts (near correct
   predictions), more of both for weak classes.
3. Candidates: the teacher writes one text per spec.
4. Rows: each text is labelled by a query of its own, and the accept selector decides about it.

Numbers marked *chosen* in the documentation are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from math import ceil as round_up
from time import perf_counter
from typing import Any

from tutelage.errors import BudgetExhausted, ConfigError
from tutelage.labelling.base import Draft, Labeller, NewLabeller
from tutelage.labelling.scoring import ordered_demonstrations
from tutelage.methods.base import (
    ESTIMATED,
    Cost,
    MethodContext,
    TeacherMethod,
    gold_rows,
    joined,
)
from tutelage.methods.evokd.analysis import Analyst
from tutelage.methods.evokd.demonstrations import student_loss
from tutelage.methods.evokd.mistake_filter import MistakeFilter
from tutelage.methods.evokd.planner import RoundInput, RoundPlan, RoundPlanner
from tutelage.methods.evokd.pool_feedback import PoolFeedback
from tutelage.methods.evokd.quota import TextGroup
from tutelage.methods.evokd.settings import EvoKDSettings
from tutelage.methods.evokd.split import SplitBandit
from tutelage.methods.generation.acceptance import Acceptance
from tutelage.methods.generation.duplicates import Repeats
from tutelage.methods.generation.lengths import examples_of
from tutelage.methods.generation.specs import Candidate
from tutelage.methods.generation.writer import Writer
from tutelage.records import Example, Feedback, Growth, Outcome, Row, evenly
from tutelage.selectors.acceptance import AcceptSelector
from tutelage.selectors.protocol import Acquirer
from tutelage.teacher.base import Request, Teacher
from tutelage.teacher.prompts import PromptSet
from tutelage.teacher.wrappers.budget import BudgetedTeacher


class EvoKD(TeacherMethod):
    """EvoKD for both tasks, and with other settings PGKD, ELAD, ZeroGen and static generation.

    Args:
        settings: The settings of the method.
        prompts: The prompt templates.
        accept_selector: Decides about the labelled texts.
        new_labeller: Builds the labeller over the shots.
        acquirer: Chooses pool texts, with ``method.feedback`` "pool" or "mixed".

    Raises:
        ConfigError: An acquire selector is missing, or would never be asked.
    """

    _labeller: Labeller
    _teacher: Teacher
    _meter: BudgetedTeacher
    """Counts the tokens of each round, with ``method.split=bandit``."""

    settings_type: type[EvoKDSettings] = EvoKDSettings
    round_settings = ("method.n_hard", "method.n_easy", "method.n_pool")

    def __init__(
        self,
        settings: EvoKDSettings,
        prompts: PromptSet,
        accept_selector: AcceptSelector,
        new_labeller: NewLabeller,
        acquirer: Acquirer | None = None,
    ) -> None:
        super().__init__(settings.name, prompts, new_labeller)
        self._settings = settings
        self._accept_selector = accept_selector
        self._pool_feedback: PoolFeedback | None = None
        self._split = SplitBandit() if settings.split == "bandit" else None
        self._labelled_last: tuple[Outcome, ...] = ()
        if settings.labels_pool:
            self._pool_feedback = PoolFeedback(
                settings.name,
                settings.n_pool,
                settings.pool_size,
                prompts,
                acquirer,
                accept_selector,
            )
        elif acquirer is not None:
            raise ConfigError(
                f"method={settings.name} with method.feedback={settings.feedback} labels no pool "
                "text, so the acquire selector would never be asked. Give method.feedback=pool or "
                "acquire=none."
            )
        self._writer = Writer(
            prompts,
            settings.sampling,
            settings.min_words,
            settings.max_words,
            settings.max_tokens,
            settings.texts_per_request,
        )

    @property
    def rounds(self) -> int:
        """Maximum number of rounds."""
        return self._settings.rounds

    def setup(self, context: MethodContext) -> None:
        """Builds the labeller, the planner and the duplicate check.

        Args:
            context: The parts of the run.

        Raises:
            ConfigError: There is no teacher, or nothing to start from.
        """
        settings = self._settings
        if context.teacher is None:
            raise ConfigError(f"method={self.name} needs a teacher.")
        if not context.shots and (settings.n_init or not settings.n_first):
            raise ConfigError(
                f"method={self.name} starts from labelled shots, and shots=0 gives none. Give "
                "shots=1 or more with training.gold=shots, or let it start from texts of its own "
                "(method.n_first=1 or more with method.n_init=0)."
            )
        self._teacher = context.teacher
        if self._split is not None:
            # It only counts: the run's own budget stops the run.
            self._teacher = self._meter = BudgetedTeacher(context.teacher)
            context = replace(context, teacher=self._meter)
        self._context = context
        if settings.explanations:
            self._prompts.require("explain")
        if settings.class_report:
            self._prompts.require("report")
        self._writer.fit(self._teacher, examples_of(context))
        # The labeller shows the same demonstrations throughout the run.
        demonstrations = ordered_demonstrations(context.shots, context.seed)
        self._labeller = self._new_labeller(context.task, self._teacher, demonstrations)
        self._planner = RoundPlanner(context, self._teacher, settings, self._prompts)
        self._analyst = Analyst(context, self._teacher, settings, self._prompts)
        self._mistake_filter = MistakeFilter(context.task, settings.mistake_margin)
        self._repeats = Repeats(context, settings.near_duplicate)
        if self._pool_feedback is not None:
            self._pool_feedback.setup(context, self._labeller)

    def first_rows(self) -> Growth:
        """Returns the shots, ``n_init`` variants of them, and ``n_first`` texts of no feedback.

        Raises:
            ConfigError: The token budget does not cover them.
        """
        settings = self._settings
        if settings.separated:
            self._calibrate()
        shots = gold_rows(self._context.shots)
        if not settings.n_init and not settings.n_first:
            return Growth(round=0, rows=tuple(shots))
        try:
            plan = self._planner.first_plan(shots)
            candidates, cost = self._write(plan, 0)
            # Variants of a shot are similar to it on purpose, hence a limit of their own. Later
            # texts keep their distance from all texts.
            repeats = self._repeats
            if self._planner.augments:
                repeats = Repeats(self._context, settings.near_duplicate, settings.near_own)
            growth = self._acceptance(repeats).grow(
                self._context, candidates, self._writer, 0, plan.cost + cost
            )
            # Texts accepted under the other limit count for later rounds too.
            self._repeats.hold(growth.rows)
        except BudgetExhausted:
            raise ConfigError(
                "budget.tokens is smaller than the cost of the first "
                f"{settings.n_init + settings.n_first} texts. Raise it, or ask for fewer texts "
                "(method.n_init, method.n_first)."
            ) from None
        return replace(growth, rows=(*shots, *growth.rows))

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        """Returns the rows of a round: labels of the pool, analysis, specs, candidates, rows.

        Args:
            feedback: The result of :meth:`aimed_at` for the round before.
            round: The new round, from 1.

        Raises:
            BudgetExhausted: The token budget ran out.
        """
        if self._pool_feedback is None:
            return self._written(feedback, round)
        if self._split is not None:
            return self._of_one_arm(feedback, round, self._pool_feedback, self._split)
        # Mistakes on real texts of this round come before what is written about them.
        labelled, outcomes = self._pool_feedback.grow(round)
        self._repeats.hold(labelled.rows)
        outcomes = (*feedback.outcomes, *outcomes)
        feedback = self._filtered(self._about(feedback, outcomes), labelled.rows)
        try:
            written = self._written(feedback, round, labelled.rows)
        except BudgetExhausted:
            # The labels are paid for, so the student learns from them.
            if not labelled.rows:
                raise
            written = Growth(round, ())
        return replace(joined(labelled, written), feedback=feedback)

    @property
    def foresees(self) -> str:
        """Why nothing of a round is known before the student has learnt; "" if something is."""
        if self._pool_feedback is None:
            return f"method.feedback={self._settings.feedback} labels no pool texts"
        if self._split is not None:
            return "method.split=bandit decides after each round whether texts are labelled"
        return self._pool_feedback.foresees

    def upcoming(self, round: int) -> list[Request]:
        """Returns the labelling requests of the next round's pool texts.

        Args:
            round: The next round, from 1.
        """
        return [] if self._pool_feedback is None else self._pool_feedback.upcoming(round)

    def _of_one_arm(
        self, feedback: Feedback, round: int, pool: PoolFeedback, split: SplitBandit
    ) -> Growth:
        """Returns the rows of a round that labels pool texts or writes texts, whichever pays.

        Texts are written towards the mistakes on the pool texts that were labelled last.
        """
        billed, arm = self._meter.usage.billed, split.choose()
        growth, known = Growth(round, ()), self._context.pool.rows
        if arm == "label":
            growth, self._labelled_last = pool.grow(round)
        outcomes = (*feedback.outcomes, *self._labelled_last)
        feedback = self._filtered(self._about(feedback, outcomes), (*known, *growth.rows))
        if growth.rows:
            self._repeats.hold(growth.rows)
            found = self._labelled_last
        else:  # The pool may be used up.
            arm, growth = "write", self._written(feedback, round)
            accepted = [row for row in growth.rows if row.accepted]
            found = tuple(self._context.predict(accepted)) if accepted else ()
        new = self._filtered(Feedback(round, found, {}), growth.rows)
        split.learn(arm, len(new.wrong), self._meter.usage.billed - billed)
        return replace(growth, feedback=feedback)

    def state_dict(self) -> dict[str, Any]:
        """Returns the state a resumed run needs; with ``method.split=bandit`` what it learnt."""
        state = super().state_dict()
        if self._split is None:
            return state
        last = [asdict(outcome) for outcome in self._labelled_last]
        return {**state, "split": self._split.state_dict(), "labelled_last": last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state returned by :meth:`state_dict`."""
        super().load_state_dict(state)
        if self._split is not None:
            self._split.load_state_dict(state["split"])
            self._labelled_last = tuple(
                Outcome(
                    **{
                        **one,
                        "probabilities": tuple(one["probabilities"]),
                        "tags": tuple(one["tags"]),
                    }
                )
                for one in state["labelled_last"]
            )

    def _written(self, feedback: Feedback, round: int, labelled: Sequence[Row] = ()) -> Growth:
        """Returns the rows that the teacher writes in a round.

        Args:
            feedback: The results that the round follows.
            round: The round.
            labelled: Pool rows of the same round.
        """
        seeds = self._seeds(labelled) if self._settings.rewrites_rows else ()
        given = self._planner.round_input(feedback, round, seeds)
        groups = self._groups(given)
        if not groups:
            return Growth(round, ())
        analysis = self._analyst.analyse(given)
        plan = self._planner.plan(given, groups, analysis.for_class)
        candidates, cost = self._write(plan, round)
        return self._acceptance(self._repeats).grow(
            self._context,
            candidates,
            self._writer,
            round,
            analysis.cost + plan.cost + cost,
            analysis=analysis.text,
            prompt=analysis.prompt,
        )

    def _groups(self, given: RoundInput) -> Sequence[TextGroup]:
        """Returns what a round asks for; a relative of EvoKD shares it out in another way."""
        return self._planner.groups(given.feedback)

    def _seeds(self, labelled: Sequence[Row]) -> list[Row]:
        """Returns all rows with a teacher's label, highest student loss first."""
        rows = {
            row.id: row
            for row in (*self._context.pool.accepted(), *labelled)
            if row.accepted and not row.given
        }
        outcomes = tuple(self._context.predict(list(rows.values()))) if rows else ()
        kept = self._filtered(Feedback(0, outcomes, {}), rows.values()).outcomes
        task = self._context.task
        ranked = sorted(kept, key=lambda one: (-student_loss(task, one), one.id))
        return [rows[one.id] for one in ranked]

    def aimed_at(self, feedback: Feedback) -> Feedback:
        """Returns the feedback without doubtful mistakes.

        With ``method.feedback=none`` it is empty, so not even a random draw depends on the student.
        With "pool" it is empty too: the round itself collects the outcomes on pool texts. With
        ``method.scores_from=dev`` its scores are those on dev.

        Args:
            feedback: The results of the latest round.
        """
        source = self._settings.feedback
        if source == "none":
            return Feedback(feedback.round, (), {})
        outcomes = feedback.dev if source == "dev" else feedback.outcomes
        if source == "pool":
            outcomes = ()
        elif source == "mixed":
            # The student has learnt the pool texts of the round before.
            outcomes = tuple(one for one in outcomes if one.source != "pool")
        if source != "generated":
            feedback = self._about(feedback, outcomes)
        return self._filtered(feedback, self._context.pool.rows)

    def _about(self, feedback: Feedback, outcomes: tuple[Outcome, ...]) -> Feedback:
        """Returns feedback about these outcomes."""
        return replace(feedback, outcomes=outcomes, per_class=self._context.task.scores(outcomes))

    def _filtered(self, feedback: Feedback, rows: Iterable[Row]) -> Feedback:
        """Removes doubtful mistakes, and scores what is left.

        Args:
            feedback: The outcomes.
            rows: Their rows, for the teacher's distributions.
        """
        kept = self._mistake_filter.keep(feedback, rows)
        # PGKD shares out a round by the scores on dev.
        if self._settings.scores_from == "dev":
            return replace(kept, per_class=feedback.on_dev)
        return kept

    def sample_requests(self, count: int) -> dict[str, list[Request]]:
        """Returns real requests of each kind, as the first round would send them.

        The shots replace the outcomes of a student, which does not exist yet.

        Args:
            count: Maximum number of requests per kind; there is one analysis.
        """
        given = self._imagined()
        specs, names = self._planner.preview(given, self._groups(given))
        texts = self._writer.requests(specs, self._context.seed, 1, self._context.task.labels)
        requests: dict[str, list[Request]] = {
            "generation": list(texts[:count]),
            "names": list(names[:count]),
        }
        if self._settings.separated:
            asked = self._labelling_requests(evenly(self._labelled(), count))
            requests["labelling"] = evenly(asked, count)
        if self._settings.rounds and self._analyst.has_work(given):
            requests["analysis"] = [self._analyst.request(given, 1)]
        return {kind: some for kind, some in requests.items() if some}

    def requests_a_round(self) -> dict[str, int]:
        """Returns the maximum number of requests of each kind per round.

        Without rounds, counts those of the first rows.
        """
        counts = self._planner.counts()
        texts = counts["generation"]
        given = self._imagined()
        specs, _ = self._planner.preview(given, self._groups(given))
        counts["generation"] = len(self._writer.batches(specs))
        if self._settings.separated:
            # For NER the number of requests depends on the text; estimate it by labelled examples.
            known = evenly(self._labelled(), ESTIMATED)
            per_text = len(self._labelling_requests(known)) / max(1, len(known))
            counts["labelling"] = round_up(texts * per_text)
            if self._pool_feedback is not None:
                counts["labelling"] += self._pool_feedback.requests_a_round()
        if self._settings.rounds and self._analyst.is_asked:
            counts["analysis"] = 1
        return {kind: number for kind, number in counts.items() if number}

    def _imagined(self) -> RoundInput:
        """The input of a first round: the shots as outcomes of a student.

        It knows all of them where a completion asks. Chats show mistakes, and explanations are
        about them, so there it has every second one wrong.
        """
        shots, task = self._context.shots, self._context.task
        errs = self._analyst.needs_mistakes
        targets = [shot.label or "" for shot in shots]
        others = [
            next((other for other in [*targets[place:], *targets] if other != target), target)
            for place, target in enumerate(targets)
        ]
        outcomes = tuple(
            Outcome(
                shot.id,
                shot.text,
                target,
                (task.empty_target or other) if errs and place % 2 else target,
                (1.0,),
                "gold",
                0,
            )
            for place, (shot, target, other) in enumerate(zip(shots, targets, others, strict=True))
        )
        # Their scores also replace those on dev.
        scores = task.scores(outcomes)
        feedback = Feedback(0, (), {})
        if self._settings.follows_mistakes:
            feedback = Feedback(0, outcomes, scores, scores)
        return self._planner.round_input(feedback, 0)

    def _labelled(self) -> list[Example]:
        """The labelled examples, as stand-ins for generated texts."""
        return [*self._context.shots, *self._context.dev]

    def _labelling_requests(self, examples: Sequence[Example]) -> list[Request]:
        return self._labeller.requests([Draft(example.text) for example in examples])

    def _write(self, plan: RoundPlan, round: int) -> tuple[list[Candidate], Cost]:
        """Lets the teacher write the texts of a plan; the finished ones follow."""
        context, began = self._context, perf_counter()
        context.on_phase("generation", len(self._writer.batches(plan.specs)))
        written = self._writer.write(
            self._teacher, plan.specs, context.seed, round, context.on_reply, context.task.labels
        )
        cost = Cost(seconds={"generation": perf_counter() - began})
        return [*written, *plan.finished], cost

    def _acceptance(self, repeats: Repeats) -> Acceptance:
        labeller = self._labeller if self._settings.separated else None
        return Acceptance(labeller, self._accept_selector, repeats)
