"""EvoKD: the teacher studies the student's mistakes and writes new hard and easy examples (after Liu et al. 2024, reconstructed).

One round: split the student's outcomes into correct and wrong → the teacher writes an analysis → it writes hard texts (near the
mistakes) and easy texts (near what is known), more for weak classes → each text is labelled by a query of its own → the selector
accepts or rejects. The numbers marked *chosen* in the README are ours.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import ceil as round_up

from tutelage.errors import BudgetExhausted, ConfigError
from tutelage.labelling.base import Draft, Labeller, NewLabeller
from tutelage.labelling.scoring import ordered_demonstrations
from tutelage.methods.base import MethodContext, TeacherMethod, gold_rows
from tutelage.methods.evokd.demonstrations import DemonstrationSampler
from tutelage.methods.evokd.mistake_filter import MistakeFilter
from tutelage.methods.evokd.planner import RoundPlanner
from tutelage.methods.evokd.settings import EvoKDSettings
from tutelage.methods.generation.acceptance import Acceptance
from tutelage.methods.generation.duplicates import Repeats
from tutelage.methods.generation.entity_names import NameBook, Picker
from tutelage.methods.generation.writer import Candidate, GenerationSpec, Writer, clean
from tutelage.records import Feedback, Growth, Label, Outcome, derive_seed
from tutelage.selectors.acceptance import AcceptSelector
from tutelage.teacher.base import GenerateRequest, Request, Sampling
from tutelage.teacher.prompts import PromptSet

NOTHING = Feedback(0, (), {})
"""What is known of a student that there is not yet."""


class EvoKD(TeacherMethod):
    """The method. Its parts (writer, acceptance, calibrator) come from the configuration."""

    _labeller: Labeller

    settings_type = EvoKDSettings

    def __init__(
        self,
        settings: EvoKDSettings,
        prompts: PromptSet,
        accept_selector: AcceptSelector,
        new_labeller: NewLabeller,
    ) -> None:
        super().__init__(settings.name, prompts, new_labeller)
        self._settings = settings
        self._accept_selector = accept_selector
        self._analysis_sampling = Sampling(
            temperature=0.0, max_tokens=settings.analysis_tokens, stop=("\n",)
        )
        sampling = Sampling(
            temperature=settings.temperature,
            top_p=settings.top_p,
            max_tokens=settings.max_tokens,
            stop=("\n",),
        )
        self._writer = Writer(prompts, sampling, settings.min_words, settings.max_words)

    @property
    def rounds(self) -> int:
        """How many rounds it grows at most."""
        return self._settings.rounds

    def setup(self, context: MethodContext) -> None:
        """Build the scorer over the shots, and remember every text that a new one must not repeat."""
        settings = self._settings
        if context.teacher is None:
            raise ConfigError(f"method={self.name} needs a teacher.")
        if not context.shots and (settings.n_init or not settings.n_first):
            raise ConfigError(
                f"method={self.name} starts from labelled shots and shots=0 gives none; give shots=1 or more with training.gold=shots, "
                "or let it start from texts of its own (method.n_first=1 or more with method.n_init=0)."
            )
        self._context, self._teacher = context, context.teacher
        self._labels: dict[str, Label] = {label.name: label for label in context.task.labels}
        demonstrations = ordered_demonstrations(context.shots, context.seed)
        self._labeller = self._new_labeller(context.task, self._teacher, demonstrations)
        self._planner = RoundPlanner(context, settings, self._prompts)
        self._mistake_filter = MistakeFilter(context.task, settings.mistake_margin)
        self._repeats = Repeats(context, settings.near_duplicate)
        self._names = (
            NameBook(context.task.labels, context.shots, self._prompts, settings.invented_names)
            if context.task.is_token_level
            else None
        )

    def first_rows(self) -> Growth:
        """The shots, with ``n_init`` texts made from them, and with ``n_first`` texts that look at no student.

        Raises:
            ConfigError: the budget does not cover them.
        """
        settings, rng = self._settings, self._rng(0)
        if settings.separated:
            self._calibrate()
        shots = gold_rows(self._context.shots)
        if not settings.n_init and not settings.n_first:
            return Growth(round=0, rows=tuple(shots))
        planner = self._planner
        try:
            quota = Counter(planner.names(planner.even(settings.n_first))) + Counter(
                planner.init_names(rng)
            )
            names, asked, failed, seconds = self._invented_for(quota, NOTHING, 0)
            specs, free = planner.init(shots, rng, names)
            specs += planner.unaimed(settings.n_first, rng, names)
            # Variants of a shot are meant to be near to it. Later texts keep their distance from them as from all others.
            repeats = (
                Repeats(self._context, settings.near_duplicate, settings.near_own)
                if planner.augments
                else self._repeats
            )
            growth = self._grow(
                specs, 0, "", seconds, asked=asked, failed=failed, free=free, repeats=repeats
            )
            self._repeats.hold(growth.rows)
        except BudgetExhausted:
            raise ConfigError(
                f"budget.tokens is smaller than what the first {settings.n_init + settings.n_first} texts take. Raise it, or ask for fewer "
                "of them (method.n_init, method.n_first)."
            ) from None
        return replace(growth, rows=(*shots, *growth.rows))

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        """Analysis, then hard and easy texts, labelled and judged."""
        rng = self._rng(round)
        sampler = self._planner.sampler(feedback, rng)
        seconds: dict[str, float] = {}
        analysis, prompt, failed, asked = "", "", 0, 0
        if (
            self._settings.feedback
            and self._settings.analysis
            and (sampler.wrong or sampler.correct)
        ):
            began = time.perf_counter()
            self._context.on_phase("analysis", 1)
            prompt = self._render_analysis(feedback, sampler)
            reply = self._teacher.ask(
                [self._analysis_request(prompt, round)], self._context.on_reply
            )[0]
            asked, failed = 1, int(bool(reply.error))
            analysis = clean(reply.text)
            seconds["analysis"] = time.perf_counter() - began
        names, more, lost, spent = self._invented_for(
            self._planner.names(self._by_class(feedback)), feedback, round
        )
        specs = self._planner.specs(feedback, sampler, analysis, rng, names)
        growth = self._grow(
            specs, round, analysis, {**seconds, **spent}, asked=asked + more, failed=failed + lost
        )
        return replace(growth, prompt=prompt)

    def sample_requests(self, count: int) -> dict[str, list[Request]]:
        """Real requests of each kind, ``count`` of each (one analysis), as a first round would send them; for planning.

        The shots stand in for the outcomes that are not there yet.
        """
        outcomes = tuple(
            Outcome(shot.id, shot.text, shot.label or "", shot.label or "", (1.0,), "gold", 0)
            for shot in self._context.shots
        )
        scores = self._context.task.scores(outcomes)
        feedback = self.aimed_at(Feedback(0, outcomes, scores, scores))
        rng = self._rng(0)
        sampler = self._planner.sampler(feedback, rng)
        names = None if self._names is None else self._names.picker({}, ())
        specs = self._planner.specs(feedback, sampler, "", rng, names)
        specs = (
            specs
            if self._settings.rounds
            else self._planner.unaimed(self._settings.n_first, rng, names)
        )
        rng.shuffle(specs)
        requests: dict[str, list[Request]] = {
            "generation": list(self._writer.requests(specs[:count], self._context.seed, 1)),
        }
        if self._names is not None:
            quota = (
                self._by_class(feedback)
                if self._settings.rounds
                else self._planner.even(self._settings.n_first)
            )
            requests["names"] = list[Request](
                self._names.requests(self._planner.names(quota), self._context.seed, 1)
            )[:count]
        if self._settings.separated:
            texts = [shot.text for shot in self._context.shots] + [
                example.text for example in self._context.dev
            ]
            requests["labelling"] = list(
                self._labeller.requests([Draft(text) for text in texts[:count]])
            )
        if self._settings.rounds and self._settings.analysis and self._settings.feedback:
            requests["analysis"] = [
                self._analysis_request(self._render_analysis(feedback, sampler), 1)
            ]
        return {kind: some for kind, some in requests.items() if some}

    def requests_a_round(self) -> dict[str, int]:
        """How many requests of each kind a round makes at most; without rounds, what the first rows take."""
        texts = (
            self._settings.n_hard + self._settings.n_easy
            if self._settings.rounds
            else self._settings.n_first
        )
        counts = {"generation": texts}
        if self._names is not None:
            counts["names"] = sum(self._planner.names(self._planner.even(texts)).values())
        if self._settings.separated:
            known = [Draft(example.text) for example in (*self._context.shots, *self._context.dev)]
            counts["labelling"] = round_up(
                texts * len(self._labeller.requests(known)) / max(1, len(known))
            )
        if self._settings.rounds and self._settings.analysis and self._settings.feedback:
            counts["analysis"] = 1
        return {kind: number for kind, number in counts.items() if number}

    def aimed_at(self, feedback: Feedback) -> Feedback:
        """What is believed of the feedback; nothing without feedback, so that not even the draws depend on the student."""
        if not self._settings.feedback:
            return Feedback(feedback.round, (), {})
        believed = self._mistake_filter.keep(feedback, self._context.pool.rows)
        return (
            replace(believed, per_class=feedback.on_dev)
            if self._settings.scores_from == "dev"
            else believed
        )

    def _by_class(self, feedback: Feedback) -> dict[str, int]:
        """Texts of a round by class, hard and easy together."""
        total: Counter[str] = Counter()
        for quota in self._planner.quota(feedback).values():
            total.update(quota)
        return dict(total)

    def _invented_for(
        self, quota: dict[str, int], feedback: Feedback, round: int
    ) -> tuple[Picker | None, int, int, dict[str, float]]:
        """For NER the names of a round with the requests made and failed for them and the seconds that took; for other tasks nothing."""
        context, began = self._context, time.perf_counter()
        if self._names is None:
            return None, 0, 0, {}
        # A text that goes on from words that are none speaks of names, too: without a query of its own they would be taught as none.
        mistakes = (
            one
            for outcome in feedback.wrong
            for one in context.task.mistakes(outcome)
            if one.right or self._settings.separated
        )
        if not any(quota.values()):
            return self._names.picker({}, context.pool.rows, mistakes, feedback.outcomes), 0, 0, {}
        context.on_phase("names", sum(quota.values()))
        new, asked, failed = self._names.invent(
            self._teacher, quota, context.seed, round, context.on_reply
        )
        return (
            self._names.picker(new, context.pool.rows, mistakes, feedback.outcomes),
            asked,
            failed,
            {"names": time.perf_counter() - began},
        )

    def _rng(self, round: int) -> random.Random:
        return random.Random(derive_seed("method", self._context.seed, round))

    def _render_analysis(self, feedback: Feedback, sampler: DemonstrationSampler) -> str:
        return self._prompts.render(
            "analysis",
            wrong=[self._context.task.shown(outcome) for outcome in sampler.wrong],
            correct=[self._context.task.shown(outcome) for outcome in sampler.correct],
            report={self._labels[name].word: score for name, score in feedback.per_class.items()}
            if self._settings.class_report
            else {},
        )

    def _analysis_request(self, prompt: str, round: int) -> GenerateRequest:
        return GenerateRequest(
            id="analysis",
            prompt=prompt,
            sampling=self._analysis_sampling,
            seed=derive_seed("analysis", self._context.seed, round, bits=31),
        )

    def _grow(
        self,
        specs: Sequence[GenerationSpec],
        round: int,
        analysis: str,
        seconds: dict[str, float],
        *,
        asked: int,
        failed: int,
        free: Sequence[Candidate] = (),
        repeats: Repeats | None = None,
    ) -> Growth:
        context = self._context
        began = time.perf_counter()
        context.on_phase("generation", len(specs))
        written = self._writer.write(self._teacher, specs, context.seed, round, context.on_reply)
        seconds = {**seconds, "generation": time.perf_counter() - began}
        acceptance = Acceptance(
            self._labeller if self._settings.separated else None,
            self._accept_selector,
            repeats or self._repeats,
        )
        return acceptance.grow(
            context,
            [*written, *free],
            self._writer,
            round,
            seconds,
            asked=asked,
            failed=failed,
            analysis=analysis,
        )
