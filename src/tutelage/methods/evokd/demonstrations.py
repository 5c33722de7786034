"""Selection of the outcomes for the analysis, and of the demonstrations for each new text."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from tutelage.methods.generation.mentions import mentions_of
from tutelage.methods.generation.specs import Shown
from tutelage.records import Example, Feedback, Outcome
from tutelage.tasks.protocol import Task


def balanced_sample(
    task: Task, outcomes: Sequence[Outcome], count: int, rng: random.Random
) -> list[Outcome]:
    """Draws outcomes from the classes in turn, so that no class dominates.

    Args:
        task: The task; an outcome belongs to the first class of its target.
        outcomes: The outcomes to draw from.
        count: Maximum number of outcomes.
        rng: Makes the draws.
    """
    # Shuffle within each class, and the order of the classes.
    by_class: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_class.setdefault(task.classes(outcome.target)[0], []).append(outcome)
    for members in by_class.values():
        rng.shuffle(members)
    classes = sorted(by_class)
    rng.shuffle(classes)
    # Take one outcome per class and turn.
    drawn: list[Outcome] = []
    while len(drawn) < count and any(by_class[name] for name in classes):
        for name in classes:
            if by_class[name] and len(drawn) < count:
                drawn.append(by_class[name].pop())
    return drawn


def as_shown(task: Task, text: str, target: str) -> Shown:
    """Returns a text as a demonstration in a prompt, for NER with its entities."""
    if not task.is_token_level:
        return Shown(text)
    return Shown(text, tuple(mention for mention, _ in mentions_of(text, target)))


class HardExamples(NamedTuple):
    """What a hard text is written near to.

    Attributes:
        shown: The demonstrations, mistakes among them.
        confused_with: The class predicted in the mistakes; "" if there is none.
        mistakes: The mistakes.
    """

    shown: list[Outcome | Example]
    confused_with: str
    mistakes: list[Outcome]


class DemonstrationSampler:
    """The examples of one round, for the analysis and for the generation prompts.

    Args:
        task: The task.
        feedback: The results of the previous round.
        shots: The labelled examples of the run.
        wrong: Maximum number of mistakes in the analysis.
        correct: Maximum number of correct outcomes in the analysis.
        confident_first: Show the most confident mistakes instead of a balanced sample (the hard
            negatives of PGKD).
        rng: Makes all draws.

    Attributes:
        wrong: The mistakes shown in the analysis.
        correct: The correct outcomes shown in the analysis.
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
        # Correct outcomes missing from the analysis (the ablation) are no demonstrations either.
        self._all_correct = feedback.correct if correct else ()
        self._shots = shots
        self._rng = rng

    def for_hard(self, label: str, count: int) -> HardExamples:
        """Draws demonstrations near the student's mistakes on a class.

        Mistakes come first; a class without enough of them adds correct outcomes of the lowest
        confidence, then shots.

        Args:
            label: The class.
            count: Maximum number of demonstrations.
        """
        # Mistakes on the class; for NER, an outcome counts under each of its mistakes.
        missed = [
            outcome
            for outcome in self._all_wrong
            if any(one.right == label for one in self._task.mistakes(outcome))
        ]
        drawn = self._rng.sample(missed, min(count, len(missed)))
        # A missed entity was taken for no class, and a wrong boundary confuses no classes.
        mistakes = (
            one for outcome in drawn for one in self._task.mistakes(outcome) if one.right == label
        )
        confused = next((one.predicted for one in mistakes if one.predicted not in ("", label)), "")
        picked: list[Outcome | Example] = [*drawn]
        # Fill up with correct outcomes near the decision boundary.
        if len(picked) < count:
            uncertain = sorted(
                (o for o in self._all_correct if self._holds(o.target, label)),
                key=lambda o: (o.confidence, o.id),
            )
            candidates = uncertain[: 2 * count]
            picked += self._rng.sample(candidates, min(count - len(picked), len(candidates)))
        return HardExamples(self._with_shots(picked, label, count), confused, drawn)

    def for_easy(self, label: str, count: int) -> list[Outcome | Example]:
        """Draws demonstrations of a class the student gets right, then shots.

        Args:
            label: The class.
            count: Maximum number of demonstrations.
        """
        known = [outcome for outcome in self._all_correct if self._holds(outcome.target, label)]
        picked: list[Outcome | Example] = list(self._rng.sample(known, min(count, len(known))))
        return self._with_shots(picked, label, count)

    def from_shots(self, label: str, count: int) -> list[Outcome | Example]:
        """Draws demonstrations of a class from the shots alone.

        Args:
            label: The class.
            count: Maximum number of demonstrations.
        """
        return self._with_shots([], label, count)

    def _holds(self, target: str, label: str) -> bool:
        return label in self._task.classes(target)

    def _with_shots(
        self, picked: list[Outcome | Example], label: str, count: int
    ) -> list[Outcome | Example]:
        texts = {item.text for item in picked}
        # Shots of the class that are not shown already.
        spare = [
            shot
            for shot in self._shots
            if shot.label and self._holds(shot.label, label) and shot.text not in texts
        ]
        self._rng.shuffle(spare)
        # One of them is always a shot: the only demonstration with a certain label.
        kept = picked[: max(0, count - 1)] if spare else picked[:count]
        # Shuffled, so no kind of demonstration always stands next to the new text.
        result = [*kept, *spare[: count - len(kept)]]
        self._rng.shuffle(result)
        return result
