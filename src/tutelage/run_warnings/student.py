"""Signs that the student learnt little."""

from __future__ import annotations

from collections import Counter

from tutelage.run_warnings.advice import (
    EVALUATE,
    FOCUS,
    MORE_BUDGET,
    advice,
    aims_at_mistakes,
    for_skewed,
    listed,
    more_shots,
    setting,
)
from tutelage.run_warnings.constant_answer import not_above
from tutelage.run_warnings.facts import Facts

MANY_IN_TEST = 5
"""Test texts of a class from which a student that never predicts it is told of."""


def at_the_end(facts: Facts) -> str:
    """The student is no better than the same answer to every text."""
    right = [outcome.correct for outcome in facts.test]
    targets = [outcome.target for outcome in facts.test]
    found = [outcome.predicted for outcome in facts.test]
    says = not_above(facts.task, targets, right, found)
    more = {"budget": MORE_BUDGET, "plateau": ("training.patience", "a higher training.patience")}
    rounds = setting(facts.settings, "method.rounds")
    longer = ("method.rounds", "a higher method.rounds") if rounds else ("", "")
    return says and (
        f"The student {says}"
        + advice(
            facts.settings,
            *for_skewed(facts.task, targets),
            more_shots(facts.settings),
            more.get(facts.stopped_by, longer),
            ("training.start_epochs", "a higher training.start_epochs"),
            *([] if facts.teacher else [EVALUATE]),
        )
    )


def never_predicted(facts: Facts) -> str:
    """The student never predicts a class of the test texts."""
    asked = Counter(name for one in facts.test for name in facts.task.classes(one.target))
    predicted = {name for one in facts.test for name in facts.task.classes(one.predicted)}
    names = [
        label.name
        for label in facts.task.labels
        if asked[label.name] >= MANY_IN_TEST and label.name not in predicted
    ]
    if not names:
        return ""
    texts = sum(asked[name] for name in names)
    # Only rounds that follow the student's mistakes can prefer a class.
    aims = setting(facts.settings, "method.rounds") and aims_at_mistakes(facts.settings)
    return f"The student never predicts {listed(names)}, which {texts} test texts have." + advice(
        facts.settings,
        more_shots(facts.settings),
        ("training.start_epochs", "a higher training.start_epochs"),
        *([FOCUS] if aims else []),
    )
