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
from typing import Any

from tutelage.errors import BudgetExhausted, ConfigError
from tutelage.methods.admission import Admission
from tutelage.methods.asking import AskingMethod
from tutelage.methods.belief import Belief
from tutelage.methods.briefing import Briefing
from tutelage.methods.evokd_settings import EvoKDSettings
from tutelage.methods.exhibits import Exhibits
from tutelage.methods.names import NameBook, Picker
from tutelage.methods.protocol import Ground, gold_rows
from tutelage.methods.repeats import Repeats
from tutelage.methods.writing import Brief, Writer, Written, clean
from tutelage.records import Feedback, Growth, Label, Outcome, record_id
from tutelage.selectors.acceptance import Judge
from tutelage.teacher.labelling import Draft, Labeller, NewLabeller
from tutelage.teacher.prompts import PromptSet
from tutelage.teacher.protocol import GenerateRequest, Request, Sampling
from tutelage.teacher.scoring import ordered_demonstrations

NOTHING = Feedback(0, (), {})
"""What is known of a student that there is not yet."""


class EvoKD(AskingMethod):
    """The method. Its parts (writer, acceptance, calibrator) come from the configuration."""

    _labeller: Labeller

    def __init__(
        self,
        name: str,
        settings: EvoKDSettings,
        prompts: PromptSet,
        sampling: Sampling,
        analysis_sampling: Sampling,
        acceptance: Judge,
        new_labeller: NewLabeller,
        *,
        min_words: int,
        max_words: int,
    ) -> None:
        super().__init__(name, prompts, new_labeller)
        self._settings = settings
        self._analysis_sampling = analysis_sampling
        self._acceptance = acceptance
        self._writer = Writer(prompts, sampling, min_words, max_words)

    @property
    def rounds(self) -> int:
        """How many rounds it grows at most."""
        return self._settings.rounds

    def stand_on(self, ground: Ground) -> None:
        """Build the scorer over the shots, and remember every text that a new one must not repeat."""
        settings = self._settings
        if ground.teacher is None:
            raise ConfigError(f"method={self.name} needs a teacher.")
        if not ground.shots and (settings.n_init or not settings.n_first):
            raise ConfigError(
                f"method={self.name} starts from labelled shots and shots=0 gives none; give shots=1 or more with method.training.gold=shots, "
                "or let it start from texts of its own (method.n_first=1 or more with method.n_init=0)."
            )
        self._ground, self._teacher = ground, ground.teacher
        self._labels: dict[str, Label] = {label.name: label for label in ground.task.labels}
        demonstrations = ordered_demonstrations(ground.shots, ground.seed)
        self._labeller = self._new_labeller(ground.task, self._teacher, demonstrations)
        self._briefing = Briefing(ground, settings, self._prompts)
        self._belief = Belief(ground.task, settings.mistake_margin)
        self._repeats = Repeats(ground, settings.near_duplicate)
        self._names = (
            NameBook(ground.task.labels, ground.shots, self._prompts, settings.invented_names) if ground.task.level == "word" else None
        )

    def first_rows(self) -> Growth:
        """The shots, with ``n_init`` texts made from them, and with ``n_first`` texts that look at no student.

        Raises:
            ConfigError: the budget does not cover them.
        """
        settings, chance = self._settings, self._chance(0)
        if settings.separated:
            self._calibrate()
        shots = gold_rows(self._ground.shots)
        if not settings.n_init and not settings.n_first:
            return Growth(round=0, rows=tuple(shots))
        briefing = self._briefing
        try:
            quota = Counter(briefing.names(briefing.even(settings.n_first))) + Counter(briefing.init_names(chance))
            names, asked, failed, seconds = self._invented_for(quota, NOTHING, 0)
            briefs, free = briefing.init(shots, chance, names)
            briefs += briefing.unaimed(settings.n_first, chance, names)
            # Variants of a shot are meant to be near to it. Later texts keep their distance from them as from all others.
            repeats = Repeats(self._ground, settings.near_duplicate, settings.near_own) if briefing.augments else self._repeats
            growth = self._grow(briefs, 0, "", seconds, asked=asked, failed=failed, free=free, repeats=repeats)
            self._repeats.hold(growth.rows)
        except BudgetExhausted:
            raise ConfigError(
                f"budget.tokens is smaller than what the first {settings.n_init + settings.n_first} texts take. Raise it, or ask for fewer "
                "of them (method.n_init, method.n_first)."
            ) from None
        return replace(growth, rows=(*shots, *growth.rows))

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        """Analysis, then hard and easy texts, labelled and judged."""
        chance = self._chance(round)
        exhibits = self._briefing.exhibits(feedback, chance)
        seconds: dict[str, float] = {}
        analysis, prompt, failed, asked = "", "", 0, 0
        if self._settings.feedback and self._settings.analysis and (exhibits.wrong or exhibits.correct):
            began = time.perf_counter()
            self._ground.on_phase("analysis", 1)
            prompt = self._render_analysis(feedback, exhibits)
            reply = self._teacher.ask([self._analysis_request(prompt, round)], self._ground.on_reply)[0]
            asked, failed = 1, int(bool(reply.error))
            analysis = clean(reply.text)
            seconds["analysis"] = time.perf_counter() - began
        names, more, lost, spent = self._invented_for(self._briefing.names(self._by_class(feedback)), feedback, round)
        briefs = self._briefing.briefs(feedback, exhibits, analysis, chance, names)
        growth = self._grow(briefs, round, analysis, {**seconds, **spent}, asked=asked + more, failed=failed + lost)
        return replace(growth, prompt=prompt)

    def sample_requests(self, count: int) -> dict[str, list[Request]]:
        """Real requests of each kind, ``count`` of each (one analysis), as a first round would send them; for planning.

        The shots stand in for the outcomes that are not there yet.
        """
        outcomes = tuple(Outcome(shot.id, shot.text, shot.label or "", shot.label or "", (1.0,), "gold", 0) for shot in self._ground.shots)
        scores = self._ground.task.scores(outcomes)
        feedback = self.aimed_at(Feedback(0, outcomes, scores, scores))
        chance = self._chance(0)
        exhibits = self._briefing.exhibits(feedback, chance)
        names = None if self._names is None else self._names.picker({}, ())
        briefs = self._briefing.briefs(feedback, exhibits, "", chance, names)
        briefs = briefs if self._settings.rounds else self._briefing.unaimed(self._settings.n_first, chance, names)
        chance.shuffle(briefs)
        requests: dict[str, list[Request]] = {
            "generation": list(self._writer.requests(briefs[:count], self._ground.seed, 1)),
        }
        if self._names is not None:
            quota = self._by_class(feedback) if self._settings.rounds else self._briefing.even(self._settings.n_first)
            requests["names"] = list[Request](self._names.requests(self._briefing.names(quota), self._ground.seed, 1))[:count]
        if self._settings.separated:
            texts = [shot.text for shot in self._ground.shots] + [example.text for example in self._ground.dev]
            requests["labelling"] = list(self._labeller.requests([Draft(text) for text in texts[:count]]))
        if self._settings.rounds and self._settings.analysis and self._settings.feedback:
            requests["analysis"] = [self._analysis_request(self._render_analysis(feedback, exhibits), 1)]
        return {kind: some for kind, some in requests.items() if some}

    def requests_a_round(self) -> dict[str, int]:
        """How many requests of each kind a round makes at most; without rounds, what the first rows take."""
        texts = self._settings.n_hard + self._settings.n_easy if self._settings.rounds else self._settings.n_first
        counts = {"generation": texts}
        if self._names is not None:
            counts["names"] = sum(self._briefing.names(self._briefing.even(texts)).values())
        if self._settings.separated:
            known = [Draft(example.text) for example in (*self._ground.shots, *self._ground.dev)]
            counts["labelling"] = round_up(texts * len(self._labeller.requests(known)) / max(1, len(known)))
        if self._settings.rounds and self._settings.analysis and self._settings.feedback:
            counts["analysis"] = 1
        return {kind: number for kind, number in counts.items() if number}

    def aimed_at(self, feedback: Feedback) -> Feedback:
        """What is believed of the feedback; nothing without feedback, so that not even the draws depend on the student."""
        if not self._settings.feedback:
            return Feedback(feedback.round, (), {})
        believed = self._belief.sift(feedback, self._ground.pool.rows)
        return replace(believed, per_class=feedback.on_dev) if self._settings.scores_from == "dev" else believed

    def _by_class(self, feedback: Feedback) -> dict[str, int]:
        """Texts of a round by class, hard and easy together."""
        total: Counter[str] = Counter()
        for quota in self._briefing.quota(feedback).values():
            total.update(quota)
        return dict(total)

    def _invented_for(self, quota: dict[str, int], feedback: Feedback, round: int) -> tuple[Picker | None, int, int, dict[str, float]]:
        """For NER the names of a round with the requests made and failed for them and the seconds that took; for other tasks nothing."""
        ground, began = self._ground, time.perf_counter()
        if self._names is None:
            return None, 0, 0, {}
        # A text that goes on from words that are none speaks of names, too: without a query of its own they would be taught as none.
        mistakes = (one for outcome in feedback.wrong for one in ground.task.mistakes(outcome) if one.right or self._settings.separated)
        if not any(quota.values()):
            return self._names.picker({}, ground.pool.rows, mistakes, feedback.outcomes), 0, 0, {}
        ground.on_phase("names", sum(quota.values()))
        new, asked, failed = self._names.invent(self._teacher, quota, ground.seed, round, ground.on_reply)
        return self._names.picker(new, ground.pool.rows, mistakes, feedback.outcomes), asked, failed, {"names": time.perf_counter() - began}

    def _chance(self, round: int) -> random.Random:
        return random.Random(int(record_id("method", self._ground.seed, round), 16))

    def _render_analysis(self, feedback: Feedback, exhibits: Exhibits) -> str:
        return self._prompts.render(
            "analysis",
            wrong=[self._ground.task.shown(outcome) for outcome in exhibits.wrong],
            correct=[self._ground.task.shown(outcome) for outcome in exhibits.correct],
            report={self._labels[name].word: score for name, score in feedback.per_class.items()} if self._settings.class_report else {},
        )

    def _analysis_request(self, prompt: str, round: int) -> GenerateRequest:
        return GenerateRequest(
            id="analysis",
            prompt=prompt,
            sampling=self._analysis_sampling,
            seed=int(record_id("analysis", self._ground.seed, round), 16) % 2**31,
        )

    def _grow(
        self,
        briefs: Sequence[Brief],
        round: int,
        analysis: str,
        seconds: dict[str, float],
        *,
        asked: int,
        failed: int,
        free: Sequence[Written] = (),
        repeats: Repeats | None = None,
    ) -> Growth:
        ground = self._ground
        began = time.perf_counter()
        ground.on_phase("generation", len(briefs))
        written = self._writer.write(self._teacher, briefs, ground.seed, round, ground.on_reply)
        seconds = {**seconds, "generation": time.perf_counter() - began}
        admission = Admission(self._labeller if self._settings.separated else None, self._acceptance, repeats or self._repeats)
        return admission.grow(ground, [*written, *free], self._writer, round, seconds, asked=asked, failed=failed, analysis=analysis)


def evokd(
    name: str,
    prompts: PromptSet,
    acceptance: Judge,
    new_labeller: NewLabeller,
    *,
    temperature: float,
    top_p: float,
    max_tokens: int,
    analysis_tokens: int,
    min_words: int,
    max_words: int,
    **settings: Any,
) -> EvoKD:
    """Build EvoKD from the flat values of conf/method/evokd.yaml; ``settings`` are those of :class:`EvoKDSettings`."""
    return EvoKD(
        name,
        EvoKDSettings(**settings),
        prompts,
        Sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens, stop=("\n",)),
        Sampling(temperature=0.0, max_tokens=analysis_tokens, stop=("\n",)),
        acceptance,
        new_labeller,
        min_words=min_words,
        max_words=max_words,
    )
