"""From a round's feedback to its briefs: how many texts of which class and kind, written from which demonstrations."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import product

from tutelage.methods.evokd_settings import EvoKDSettings
from tutelage.methods.exhibits import Exhibits
from tutelage.methods.quota import class_quota
from tutelage.methods.writing import Brief
from tutelage.records import Example, Feedback, Label, Row, Source


class Briefing:
    """Writes the briefs of a round.

    Args:
        labels: by name, in the task's order.
        shots: what may always be shown.
    """

    def __init__(self, settings: EvoKDSettings, labels: Mapping[str, Label], shots: Sequence[Example]) -> None:
        self._settings = settings
        self._labels = labels
        self._shots = shots
        cells = product(*settings.styles.values()) if settings.styles else [()]
        self._styles = [", ".join(value for value in cell if value) for cell in cells]

    def exhibits(self, feedback: Feedback, chance: random.Random) -> Exhibits:
        """What the teacher is shown of ``feedback``."""
        settings = self._settings
        return Exhibits(
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
        return [
            Brief(self._labels[row.target], "init", (row.text,), (row.id,), style=chance.choice(self._styles))
            for row in sorted(chosen, key=shots.index)
        ]

    def briefs(self, feedback: Feedback, exhibits: Exhibits, analysis: str, chance: random.Random) -> list[Brief]:
        """The briefs of a round: hard ones and then easy ones, more of both for weak classes."""
        settings = self._settings
        focus = settings.focus
        totals: dict[Source, int] = {"hard": settings.n_hard, "easy": settings.n_easy}
        if not settings.feedback:
            focus, totals = 0.0, {"easy": settings.n_hard + settings.n_easy}
        briefs = []
        for kind, total in totals.items():
            for name, count in class_quota(total, list(self._labels), feedback.per_class, focus).items():
                briefs += [self._brief(kind, name, exhibits, analysis, chance) for _ in range(count)]
        return briefs

    def _brief(self, kind: Source, name: str, exhibits: Exhibits, analysis: str, chance: random.Random) -> Brief:
        count, confused = self._settings.demonstrations, ""
        if not self._settings.feedback:
            shown = exhibits.from_shots(name, count)
        elif kind == "hard":
            shown, confused = exhibits.for_hard(name, count)
        else:
            shown = exhibits.for_easy(name, count)
        return Brief(
            label=self._labels[name],
            kind=kind,
            demonstrations=tuple(item.text for item in shown),
            parents=tuple(item.id for item in shown),
            confused_with=self._labels.get(confused),
            analysis=analysis if kind == "hard" else "",
            style=chance.choice(self._styles),
        )
