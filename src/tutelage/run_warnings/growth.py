"""Signs that the pool did not grow as it should."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.methods.base import RequestFailure
from tutelage.records import Row
from tutelage.run_warnings.advice import (
    FEWER_TEXTS,
    MORE_BUDGET,
    about_mistakes,
    about_reasons,
    advice,
    aims_at_mistakes,
    more_shots,
    of_class,
    setting,
    short,
)
from tutelage.run_warnings.facts import ENOUGH, Facts

FEW_ACCEPTED = 0.05
MANY_FAILED = 0.05
ROWS_PER_LABEL = 5
"""Rows per class from which a class without any is told of."""


def budget(facts: Facts) -> str:
    """The budget ended before the first round."""
    if facts.stopped_by != "budget" or facts.rounds:
        return ""
    limit = setting(facts.settings, "budget.tokens")
    return (
        f"The budget of {limit:,} tokens ended before the first round, so the student learnt from "
        f"the first rows alone.{advice(facts.settings, MORE_BUDGET, FEWER_TEXTS)}"
    )


def failures(facts: Facts) -> str:
    """Many requests to the teacher failed."""
    if facts.requests < ENOUGH or facts.failed < MANY_FAILED * facts.requests:
        return ""
    lost = (row.reason for row in facts.rows if RequestFailure.of(row))
    first = next(lost, "")
    return (
        f"{facts.failed:,} of {facts.requests:,} requests to the teacher failed "
        f"({facts.failed / facts.requests:.0%}), and their texts are lost."
        + (f" The first: {short(first, 200)!r}." if first else "")
        + advice(
            facts.settings,
            ("teacher.timeout", "a higher teacher.timeout"),
            ("teacher.retries", "a higher teacher.retries"),
            ("teacher.max_model_len", "a higher teacher.max_model_len if prompts are too long"),
        )
    )


def stopped(facts: Facts) -> str:
    """Growth ended since rounds brought nothing."""
    limit = setting(facts.settings, "training.stop_after_empty")
    if facts.stopped_by == "nothing accepted":
        why = f"{limit} rounds in a row brought no text"
    elif facts.stopped_by == "nothing to learn":
        why = f"the student was right on every text of {limit} rounds in a row before it learnt it"
    else:
        return ""
    return f"Growth ended after round {facts.rounds} because {why}." + (
        about_mistakes(facts.settings)
        if facts.stopped_by == "nothing to learn"
        else advice(
            facts.settings,
            ("method.min_confidence", "a lower method.min_confidence"),
            ("training.stop_after_empty", "training.stop_after_empty=0 to go on regardless"),
        )
    )


def acceptance(facts: Facts) -> str:
    """Few texts were accepted, over the run or in many rounds."""
    rows = facts.grown
    if few := few_accepted(rows):
        return (
            f"Of {len(rows)} texts {few} {was(rows)} accepted.{about_reasons(rows, facts.settings)}"
        )
    # A run may begin well and end with rounds that bring nothing.
    rounds: dict[int, list[Row]] = {}
    for row in rows:
        rounds.setdefault(row.round, []).append(row)
    barren = [one for one in rounds.values() if few_accepted(one)]
    if not barren or (2 * len(barren) <= len(rounds) and facts.stopped_by != "nothing accepted"):
        return ""
    return (
        f"{len(barren)} of {len(rounds)} rounds brought no text or nearly none."
        f"{about_reasons([row for one in barren for row in one], facts.settings)}"
    )


def few_accepted(rows: Sequence[Row]) -> str:
    """Says how many of some texts were accepted ("none", "only 3"); "" if enough were."""
    accepted = sum(row.accepted for row in rows)
    few = len(rows) >= ENOUGH and accepted < FEW_ACCEPTED * len(rows)
    if not rows or (accepted and not few):
        return ""
    return f"only {accepted}" if accepted else "none"


def was(rows: Sequence[Row]) -> str:
    """The verb for the accepted ones of some rows."""
    return "were" if sum(row.accepted for row in rows) > 1 else "was"


def feedback(facts: Facts) -> str:
    """Most rounds were aimed at no mistake."""
    empty = sum(not count for count in facts.mistakes)
    if not aims_at_mistakes(facts.settings) or len(facts.mistakes) < 2:
        return ""
    # Without any accepted row there was nothing to be wrong about.
    if 2 * empty <= len(facts.mistakes) or not any(row.accepted for row in facts.grown):
        return ""
    return (
        f"{empty} of {len(facts.mistakes)} rounds were aimed at no mistake of the student, so "
        f"their texts do not follow it.{about_mistakes(facts.settings)}"
    )


def missing_rows(facts: Facts) -> str:
    """The accepted rows miss a class."""
    names = [label.name for label in facts.task.labels]
    grown = [row for row in facts.grown if row.accepted]
    if len(grown) < ROWS_PER_LABEL * len(names):
        return ""
    known = {name for row in grown for name in facts.task.classes(row.target)}
    missing = [name for name in names if name not in known]
    if not missing:
        return ""
    return (
        f"Of {len(grown)} accepted rows none {of_class(facts.task, missing)}: the student learns "
        "no more about it than the gold labels say."
        + advice(
            facts.settings,
            more_shots(facts.settings),
            ("data.labels", "plainer words and descriptions in data.labels"),
            ("calibration.prior", "calibration.prior if the classes are not equally frequent"),
        )
    )
