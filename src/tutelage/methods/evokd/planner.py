"""Planning of EvoKD's rounds: texts per class, and the demonstrations and names for each text."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import ceil as round_up
from time import perf_counter
from typing import Any

from tutelage.errors import ConfigError
from tutelage.methods.base import Cost, MethodContext, gold_rows
from tutelage.methods.evokd.demonstrations import DemonstrationSampler, as_shown
from tutelage.methods.evokd.init_texts import InitPlanner, paraphrase_spec
from tutelage.methods.evokd.quota import Quota, TextGroup, by_class, class_quota, mistake_quota
from tutelage.methods.evokd.seeds import SeedTexts
from tutelage.methods.evokd.settings import EvoKDSettings
from tutelage.methods.generation.entity_names import Name, NameBook, Picker
from tutelage.methods.generation.specs import Candidate, GenerationSpec
from tutelage.records import Example, Feedback, Outcome, Row, Source, derive_seed
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import GenerateRequest, Teacher
from tutelage.teacher.prompts import PromptSet

NO_FEEDBACK = Feedback(0, (), {})
"""Feedback before there is a student."""


@dataclass(frozen=True, slots=True)
class RoundInput:
    """The input of a round's plan.

    Attributes:
        round: The round.
        feedback: The results of the round before.
        demonstrations: Outcomes and shots for the prompts.
        rng: Makes all draws of the round.
        seeds: Rows to rewrite, highest student loss first (``method.seeds=loss``).
        study: Variables of the template "report" (``method.class_report``); empty for no report.
    """

    round: int
    feedback: Feedback
    demonstrations: DemonstrationSampler
    rng: random.Random
    seeds: Sequence[Row] = ()
    study: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """The texts of a round.

    Attributes:
        specs: Specifications of the texts to request from the teacher.
        finished: Texts made without a request (+Init by LLM-DA).
        cost: Cost of the names the teacher invented.
    """

    specs: list[GenerationSpec]
    finished: list[Candidate] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)


def studied(task: Task, feedback: Feedback, demonstrations: DemonstrationSampler) -> dict[str, Any]:
    """Returns what PGKD shows of the student, as template variables.

    Args:
        task: The task.
        feedback: The results of the round before, for the scores per class.
        demonstrations: The outcomes to show.
    """
    words = {label.name: label.word for label in task.labels}
    return {
        "labels": task.labels,
        "report": {words[name]: score for name, score in feedback.per_class.items()},
        "wrong": [task.shown(outcome) for outcome in demonstrations.wrong],
        "confident": [task.shown(outcome) for outcome in demonstrations.confident],
        "correct": [task.shown(outcome) for outcome in demonstrations.correct],
    }


class RoundPlanner:
    """Plans the texts of a round: demonstrations, quota per class, names and styles.

    Args:
        context: The parts of the run.
        teacher: Invents names for NER.
        settings: The settings of the method.
        prompts: The prompt templates.

    Attributes:
        styles: The cells of the attribute grid; "" alone without one.

    Raises:
        ConfigError: +Init by LLM-DA is not possible with the task, the shots or the prompts.
    """

    def __init__(
        self,
        context: MethodContext,
        teacher: Teacher,
        settings: EvoKDSettings,
        prompts: PromptSet,
    ) -> None:
        self._context, self._task, self._teacher = context, context.task, teacher
        self._settings = settings
        self._labels = {label.name: label for label in context.task.labels}
        self._is_chat = prompts.asks_in_messages("hard")
        self._leads, self._links = prompts.leads, prompts.links
        # The texts whose content is rewritten.
        self._pool = context.unlabelled if settings.content == "pool" else ()
        if settings.content == "pool" and not (self._is_chat and self._pool):
            raise ConfigError(
                "method.content=pool lets the teacher rewrite texts of the unlabelled pool, which "
                "needs a pool and a teacher that is asked by chat. Give method.content=free, or "
                "data with a pool and prompt=chat."
            )
        # All combinations of one value per attribute, for instance "polite, short".
        cells = product(*settings.styles.values()) if settings.styles else [()]
        self.styles = [", ".join(value for value in cell if value) for cell in cells]
        self._init = InitPlanner(context, settings, prompts, self.styles)
        self._names: NameBook | None = None
        if context.task.is_token_level:
            self._names = NameBook(
                context.task.labels,
                context.shots,
                prompts,
                settings.invented_names,
                per_request=settings.texts_per_request,
            )

    @property
    def augments(self) -> bool:
        """True if +Init uses LLM-DA's variants of the shots."""
        return self._init.augments

    def round_input(self, feedback: Feedback, round: int, seeds: Sequence[Row] = ()) -> RoundInput:
        """Draws the outcomes for the analysis and prepares the other draws of a round.

        Args:
            feedback: The results that the round follows.
            round: The round.
            seeds: Rows to rewrite, highest student loss first.
        """
        given = replace(self._input(feedback, round, self._rng(round)), seeds=seeds)
        if self._settings.class_report and self._settings.follows_mistakes:
            return replace(given, study=studied(self._task, feedback, given.demonstrations))
        return given

    def groups(self, feedback: Feedback) -> list[TextGroup]:
        """Shares a round among kinds and classes: first the hard texts, then the easy ones.

        Args:
            feedback: The results that the round follows.
        """
        return [
            TextGroup(kind, label, count, rewrites=self._rewrites(kind))
            for kind, counts in self._quota(feedback).items()
            for label, count in counts.items()
        ]

    def plan(
        self, given: RoundInput, groups: Sequence[TextGroup], analysis: Callable[[str], str]
    ) -> RoundPlan:
        """Plans the texts of a round.

        For NER, asks the teacher for new names.

        Args:
            given: The input of the round.
            groups: What to ask for, as :meth:`groups` or the method shares it out.
            analysis: Returns the teacher's analysis of the mistakes for the hard prompts of a
                class; "" for none.

        Raises:
            BudgetExhausted: The token budget ran out.
        """
        # A rewriting keeps the names of its row.
        written = by_class(group for group in groups if not group.rewrites)
        names, cost = self._invent_names(self._names_needed(written), given.feedback, given.round)
        return RoundPlan(self._specs(groups, given, analysis, names), cost=cost)

    def first_plan(self, shots: Sequence[Row]) -> RoundPlan:
        """Plans the texts of round 0: ``n_init`` variants of the shots, then ``n_first`` texts.

        For NER, asks the teacher for new names.

        Args:
            shots: The rows of the shots.

        Raises:
            BudgetExhausted: The token budget ran out.
        """
        rng = self._rng(0)
        # Names for both kinds of text come from one batch of requests.
        needed = Counter(self._names_needed(self._even(self._settings.n_first)))
        needed += Counter(self._init.names_needed(rng))
        names, cost = self._invent_names(needed, NO_FEEDBACK, 0)
        specs, finished = self._init.plan(shots, rng, names)
        return RoundPlan([*specs, *self._first_specs(rng, names)], finished, cost)

    def preview(
        self, given: RoundInput, groups: Sequence[TextGroup]
    ) -> tuple[list[GenerationSpec], list[GenerateRequest]]:
        """Plans a round without asking the teacher, for ``tutelage plan``.

        Names of the shots replace invented ones. Without rounds, plans the first rows.

        Args:
            given: The input of the round.
            groups: What to ask for.

        Returns:
            The specifications of the texts in random order, and the requests for names.
        """
        names = None if self._names is None else self._names.picker({}, ())
        specs, texts = self._specs(groups, given, _no_analysis, names), by_class(groups)
        # Only the first rows cost anything in a run without rounds.
        if not self._settings.rounds:
            specs = self._first_specs(given.rng, names)
            texts = self._even(self._settings.n_first)
        given.rng.shuffle(specs)
        if self._names is None:
            return specs, []
        return specs, self._names.requests(self._names_needed(texts), self._context.seed, 1)

    def counts(self) -> dict[str, int]:
        """Returns the maximum number of texts, and of requests for names, per round.

        Without rounds, counts those of the first rows.
        """
        settings = self._settings
        texts = settings.n_hard + settings.n_easy if settings.rounds else settings.n_first
        counts = {"generation": texts}
        if self._names is not None:
            counts["names"] = self._names.request_count(self._names_needed(self._even(texts)))
        return counts

    def _rng(self, round: int) -> random.Random:
        return random.Random(derive_seed("method", self._context.seed, round))

    def _input(self, feedback: Feedback, round: int, rng: random.Random) -> RoundInput:
        settings = self._settings
        sampler = DemonstrationSampler(
            self._task,
            feedback,
            self._context.shots,
            wrong=settings.n_wrong,
            correct=settings.n_correct,
            confident=settings.n_confident,
            rng=rng,
            known=self._real_texts() if self._is_chat else (),
            takes_turns=self._is_chat,
            seeds=SeedTexts(settings.seeds, self._task, self._context.pool.rows)
            if settings.shows_seeds
            else None,
        )
        return RoundInput(round, feedback, sampler, rng)

    def _real_texts(self) -> list[Example]:
        """Returns the pool texts that the teacher labelled in earlier rounds."""
        rows = self._context.pool.accepted() if self._settings.labels_pool else ()
        return [Example(row.id, row.text, row.target) for row in rows if row.source == "pool"]

    # Quotas

    def _quota(self, feedback: Feedback) -> Quota:
        """Returns the quota of a round: more texts for weak classes.

        Hard texts towards mistakes on the pool go where these mistakes are. Without feedback, all
        texts are easy ones, shared evenly.
        """
        settings = self._settings
        focus = settings.focus
        totals: dict[Source, int] = {"hard": settings.n_hard, "easy": settings.n_easy}
        if not settings.follows_mistakes:
            focus, totals = 0.0, {"easy": settings.n_hard + settings.n_easy}
        names = list(self._labels)
        quota: Quota = {
            kind: class_quota(total, names, feedback.per_class, focus)
            for kind, total in totals.items()
        }
        if settings.labels_pool:
            mistakes = Counter(
                one.right for outcome in feedback.wrong for one in self._task.mistakes(outcome)
            )
            quota["hard"] = mistake_quota(totals["hard"], names, mistakes, focus)
        return quota

    def _even(self, count: int) -> dict[str, int]:
        return class_quota(count, list(self._labels), {}, focus=0.0)

    # Names

    def _names_needed(self, texts: Mapping[str, int]) -> dict[str, int]:
        """Returns the number of names to invent, by type.

        Each text takes one of its own type, and on average (``names_a_text`` - 1) / 2 further ones
        of any type.

        Args:
            texts: Number of texts by type.
        """
        further = self._even(round_up(sum(texts.values()) * (self._settings.names_a_text - 1) / 2))
        return {name: texts.get(name, 0) + further[name] for name in self._labels}

    def _invent_names(
        self, needed: Mapping[str, int], feedback: Feedback, round: int
    ) -> tuple[Picker | None, Cost]:
        """Collects the names of a round, with new ones from the teacher; None without entities."""
        context, began = self._context, perf_counter()
        if self._names is None:
            return None, Cost()
        # A text around words that are no name usually mentions names too. Without labelling they
        # would be trained on as none, so only real names are used then.
        mistakes = (
            mistake
            for outcome in feedback.wrong
            for mistake in self._task.mistakes(outcome)
            if mistake.right or self._settings.separated
        )
        new: Mapping[str, Sequence[str]] = {}
        cost = Cost()
        if any(needed.values()):
            context.on_phase("names", self._names.request_count(needed))
            new, asked, failed = self._names.invent(
                self._teacher, needed, context.seed, round, context.on_reply
            )
            cost = Cost(asked, failed, {"names": perf_counter() - began})
        return self._names.picker(new, context.pool.rows, mistakes, feedback.outcomes), cost

    def _further_names(self, first: Name, names: Picker, rng: random.Random) -> list[Name]:
        """Draws up to ``names_a_text`` - 1 further names of any type, without repeats."""
        most = self._settings.names_a_text
        further: list[Name] = []
        # The number of names is uniform from 1 to names_a_text; a repeated name is left out.
        for _ in range(rng.randint(1, most) - 1 if most > 1 else 0):
            name = names.pick(rng.choice(list(self._labels)), "easy", rng)
            if name.words and name.words not in (first.words, *(one.words for one in further)):
                further.append(name)
        return further

    # Specifications

    def _specs(
        self,
        groups: Sequence[TextGroup],
        given: RoundInput,
        analysis: Callable[[str], str],
        names: Picker | None,
    ) -> list[GenerationSpec]:
        return [
            replace(spec, detail=group.detail)
            for group in groups
            for spec in (
                self._rewritings(group, given)
                if group.rewrites
                else [
                    self._spec(group, given, analysis(group.label), names, partner)
                    for partner in self._partners(group, given)
                ]
            )
        ]

    def _rewrites(self, kind: Source) -> bool:
        return kind == "hard" and self._settings.seeds == "loss"

    def _rewritings(self, group: TextGroup, given: RoundInput) -> list[GenerationSpec]:
        """Plans rewritings of the rows of a class with the highest loss; without any, of shots."""
        rows = [
            row
            for some in (given.seeds, gold_rows(self._context.shots))
            for row in some
            if group.label in self._task.classes(row.target)
        ]
        rows = rows[: group.count]
        # More texts than rows: several rewritings of each, one after the other.
        chosen = sorted(range(group.count if rows else 0), key=lambda number: number % len(rows))
        return [
            paraphrase_spec(
                self._task,
                rows[number % len(rows)],
                self._labels[group.label],
                "hard",
                self._style(group, given.rng),
            )
            for number in chosen
        ]

    def _style(self, group: TextGroup, rng: random.Random) -> str:
        return rng.choice(self.styles) if group.style is None else group.style

    def _partners(self, group: TextGroup, given: RoundInput) -> list[str]:
        if group.partner is None and group.kind == "hard" and self._settings.pairs:
            return given.demonstrations.partners(group.label, group.count)
        return [group.partner or ""] * group.count

    def _first_specs(self, rng: random.Random, names: Picker | None) -> list[GenerationSpec]:
        """Plans ``n_first`` easy texts without a student: even quota, shots as demonstrations."""
        even = self._even(self._settings.n_first)
        groups = [TextGroup("easy", label, count) for label, count in even.items()]
        return self._specs(groups, self._input(NO_FEEDBACK, 0, rng), _no_analysis, names)

    def _spec(
        self,
        group: TextGroup,
        given: RoundInput,
        analysis: str,
        names: Picker | None,
        partner: str,
    ) -> GenerationSpec:
        kind, label = group.kind, group.label
        # Draw the demonstrations.
        sampler, count, confused = given.demonstrations, self._settings.demonstrations, ""
        mistakes: list[Outcome] = []
        if not self._settings.follows_mistakes:
            shown = sampler.from_shots(label, count)
        elif kind == "hard":
            shown, confused, mistakes = sampler.for_hard(label, count, partner)
        else:
            shown = sampler.for_easy(label, count)
        # A chat says of each mistake what the student took it for.
        if self._is_chat:
            shown = [item for item in shown if item not in mistakes]
        else:
            mistakes = []

        # For NER, draw the names of the text.
        rng, first, further = given.rng, None, list[Name]()
        types: tuple[str, ...] = ()
        if names is not None:
            first = names.pick(label, kind, rng)
            if first.type == OUTSIDE:
                types = (OUTSIDE,)
            elif further := self._further_names(first, names, rng):
                types = (label, *(name.type for name in further))

        return GenerationSpec(
            label=self._labels[label],
            kind=kind,
            demonstrations=tuple(
                as_shown(
                    self._task,
                    item.text,
                    item.target if isinstance(item, Outcome) else item.label or "",
                )
                for item in shown
            ),
            parents=tuple(item.id for item in (*shown, *mistakes)),
            mentions=(first.words, *(name.words for name in further)) if first else (),
            types=types,
            # A chat places the names where it likes.
            lead=rng.choice(self._leads) if first and self._leads else None,
            links=tuple("" if self._is_chat else rng.choice(self._links) for _ in further),
            # "Not of this class" would contradict a further name of the class.
            confused_with=None if types else self._labels.get(confused),
            mistakes=tuple(self._task.shown(outcome) for outcome in mistakes),
            analysis=analysis if kind == "hard" else "",
            style=self._style(group, rng),
            source=rng.choice(self._pool).text if self._pool else "",
            study=given.study,
        )


def _no_analysis(_: str) -> str:
    return ""
