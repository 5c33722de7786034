"""FOLD: methods.evokd.planner."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import product
from math import ceil as round_up

from tutelage.errors import ConfigError
from tutelage.methods.base import MethodContext
from tutelage.methods.evokd.demonstrations import DemonstrationSampler
from tutelage.methods.evokd.settings import EvoKDSettings
from tutelage.methods.generation.augmentation import Augmentation
from tutelage.methods.generation.entity_names import Name, Picker, mentions_of
from tutelage.methods.generation.writer import Candidate, GenerationSpec, Shown
from tutelage.records import ClassScore, Feedback, Outcome, Row, Source
from tutelage.tasks.ner import OUTSIDE
from tutelage.teacher.prompts import PromptSet


# FOLD: How many texts a round asks for, by class: more where the student is weak (EvoKD's adaptivity).
def class_quota(
    total: int,
    labels: Sequence[str],
    scores: Mapping[str, ClassScore],
    focus: float,
    smoothing: float = 4.0,
    slack: float = 0.1,
) -> dict[str, int]:
    """Share ``total`` among ``labels``: a part evenly, a part in proportion to 1 - F1.

    F1 of a class is drawn towards the mean by ``smoothing`` examples' worth, since a round's batch holds few of each class, and
    ``slack`` is added to every weakness: where all are near 0 a single mistake must not draw half a round to its class.
    Rounded by largest remainder, ties in label order; the values sum to ``total``.

    Args:
        focus: the part shared by weakness, in [0, 1]; 0 is even.
    """
    f1 = {label: scores[label].f1 if label in scores else 0.0 for label in labels}
    support = {label: scores[label].support if label in scores else 0 for label in labels}
    mean = sum(f1.values()) / len(labels)
    weakness = {
        label: slack
        + 1.0
        - (f1[label] * support[label] + mean * smoothing) / (support[label] + smoothing)
        for label in labels
    }
    whole = sum(weakness.values())
    shares = {
        label: total
        * (
            (1 - focus) / len(labels)
            + focus * (weakness[label] / whole if whole > 0 else 1 / len(labels))
        )
        for label in labels
    }
    quota = {label: int(share) for label, share in shares.items()}
    by_remainder = sorted(labels, key=lambda label: -(shares[label] - quota[label]))
    for label in by_remainder[: total - sum(quota.values())]:
        quota[label] += 1
    return quota


# FOLD: From a round's feedback to its briefs: how many texts of which class and kind, written from which demonstrations.
INIT_MODES = ("rewrite", "replace", "both")
"""LLM-DA's ways of making a text that +Init takes: all but noise."""


class RoundPlanner:
    """Writes the briefs of a round, and those of the first rows.

    Raises:
        ConfigError: +Init is to be made by LLM-DA and the task, the shots or the prompts do not allow it.
    """

    def __init__(self, context: MethodContext, settings: EvoKDSettings, prompts: PromptSet) -> None:
        self._leads, self._links = prompts.leads, prompts.links
        self._task = context.task
        self._settings = settings
        self._labels = {label.name: label for label in context.task.labels}
        self._shots = context.shots
        self._augmentation = self._new_augmentation(context, prompts)
        cells = product(*settings.styles.values()) if settings.styles else [()]
        self._styles = [", ".join(value for value in cell if value) for cell in cells]

    def sampler(self, feedback: Feedback, rng: random.Random) -> DemonstrationSampler:
        """What the teacher is shown of ``feedback``."""
        settings = self._settings
        return DemonstrationSampler(
            self._task,
            feedback,
            self._shots,
            wrong=settings.n_wrong,
            correct=settings.n_correct,
            confident_first=settings.confident_wrong,
            rng=rng,
        )

    @property
    def augments(self) -> bool:
        """True where +Init's texts are LLM-DA's variants of the shots."""
        return self._augmentation is not None

    def init_names(self, rng: random.Random) -> dict[str, int]:
        """How many names of each type +Init wants invented."""
        return (
            {}
            if self._augmentation is None
            else self._augmentation.wanted(self._augmentation.turns(1, (), rng))
        )

    def init(
        self, shots: Sequence[Row], rng: random.Random, names: Picker | None
    ) -> tuple[list[GenerationSpec], list[Candidate]]:
        """Briefs for ``n_init`` texts made from the shots' rows (+Init), and those of the texts that need no teacher."""
        if self._augmentation is None or names is None:
            return self._paraphrases(shots, rng), []
        return self._augmentation.drafts(self._augmentation.turns(1, (), rng), names, rng)

    def _new_augmentation(self, context: MethodContext, prompts: PromptSet) -> Augmentation | None:
        settings, by_word = self._settings, context.task.is_token_level
        if settings.init == "llm_da" and not by_word:
            raise ConfigError(
                "method.init=llm_da keeps the entities of sentences, and this task has none. Take method.init=paraphrase."
            )
        if not settings.n_init or not by_word or settings.init == "paraphrase":
            return None
        prompts.require("rewrite")
        return Augmentation(
            context,
            "init",
            settings.n_init,
            INIT_MODES,
            prompts.strategies,
            settings.invented_names,
        )

    def _paraphrases(self, shots: Sequence[Row], rng: random.Random) -> list[GenerationSpec]:
        """Shared evenly among the shots."""
        chosen = [shots[number % len(shots)] for number in range(self._settings.n_init)]
        specs = []
        for row in sorted(chosen, key=shots.index):
            shown, label = (
                self._shown(row.text, row.target),
                self._labels[self._task.classes(row.target)[0]],
            )
            types = (
                tuple(type for _, type in mentions_of(row.text, row.target))
                if shown.mentions
                else ()
            )
            style = rng.choice(self._styles)
            specs.append(
                GenerationSpec(
                    label,
                    "init",
                    (shown,),
                    (row.id,),
                    mentions=shown.mentions,
                    types=types,
                    style=style,
                )
            )
        return specs

    def quota(self, feedback: Feedback) -> dict[Source, dict[str, int]]:
        """How many texts of each kind and class a round asks for: more of both kinds for weak classes."""
        settings = self._settings
        focus = settings.focus
        totals: dict[Source, int] = {"hard": settings.n_hard, "easy": settings.n_easy}
        if not settings.feedback:
            focus, totals = 0.0, {"easy": settings.n_hard + settings.n_easy}
        return {
            kind: class_quota(total, list(self._labels), feedback.per_class, focus)
            for kind, total in totals.items()
        }

    def even(self, count: int) -> dict[str, int]:
        """``count`` texts shared evenly by the classes."""
        return class_quota(count, list(self._labels), {}, focus=0.0)

    def names(self, quota: Mapping[str, int]) -> dict[str, int]:
        """How many names of each type the texts of ``quota`` take: each its own, and the further ones of a text, which are of any type."""
        further = self.even(round_up(sum(quota.values()) * (self._settings.names_a_text - 1) / 2))
        return {name: quota.get(name, 0) + further[name] for name in self._labels}

    def unaimed(
        self, count: int, rng: random.Random, names: Picker | None = None
    ) -> list[GenerationSpec]:
        """Briefs for ``count`` easy texts that look at no student: evenly shared by the classes, with demonstrations of the shots alone."""
        sampler = self.sampler(Feedback(0, (), {}), rng)
        return [
            self._spec("easy", name, sampler, "", rng, names)
            for name, number in self.even(count).items()
            for _ in range(number)
        ]

    def specs(
        self,
        feedback: Feedback,
        sampler: DemonstrationSampler,
        analysis: str,
        rng: random.Random,
        names: Picker | None = None,
    ) -> list[GenerationSpec]:
        """The briefs of a round: hard ones and then easy ones; for NER each around a name from ``names``."""
        specs = []
        for kind, quota in self.quota(feedback).items():
            for name, count in quota.items():
                specs += [
                    self._spec(kind, name, sampler, analysis, rng, names) for _ in range(count)
                ]
        return specs

    def _spec(
        self,
        kind: Source,
        name: str,
        sampler: DemonstrationSampler,
        analysis: str,
        rng: random.Random,
        names: Picker | None,
    ) -> GenerationSpec:
        count, confused = self._settings.demonstrations, ""
        if not self._settings.feedback:
            shown = sampler.from_shots(name, count)
        elif kind == "hard":
            shown, confused = sampler.for_hard(name, count)
        else:
            shown = sampler.for_easy(name, count)
        picked = names.pick(name, kind, rng) if names else None
        no_name = picked is not None and picked.type == OUTSIDE
        further = self._further(picked, names, rng) if names and picked and not no_name else []
        return GenerationSpec(
            label=self._labels[name],
            kind=kind,
            demonstrations=tuple(
                self._shown(
                    item.text, item.target if isinstance(item, Outcome) else item.label or ""
                )
                for item in shown
            ),
            parents=tuple(item.id for item in shown),
            mentions=(picked.words, *(one.words for one in further)) if picked else (),
            types=(name, *(one.type for one in further))
            if further
            else (OUTSIDE,)
            if no_name
            else (),
            lead=rng.choice(self._leads) if names else None,
            links=tuple(rng.choice(self._links) for _ in further),
            # What it is not to be may be what a further name is.
            confused_with=None if no_name or further else self._labels.get(confused),
            analysis=analysis if kind == "hard" else "",
            style=rng.choice(self._styles),
        )

    def _further(self, first: Name, names: Picker, rng: random.Random) -> list[Name]:
        """Other names, of any type, that the same text is to begin with; none where one name a text is all."""
        most = self._settings.names_a_text
        further: list[Name] = []
        for _ in range(rng.randint(1, most) - 1 if most > 1 else 0):
            one = names.pick(rng.choice(list(self._labels)), "easy", rng)
            if one.words and one.words not in (first.words, *(other.words for other in further)):
                further.append(one)
        return further

    def _shown(self, text: str, target: str) -> Shown:
        return Shown(
            text,
            tuple(mention for mention, _ in mentions_of(text, target))
            if self._task.is_token_level
            else (),
        )
