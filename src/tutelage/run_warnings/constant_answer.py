"""Whether predictions are better than the same answer to every text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tutelage.records import Outcome
from tutelage.run_warnings.facts import ENOUGH
from tutelage.tasks.protocol import Task

_CHANCE = 0.05


def not_above(
    task: Task, targets: Sequence[str], right: Sequence[bool], found: Sequence[str]
) -> str:
    """Says that predictions are no better than the same answer to every text; "" if they are.

    Args:
        task: The task.
        targets: The gold targets.
        right: Whether each prediction is correct.
        found: The predictions.
    """
    if not targets:
        return ""
    if task.is_token_level:
        return _no_entity(task, targets, right, found)
    (common, count), correct = Counter(targets).most_common(1)[0], sum(right)
    # Texts that both get right or wrong say nothing. Among the others, the predictions must be
    # right more often than by chance (a sign test).
    ours = sum(one and target != common for one, target in zip(right, targets, strict=True))
    theirs = sum(not one and target == common for one, target in zip(right, targets, strict=True))
    total = len(targets)
    if ours > theirs and (total < ENOUGH or _chance(ours, ours + theirs) < _CHANCE):
        return ""
    return (
        f"is right on {correct} of {total} test texts ({correct / total:.3f}), "
        f"{'below' if correct < count else 'not clearly above'} the answer {common!r} to every "
        f"text ({count}, {count / total:.3f})."
    )


def _no_entity(
    task: Task, targets: Sequence[str], right: Sequence[bool], found: Sequence[str]
) -> str:
    """Says that no entity is found; "" if one is, or if there is none to find."""
    outcomes = [
        Outcome("", "", target, predicted, (1.0,), "test", 0)
        for target, predicted in zip(targets, found, strict=True)
    ]
    there = sum(score.support for score in task.scores(outcomes).values())
    if not there or any(score.recall for score in task.scores(outcomes).values()):
        return ""
    return f"finds none of the {there} entities of {len(right)} test texts."


def _chance(successes: int, trials: int) -> float:
    from scipy.stats import binomtest

    return float(binomtest(successes, trials, alternative="greater").pvalue)
