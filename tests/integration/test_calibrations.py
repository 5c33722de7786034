"""Every calibration in a whole run for both tasks, and its use of gold labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.helpers.tasks import TaskSetup
from tests.helpers.tiny import grow


@pytest.mark.parametrize(
    "overrides",
    [
        ["calibration=none"],
        ["calibration=matched"],
        ["calibration=contextual"],
        ["calibration=batch"],
        ["calibration=batch", "calibration.prior=estimated"],
        ["calibration=batch", "calibration.prior=known"],
        ["calibration=temperature"],
    ],
    ids=str,
)
def test_every_calibration_runs_and_its_labels_are_counted(
    kind: TaskSetup, overrides: list[str], workplace: Path
):
    # The label space is the types, then none.
    known = "[0.1,0.1,0.1,0.7]" if kind.task == "ner" else "[0.4,0.1,0.1,0.1,0.1,0.1,0.1]"
    short = [
        "method.rounds=1",
        "training.start_epochs=1",
        *(override.replace("known", known) for override in overrides),
    ]
    result = grow(workplace / "run", [*kind.base(), *kind.evokd, *short])
    assert result["gold_labels"]["calibration"] == (
        kind.dev if overrides == ["calibration=temperature"] else 0
    )
    assert (
        json.loads((workplace / "run" / "manifest.json").read_text())["gold_labels"]
        == result["gold_labels"]
    )
    assert result["rows"]["accepted"] > kind.gold
