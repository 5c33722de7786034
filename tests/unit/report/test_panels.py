"""Panels show targets of each form, and every task has one."""

from __future__ import annotations

import pytest
from tests.helpers.ner import TYPES

from tutelage.records import ClassScore, Outcome, Row
from tutelage.report.panels import PANELS, panel_of
from tutelage.runs.records import Scores
from tutelage.tasks.registry import TASKS, new_task

TEXT, MARKED = "Anna left Bath", '[[0, 1, "PER"], [2, 3, "LOC"]]'
SCORES = Scores({}, {"PER": ClassScore(1.0, 1.0, 1.0, 4), "LOC": ClassScore(0.0, 0.0, 0.0, 3)})


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_panel(name: str) -> None:
    task = new_task(name, TYPES)
    panel = panel_of(task)
    assert panel in PANELS.values()
    assert "".join(piece.text for piece in panel.pieces(TEXT, task.empty_target)) == TEXT
    # Kinds of errors are explained wherever they are counted.
    assert bool(panel.error_hint) == bool(task.error_kinds)


def test_labels_are_shown_by_name() -> None:
    panel, task = PANELS["labels"], new_task("classification", TYPES)
    outcome = Outcome("1", TEXT, "PER", "LOC", (1.0,), "test", 0)
    assert panel.plain(TEXT, "PER") == panel.gold_label("PER") == "PER"
    assert panel.mistake_fields(task, outcome) == {
        "right": "PER",
        "predicted": "LOC",
        "classes": ["PER", "LOC"],
    }
    assert panel.text_count(SCORES) == 7
    assert panel.interval(0.5, 100, ()) == pytest.approx((0.404, 0.596), abs=1e-3)
    assert panel.tints(["PER"], [], []) == {}


def test_entities_are_shown_in_their_text() -> None:
    panel, task = PANELS["entities"], new_task("ner", TYPES)
    assert panel.plain(TEXT, MARKED) == "Anna [PER]; Bath [LOC]"
    assert panel.gold_label(MARKED) == "–"
    fields = panel.row_fields(task, Row("1", TEXT, MARKED, "hard", 1, True))
    assert fields["more_classes"] == ("PER", "LOC")
    assert fields["pieces"] == panel.pieces(TEXT, MARKED)
    mistake = panel.mistake_fields(task, Outcome("1", TEXT, MARKED, "[]", (1.0,), "test", 0))
    assert mistake["faults"] == ["2\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}missed"]
    assert mistake["classes"] == ["PER", "LOC", "O"]
    # A type outside the label space gets a colour as well.
    foreign = {"pieces": panel.pieces(TEXT, '[[0, 1, "CITY"]]')}
    assert set(panel.tints(["PER"], [foreign], [mistake])) == {"PER", "LOC", "CITY"}
    assert panel.text_count(SCORES) is None
    assert panel.interval(0.5, 100, ()) is None
