"""From a round's feedback to its briefs: how many texts of which class and kind, written from which demonstrations."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product

from tutelage.methods.evokd_settings import EvoKDSettings
from tutelage.methods.exhibits import Exhibits
from tutelage.methods.names import Picker, mentions_of
from tutelage.methods.quota import class_quota
from tutelage.methods.writing import Brief, Shown
from tutelage.records import Example, Feedback, Outcome, Row, Source
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.protocol import Task


class Briefing:
    """Writes the briefs of a round.

    Args:
        shots: what may always be shown.
        leads: for NER, what may stand before a text's name.
    """

    def __init__(self, task: Task, settings: EvoKDSettings, shots: Sequence[Example], leads: Sequence[str]) -> None:
        self._leads = leads
        self._task = task
        self._settings = settings
        self._labels = {label.name: label for label in task.labels}
        self._shots = shots
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

    def paraphrases(self, shots: Sequence[Row], chance: random.Random) -> list[Brief]:
        """Briefs for ``n_init`` paraphrases, shared evenly among the shots' rows (+Init)."""
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
        return Brief(
            label=self._labels[name],
            kind=kind,
            demonstrations=tuple(self._shown(item.text, item.target if isinstance(item, Outcome) else item.label or "") for item in shown),
            parents=tuple(item.id for item in shown),
            mentions=(picked.words,) if picked else (),
            types=(OUTSIDE,) if no_name else (),
            lead=chance.choice(self._leads) if names else None,
            confused_with=None if no_name else self._labels.get(confused),
            analysis=analysis if kind == "hard" else "",
            style=chance.choice(self._styles),
        )

    def _shown(self, text: str, target: str) -> Shown:
        return Shown(text, tuple(mention for mention, _ in mentions_of(text, target)) if self._task.level == "word" else ())
