"""One exception tree. Each message says what happened, with the value, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TutelageError(Exception):
    """Root of every error that a user can cause or mend; the CLI prints it without a traceback."""

    exit_code = 1


class ConfigError(TutelageError):
    """A setting is missing, unknown or contradicts another one."""

    exit_code = 2


class DataError(TutelageError):
    """A file, column, label or text cannot be used as it is."""

    exit_code = 3


class AssetError(TutelageError):
    """An embedded model could not be fetched, verified or converted."""

    exit_code = 4


class TeacherError(TutelageError):
    """An engine did not start, died, or did not answer. What was answered before stays in the cache."""

    exit_code = 5


class ReplayMiss(TeacherError):
    """The recording holds no reply for a request."""


class BudgetExhausted(TeacherError):
    """The billed tokens reached the limit. A run stops growing on it; it is an error only when nothing was grown."""


class StudentError(TutelageError):
    """Training went wrong, for instance a loss that is not a number."""

    exit_code = 6


class RunError(TutelageError):
    """A run folder is missing, broken, or does not fit what was asked of it."""

    exit_code = 7


def did_you_mean(kind: str, given: str, available: Iterable[str]) -> str:
    """Return "Unknown <kind> '<given>'. Did you mean '…'? Available: …" for an error message."""
    names = sorted(available)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"Unknown {kind} '{given}'.{hint} Available: {', '.join(names) or 'none'}."
