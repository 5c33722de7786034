"""The exception tree of tutelage.

Every message states what happened, with the value, and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TutelageError(Exception):
    """Base class of every error a user can cause or fix; the CLI prints it without a traceback."""

    exit_code = 1


class ConfigError(TutelageError):
    """A setting is missing, unknown or contradicts another one."""

    exit_code = 2


class DataError(TutelageError):
    """A file, column, label or text is unusable."""

    exit_code = 3


class AssetError(TutelageError):
    """An embedded model could not be downloaded, verified or converted."""

    exit_code = 4


class TeacherError(TutelageError):
    """An engine did not start, died or did not reply. Earlier replies stay in the cache."""

    exit_code = 5


class NoAnswer(TeacherError):
    """The engine replied to a batch, and every reply is an error or unusable."""


class ReplayMiss(TeacherError):
    """The recording has no reply for a request."""


class BudgetExhausted(TeacherError):
    """The billed tokens reached the limit.

    A run stops growing here; it is only an error if nothing was grown before.
    """


class StudentError(TutelageError):
    """Training failed, for example with a NaN loss."""

    exit_code = 6


class RunError(TutelageError):
    """A run folder is missing, broken or unsuitable for the requested operation."""

    exit_code = 7


_SHOWN = 8
"""Number of names that a message lists of a data set, which may have thousands."""


def listed(names: Iterable[object], shown: int = _SHOWN) -> str:
    """Names for a message, the first ones of many: "a, b, c and 12 more".

    Args:
        names: The names; long ones are cut.
        shown: Number of names to show at most.
    """
    all_names = [name if len(name) <= 60 else f"{name[:60]}…" for name in map(str, names)]
    more = f" and {len(all_names) - shown:,} more" if len(all_names) > shown else ""
    return ", ".join(all_names[:shown]) + more


def did_you_mean(kind: str, given: str, available: Iterable[str], shown: int | None = None) -> str:
    """Message for an unknown name: "Unknown <kind> '<given>'. Did you mean '…'? Available: …".

    Args:
        kind: Kind of name, or the full key of the setting.
        given: The unknown name.
        available: All valid names.
        shown: Number of them to show at most; None shows all.
    """
    names = sorted(available)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    names_shown = ", ".join(names) if shown is None else listed(names, shown)
    return f"Unknown {kind} '{given}'.{hint} Available: {names_shown or 'none'}."
