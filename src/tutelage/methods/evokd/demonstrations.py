"""Which outcomes the teacher is shown, and which texts stand as demonstrations in a prompt."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tutelage.records import Example, Feedback, Outcome
from tutelage.tasks.protocol import Task


def balanced_sample(
    task: Task, outcomes: Sequence[Outcome], count: int, rng: random.Random
) -> list[Outcome]:
    """Draw at most ``count`` outcomes, one class after the other, so that no class fills the page."""
    by_class: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_class.setdefault(task.classes(outcome.target)[0], []).append(outcome)
    for members in by_class.values():
        rng.shuffle(members)
    classes = sorted(by_class)
    rng.shuffle(classes)
    drawn: list[Outcome] = []
    while len(drawn) < count and any(by_class[name] for name in classes):
        for name in classes:
            if by_class[name] and len(drawn) < count:
                drawn.append(by_class[name].pop())
    return drawn


class DemonstrationSampler:
    """The examples of one round: what the analysis reads and what the briefs are written from.

    Args:
        wrong, correct: how many outcomes of each kind the analysis is shown.
        confident_first: show the most confident mistakes instead of a balanced draw (PGKD's hard negatives).
    """

    def __init__(
        self,
        task: Task,
        feedback: Feedback,
        shots: Sequence[Example],
        *,
        wrong: int,
        correct: int,
        confident_first: bool,
        rng: random.Random,
    ) -> None:
        self._task = task
        self.wrong = (
            list(feedback.confident_wrong[:wrong])
            if confident_first
            else balanced_sample(task, feedback.wrong, wrong, rng)
        )
        self.correct = balanced_sample(task, feedback.correct, correct, rng)
        self._all_wrong = feedback.wrong
        # Without correct examples on show (the ablation) none of them may come back as a demonstration either.
        self._all_correct = feedback.correct if correct else ()
        self._shots = shots
        self._rng = rng

    def for_hard(self, label: str, count: int) -> tuple[list[Outcome | Example], str]:
        """Up to ``count`` demonstrations near the student's mistakes on ``label``, and what it took them for ("" if nothing).

        Mistakes first; where the class has none, what the student was least sure of; then the shots.
        """
        missed = [
            outcome
            for outcome in self._all_wrong
            if any(one.right == label for one in self._task.mistakes(outcome))
        ]
        drawn = self._rng.sample(missed, min(count, len(missed)))
        # What was missed was taken for nothing, and a wrong boundary is no confusion of two classes.
        mistakes = (
            one for outcome in drawn for one in self._task.mistakes(outcome) if one.right == label
        )
        confused = next((one.predicted for one in mistakes if one.predicted not in ("", label)), "")
        picked: list[Outcome | Example] = [*drawn]
        if len(picked) < count:
            uncertain = sorted(
                (o for o in self._all_correct if self._holds(o.target, label)),
                key=lambda o: (o.confidence, o.id),
            )
            candidates = uncertain[: 2 * count]
            picked += self._rng.sample(candidates, min(count - len(picked), len(candidates)))
        return self._with_shots(picked, label, count), confused

    def for_easy(self, label: str, count: int) -> list[Outcome | Example]:
        """Up to ``count`` demonstrations that the student gets right, then the shots."""
        known = [outcome for outcome in self._all_correct if self._holds(outcome.target, label)]
        picked: list[Outcome | Example] = list(self._rng.sample(known, min(count, len(known))))
        return self._with_shots(picked, label, count)

    def from_shots(self, label: str, count: int) -> list[Outcome | Example]:
        """Demonstrations from the shots alone."""
        return self._with_shots([], label, count)

    def _holds(self, target: str, label: str) -> bool:
        return label in self._task.classes(target)

    def _with_shots(
        self, picked: list[Outcome | Example], label: str, count: int
    ) -> list[Outcome | Example]:
        texts = {item.text for item in picked}
        spare = [
            shot
            for shot in self._shots
            if shot.label and self._holds(shot.label, label) and shot.text not in texts
        ]
        self._rng.shuffle(spare)
        # One place is always a shot's: the only demonstration that is certain to be right.
        kept = picked[: max(0, count - 1)] if spare else picked[:count]
        result = [*kept, *spare[: count - len(kept)]]
        self._rng.shuffle(result)
        return result
