"""The exception tree, its distinct exit codes, and hints for mistyped names."""

from __future__ import annotations

import inspect

from hypothesis import given
from hypothesis import strategies as st

from tutelage import errors
from tutelage.errors import (
    BudgetExhausted,
    NoAnswer,
    ReplayMiss,
    TeacherError,
    TutelageError,
    did_you_mean,
)
from tutelage.interruption import Interrupted

TREE = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, BaseException)
]


def test_every_error_is_in_the_tree_and_has_an_exit_code() -> None:
    assert all(issubclass(kind, TutelageError) for kind in TREE)
    assert all(kind.__doc__ for kind in TREE)
    codes = [
        kind.exit_code
        for kind in [*TREE, Interrupted]
        if kind not in (NoAnswer, ReplayMiss, BudgetExhausted)
    ]
    assert len(codes) == len(set(codes))
    assert 0 not in codes
    assert NoAnswer.exit_code == ReplayMiss.exit_code == TeacherError.exit_code
    assert BudgetExhausted.exit_code == TeacherError.exit_code


def test_did_you_mean() -> None:
    assert (
        did_you_mean("method", "evokdd", ["shots", "evokd"])
        == "Unknown method 'evokdd'. Did you mean 'evokd'? Available: evokd, shots."
    )
    assert did_you_mean("method", "zzz", ["evokd"]) == "Unknown method 'zzz'. Available: evokd."
    assert did_you_mean("column", "a", []) == "Unknown column 'a'. Available: none."


@given(st.text(), st.lists(st.text()))
def test_a_hint_is_always_one_of_those_that_exist(given_name: str, names: list[str]) -> None:
    message = did_you_mean("thing", given_name, names)
    assert message.startswith(f"Unknown thing '{given_name}'.")
    if "Did you mean" in message.removeprefix(f"Unknown thing '{given_name}'."):
        assert any(f"Did you mean '{name}'?" in message for name in names)
