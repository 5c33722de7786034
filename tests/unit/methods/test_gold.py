"""The floor and the ceiling: gold alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.classification import MIXED, SHOTS, context

from tutelage.errors import ConfigError
from tutelage.methods.gold import GoldOnly


def test_the_first_rows_are_the_gold_and_there_are_no_others(tmp_path: Path) -> None:
    method = GoldOnly("shots")
    method.setup(context(tmp_path, None))
    growth = method.first_rows()
    assert [(row.id, row.text, row.target) for row in growth.rows] == [
        (f"gold-{one.id}", one.text, one.label) for one in SHOTS
    ]
    assert all(
        row.accepted and row.source == "gold" and row.confidence == 1.0 and row.round == 0
        for row in growth.rows
    )
    assert (growth.round, growth.asked, growth.answered, growth.failed) == (0, 0, 0, 0)
    assert (method.rounds, method.asks_teacher, method.calibration_labels) == (0, False, 0)
    assert method.aimed_at(MIXED).outcomes == ()
    method.load_state_dict(method.state_dict())
    with pytest.raises(ConfigError, match="method=shots does not grow"):
        method.next_rows(MIXED, 1)


def test_no_gold_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"method=supervised learns from gold labels alone, and there are none.*shots=1",
    ):
        GoldOnly("supervised").setup(context(tmp_path, None, shots=()))
