"""Selection of the outcomes for the analysis, and of the demonstrations for each new text."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from math import log
from typing import NamedTuple, TypeVar

from tutelage.methods.evokd.seeds import SeedTexts
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


def student_loss(task: Task, outcome: Outcome) -> float:
    """Returns the student's loss on one text, in nats.

    For classes the cross-entropy of the target. For NER -log(p) where the reading is right and
    -log(1 - p) where it is wrong, with the probability p of its least certain word.

    Args:
        task: The task.
        outcome: The student's prediction.
    """
    if task.is_token_level:
        right = outcome.confidence if outcome.correct else 1.0 - outcome.confidence
    else:
        names = [label.name for label in task.labels]
        right = outcome.probabilities[names.index(outcome.target)]
    return -log(max(right, 1e-12))


def confused_pairs(task: Task, outcomes: Sequence[Outcome]) -> Counter[tuple[str, str]]:
    """Counts the mistakes by (correct class, predicted class), without missed or invented names.

    Args:
        task: The task.
        outcomes: The outcomes; right ones count for nothing.
    """
    return Counter(
        (one.right, one.predicted)
        for outcome in outcomes
        if not outcome.correct
        for one in task.mistakes(outcome)
        if one.right and one.predicted and one.right != one.predicted
    )


def ranked_pairs(pairs: Counter[tuple[str, str]]) -> list[tuple[tuple[str, str], int]]:
    """Returns confused pairs with their counts, the most frequent first and ties in order."""
    return sorted(pairs.items(), key=lambda item: (-item[1], item[0]))


def shared_out(count: int, weights: Mapping[str, int]) -> list[str]:
    """Shares texts among names in proportion to their weights, by largest remainder.

    Args:
        count: Number of texts.
        weights: A positive weight for each name.

    Returns:
        One name per text, the heaviest first and ties in alphabetical order; "" for every text
        where there is no name.
    """
    if not weights:
        return [""] * count
    whole = sum(weights.values())
    names = sorted(weights, key=lambda name: (-weights[name], name))
    # Integer arithmetic, so that equal remainders are ties.
    shares = {name: count * weights[name] // whole for name in names}
    by_remainder = sorted(names, key=lambda name: -(count * weights[name] % whole))
    for name in by_remainder[: count - sum(shares.values())]:
        shares[name] += 1
    return [name for name in names for _ in range(shares[name])]


Item = TypeVar("Item", bound=Outcome | Example)


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
        confident: Maximum number of further mistakes in the analysis, the most confident ones (the
            hard negatives of PGKD).
        rng: Makes all draws.
        known: Further labelled texts, such as pool texts of earlier rounds: shown where there are
            too few outcomes.
        takes_turns: Show what the prompts of the round have shown least, so that a teacher who
            imitates is not shown the same texts again and again.
        seeds: Texts of earlier rounds to show instead of outcomes and further texts, beside shots;
            None shows outcomes.

    Attributes:
        wrong: The mistakes shown in the analysis.
        confident: The most confident mistakes beside these.
        correct: The correct outcomes shown in the analysis.
        pairs: Number of mistakes by (correct class, predicted class).
    """

    def __init__(
        self,
        task: Task,
        feedback: Feedback,
        shots: Sequence[Example],
        *,
        wrong: int,
        correct: int,
        confident: int,
        rng: random.Random,
        known: Sequence[Example] = (),
        takes_turns: bool = False,
        seeds: SeedTexts | None = None,
    ) -> None:
        self._task = task
        self.wrong = balanced_sample(task, feedback.wrong, wrong, rng)
        drawn = {one.id for one in self.wrong}
        others = [one for one in feedback.confident_wrong if one.id not in drawn]
        self.confident = others[:confident]
        self.correct = balanced_sample(task, feedback.correct, correct, rng)
        self._all_wrong = feedback.wrong
        self.pairs = confused_pairs(task, feedback.wrong)
        # Correct outcomes missing from the analysis (the ablation) are no demonstrations either.
        self._all_correct = feedback.correct if correct else ()
        self._shots = shots
        self._rng = rng
        self._known, self._takes_turns, self._seeds = known, takes_turns, seeds
        self._times_shown: Counter[str] = Counter()

    def partners(self, label: str, count: int) -> list[str]:
        """Shares the hard texts of a class among the classes it is confused with.

        These are the classes it was taken for, by number of mistakes; a class that was always
        recognised gets those that were taken for it, since its texts lie at the same boundary.

        Args:
            label: The class.
            count: Number of texts.

        Returns:
            One class per text; "" for every text of a class without mistakes.
        """
        pairs = self.pairs.items()
        taken_for = {other: number for (right, other), number in pairs if right == label}
        return shared_out(
            count,
            taken_for or {right: number for (right, other), number in pairs if other == label},
        )

    def for_hard(self, label: str, count: int, partner: str = "") -> HardExamples:
        """Draws demonstrations near the student's mistakes on a class.

        Mistakes come first; a class without enough of them adds correct outcomes of the lowest
        confidence, then shots.

        Args:
            label: The class.
            count: Maximum number of demonstrations.
            partner: Only mistakes that took the class for this one; "" for all mistakes.
        """
        # Mistakes on the class; for NER, an outcome counts under each of its mistakes.
        missed = [
            outcome
            for outcome in self._all_wrong
            if any(
                one.right == label and partner in ("", one.predicted)
                for one in self._task.mistakes(outcome)
            )
        ]
        drawn = self._drawn(missed, count)
        # A missed entity was taken for no class, and a wrong boundary confuses no classes.
        mistakes = (
            one for outcome in drawn for one in self._task.mistakes(outcome) if one.right == label
        )
        confused = partner or next(
            (one.predicted for one in mistakes if one.predicted not in ("", label)), ""
        )
        picked: list[Outcome | Example] = [*drawn]
        # Fill up with correct outcomes near the decision boundary.
        if len(picked) < count:
            uncertain = sorted(
                (o for o in self._all_correct if self._holds(o.target, label)),
                key=lambda o: (o.confidence, o.id),
            )
            picked += self._drawn(uncertain[: 2 * count], count - len(picked))
        # A chat shows the mistakes beside the demonstrations.
        beside = {one.id for one in drawn} if self._takes_turns else set()
        shown = self._with_shots(picked, label, count, beside)
        self._times_shown.update({one.id for one in drawn} - {one.id for one in shown})
        return HardExamples(shown, confused, drawn)

    def for_easy(self, label: str, count: int) -> list[Outcome | Example]:
        """Draws demonstrations of a class the student gets right, then shots.

        Args:
            label: The class.
            count: Maximum number of demonstrations.
        """
        known = [outcome for outcome in self._all_correct if self._holds(outcome.target, label)]
        return self._with_shots(self._drawn(known, count), label, count)

    def from_shots(self, label: str, count: int) -> list[Outcome | Example]:
        """Draws demonstrations of a class from the shots alone, or from seeds and shots.

        Args:
            label: The class.
            count: Maximum number of demonstrations.
        """
        return self._with_shots([], label, count)

    def _holds(self, target: str, label: str) -> bool:
        return label in self._task.classes(target)

    def _drawn(self, items: Sequence[Item], count: int) -> list[Item]:
        """Draws without repeats."""
        if not self._takes_turns:
            return self._rng.sample(items, min(count, len(items)))
        shuffled = self._rng.sample(items, len(items))
        return sorted(shuffled, key=lambda item: self._times_shown[item.id])[:count]

    def _with_shots(
        self,
        drawn: Sequence[Outcome | Example],
        label: str,
        count: int,
        beside: Collection[str] = (),
    ) -> list[Outcome | Example]:
        picked, most = list(drawn), max(0, count - 1)
        if self._seeds is not None:
            # A policy shows its seed also where there is room for one text alone.
            most = max(1, most)
            picked = [*self._drawn(self._seeds.candidates(label, most, beside), most)]
        elif len(picked) < count and self._known:
            of_label = [one for one in self._known if one.label and self._holds(one.label, label)]
            picked += self._drawn(of_label, count - len(picked))
        texts = {item.text for item in picked}
        # Shots of the class that are not shown already.
        spare = [
            shot
            for shot in self._shots
            if shot.label and self._holds(shot.label, label) and shot.text not in texts
        ]
        self._rng.shuffle(spare)
        if self._takes_turns:
            spare.sort(key=lambda shot: self._times_shown[shot.id])
        # One of them is a shot: the only demonstration with a certain label.
        kept = picked[:most] if spare else picked[:count]
        # Shuffled, so no kind of demonstration always stands next to the new text.
        result = [*kept, *spare[: count - len(kept)]]
        self._times_shown.update(item.id for item in result)
        self._rng.shuffle(result)
        return result
