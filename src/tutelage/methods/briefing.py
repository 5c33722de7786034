"""From a round's feedback to its briefs: how many texts of which class and kind, written from which demonstrations."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import product
from math import ceil as round_up

from tutelage.errors import ConfigError
from tutelage.methods.augmentation import Augmentation
from tutelage.methods.evokd_settings import EvoKDSettings
from tutelage.methods.exhibits import Exhibits
from tutelage.methods.names import Name, Picker, mentions_of
from tutelage.methods.protocol import Ground
from tutelage.methods.quota import class_quota
from tutelage.methods.writing import Brief, Shown, Written
from tutelage.records import Feedback, Outcome, Row, Source
from tutelage.tasks.ner import OUTSIDE
from tutelage.teacher.prompts import PromptSet

INIT_MODES = ("rewrite", "replace", "both")
"""LLM-DA's ways of making a text that +Init takes: all but noise."""


class Briefing:
    """Writes the briefs of a round, and those of the first rows.

    Raises:
        ConfigError: +Init is to be made by LLM-DA and the task, the shots or the prompts do not allow it.
    """

    def __init__(self, ground: Ground, settings: EvoKDSettings, prompts: PromptSet) -> None:
        self._leads, self._links = prompts.leads, prompts.links
        self._task = ground.task
        self._settings = settings
        self._labels = {label.name: label for label in ground.task.labels}
        self._shots = ground.shots
        self._augmentation = self._new_augmentation(ground, prompts)
        cells = product(*settings.styles.values()) if settings.styles else [()]
        self._styles = [", ".join(value for value in cell if value) for cell in cells]

    def exhibits(self, feedback: Feedback, chance: random.Random) -> Exhibits:
        """What the teacher is shown of ``feedback``."""
        settings = self._settings
        return Exhibits(
            self._task,
            feedback,
            self._shots,
            wrong=settings.n_wrong,
            correct=settings.n_correct,
            confident_first=settings.confident_wrong,
            chance=chance,
        )

    @property
    def augments(self) -> bool:
        """True where +Init's texts are LLM-DA's variants of the shots."""
        return self._augmentation is not None

    def init_names(self, chance: random.Random) -> dict[str, int]:
        """How many names of each type +Init wants invented."""
        return {} if self._augmentation is None else self._augmentation.wanted(self._augmentation.turns(1, (), chance))

    def init(self, shots: Sequence[Row], chance: random.Random, names: Picker | None) -> tuple[list[Brief], list[Written]]:
        """Briefs for ``n_init`` texts made from the shots' rows (+Init), and those of the texts that need no teacher."""
        if self._augmentation is None or names is None:
            return self._paraphrases(shots, chance), []
        return self._augmentation.drafts(self._augmentation.turns(1, (), chance), names, chance)

    def _new_augmentation(self, ground: Ground, prompts: PromptSet) -> Augmentation | None:
        settings, by_word = self._settings, ground.task.level == "word"
        if settings.init == "llm_da" and not by_word:
            raise ConfigError("method.init=llm_da keeps the entities of sentences, and this task has none. Take method.init=paraphrase.")
        if not settings.n_init or not by_word or settings.init == "paraphrase":
            return None
        prompts.require("rewrite")
        return Augmentation(ground, "init", settings.n_init, INIT_MODES, prompts.strategies, settings.invented_names)

    def _paraphrases(self, shots: Sequence[Row], chance: random.Random) -> list[Brief]:
        """Shared evenly among the shots."""
        chosen = [shots[number % len(shots)] for number in range(self._settings.n_init)]
        briefs = []
        for row in sorted(chosen, key=shots.index):
            shown, label = self._shown(row.text, row.target), self._labels[self._task.classes(row.target)[0]]
            types = tuple(type for _, type in mentions_of(row.text, row.target)) if shown.mentions else ()
            style = chance.choice(self._styles)
            briefs.append(Brief(label, "init", (shown,), (row.id,), mentions=shown.mentions, types=types, style=style))
        return briefs

    def quota(self, feedback: Feedback) -> dict[Source, dict[str, int]]:
        """How many texts of each kind and class a round asks for: more of both kinds for weak classes."""
        settings = self._settings
        focus = settings.focus
        totals: dict[Source, int] = {"hard": settings.n_hard, "easy": settings.n_easy}
        if not settings.feedback:
            focus, totals = 0.0, {"easy": settings.n_hard + settings.n_easy}
        return {kind: class_quota(total, list(self._labels), feedback.per_class, focus) for kind, total in totals.items()}

    def even(self, count: int) -> dict[str, int]:
        """``count`` texts shared evenly by the classes."""
        return class_quota(count, list(self._labels), {}, focus=0.0)

    def names(self, quota: Mapping[str, int]) -> dict[str, int]:
        """How many names of each type the texts of ``quota`` take: each its own, and the further ones of a text, which are of any type."""
        further = self.even(round_up(sum(quota.values()) * (self._settings.names_a_text - 1) / 2))
        return {name: quota.get(name, 0) + further[name] for name in self._labels}

    def unaimed(self, count: int, chance: random.Random, names: Picker | None = None) -> list[Brief]:
        """Briefs for ``count`` easy texts that look at no student: evenly shared by the classes, with demonstrations of the shots alone."""
        exhibits = self.exhibits(Feedback(0, (), {}), chance)
        return [self._brief("easy", name, exhibits, "", chance, names) for name, number in self.even(count).items() for _ in range(number)]

    def briefs(
        self, feedback: Feedback, exhibits: Exhibits, analysis: str, chance: random.Random, names: Picker | None = None
    ) -> list[Brief]:
        """The briefs of a round: hard ones and then easy ones; for NER each around a name from ``names``."""
        briefs = []
        for kind, quota in self.quota(feedback).items():
            for name, count in quota.items():
                briefs += [self._brief(kind, name, exhibits, analysis, chance, names) for _ in range(count)]
        return briefs

    def _brief(self, kind: Source, name: str, exhibits: Exhibits, analysis: str, chance: random.Random, names: Picker | None) -> Brief:
        count, confused = self._settings.demonstrations, ""
        if not self._settings.feedback:
            shown = exhibits.from_shots(name, count)
        elif kind == "hard":
            shown, confused = exhibits.for_hard(name, count)
        else:
            shown = exhibits.for_easy(name, count)
        picked = names.pick(name, kind, chance) if names else None
        no_name = picked is not None and picked.type == OUTSIDE
        further = self._further(picked, names, chance) if names and picked and not no_name else []
        return Brief(
            label=self._labels[name],
            kind=kind,
            demonstrations=tuple(self._shown(item.text, item.target if isinstance(item, Outcome) else item.label or "") for item in shown),
            parents=tuple(item.id for item in shown),
            mentions=(picked.words, *(one.words for one in further)) if picked else (),
            types=(name, *(one.type for one in further)) if further else (OUTSIDE,) if no_name else (),
            lead=chance.choice(self._leads) if names else None,
            links=tuple(chance.choice(self._links) for _ in further),
            # What it is not to be may be what a further name is.
            confused_with=None if no_name or further else self._labels.get(confused),
            analysis=analysis if kind == "hard" else "",
            style=chance.choice(self._styles),
        )

    def _further(self, first: Name, names: Picker, chance: random.Random) -> list[Name]:
        """Other names, of any type, that the same text is to begin with; none where one name a text is all."""
        most = self._settings.names_a_text
        further: list[Name] = []
        for _ in range(chance.randint(1, most) - 1 if most > 1 else 0):
            one = names.pick(chance.choice(list(self._labels)), "easy", chance)
            if one.words and one.words not in (first.words, *(other.words for other in further)):
                further.append(one)
        return further

    def _shown(self, text: str, target: str) -> Shown:
        return Shown(text, tuple(mention for mention, _ in mentions_of(text, target)) if self._task.level == "word" else ())
