"""All warnings about a finished run, in one table."""

from __future__ import annotations

from collections.abc import Callable

from tutelage.run_warnings import growth, student, teacher
from tutelage.run_warnings.facts import Facts

CHECKS: tuple[Callable[[Facts], str], ...] = (
    growth.budget,
    growth.failures,
    growth.stopped,
    growth.acceptance,
    teacher.artefacts,
    teacher.off_label,
    growth.feedback,
    growth.missing_rows,
    teacher.teacher_alone,
    student.at_the_end,
    student.never_predicted,
)
"""Pure functions of the facts, causes before effects; each returns a warning, or "" for none."""


def warnings_of(facts: Facts) -> list[str]:
    """Returns the warnings about a finished run, causes before effects."""
    return [message for check in CHECKS if (message := check(facts))]
