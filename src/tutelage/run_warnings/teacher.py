"""Signs that the teacher is no match for its part."""

from __future__ import annotations

from collections import Counter
from statistics import median

from tutelage.methods.base import RequestFailure
from tutelage.methods.generation.artefacts import ARTEFACTS, NO_TEXT
from tutelage.run_warnings.advice import advice, counted, for_skewed, short
from tutelage.run_warnings.constant_answer import not_above
from tutelage.run_warnings.facts import ENOUGH, Facts

MANY_ARTEFACTS = 0.1
OFF_LABEL = 0.95
"""Median probability off the labels above which they are a guess (a sound small model has 0.8)."""


def artefacts(facts: Facts) -> str:
    """Many replies held more than a text, or none."""
    replies = [
        row
        for row in facts.grown
        if "prompt" in row.detail and RequestFailure.of(row) is not RequestFailure.GENERATION
    ]
    found = [row for row in replies if ARTEFACTS in row.detail]
    if len(replies) < ENOUGH or len(found) <= MANY_ARTEFACTS * len(replies):
        return ""
    kinds = Counter(kind for row in found for kind in row.detail[ARTEFACTS].split(", "))
    rejected = [row for row in found if row.reason.startswith(NO_TEXT)]
    shown = short((rejected or found)[0].text, 80)
    return (
        f"{len(found)} of {len(replies)} replies ({len(found) / len(replies):.0%}) held more than "
        f"a text, or none: {counted(kinds)}; for instance {shown!r}. {len(rejected)} of them were "
        "rejected, and the others cleaned. The teacher seems to expect a chat."
        + advice(
            facts.settings,
            ("prompt", "its own chat format (prompt=chat)"),
            ("teacher.model", "a teacher.model that continues texts (a base model)"),
        )
    )


def off_label(facts: Facts) -> str:
    """The teacher's probability lies on words that are no label."""
    masses = [row.distribution.off_label_mass for row in facts.rows if row.distribution]
    if len(masses) < ENOUGH or (middle := median(masses)) <= OFF_LABEL:
        return ""
    return (
        f"In half of {len(masses)} answers the teacher put {middle:.1%} or more of its probability "
        "on words that are no label, so its labels are little more than a guess."
        + advice(
            facts.settings,
            ("data.cue", "another data.cue (the word before the label)"),
            ("data.labels", "plainer words in data.labels"),
            ("teacher.model", "another teacher.model"),
        )
    )


def teacher_alone(facts: Facts) -> str:
    """The teacher is no better than the same answer to every text."""
    if not facts.teacher:
        return ""
    right = [one.predicted == one.target and not one.error for one in facts.teacher]
    targets = [one.target for one in facts.teacher]
    found = [one.predicted for one in facts.teacher]
    says = not_above(facts.task, targets, right, found)
    return says and (
        f"The teacher alone {says} A student seldom ends far above its teacher."
        + advice(
            facts.settings,
            *for_skewed(facts.task, targets),
            ("teacher.model", "a more capable teacher.model"),
            ("data.cue", "another data.cue (the word before the label)"),
            ("data.labels", "plainer words and descriptions in data.labels"),
            ("shots", "more shots="),
        )
    )
