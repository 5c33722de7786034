"""What a claim measures of a run, from files as a run leaves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.reproduce.papers import write_run

from tutelage.errors import RunError
from tutelage.reproduce.claims import Measure
from tutelage.reproduce.measures import measured


def test_measures_of_a_result(tmp_path: Path) -> None:
    run = write_run(
        tmp_path,
        before={"accuracy": 0.5},
        after={"accuracy": 0.75},
        teacher={"accuracy": 0.25},
        share_of_data={"unique": 0.125, "selections": 0.0625},
    )
    names: list[Measure] = ["score", "before", "teacher", "share", "rows"]
    assert [measured(run, name, "accuracy") for name in names] == [0.75, 0.5, 0.25, 0.125, 0.0625]


@pytest.mark.parametrize("measure", ["score", "teacher", "share", "aim"])
def test_what_a_run_did_not_measure_is_told(tmp_path: Path, measure: Measure) -> None:
    run = write_run(
        tmp_path, before={}, after={"accuracy": 0.5}, teacher=None, share_of_data={"unique": None}
    )
    with pytest.raises(RunError, match=str(tmp_path)):
        measured(run, measure, "f1_strict")


def grown(run: Path, quotas: list[dict[str, int]], f1: dict[str, float]) -> Path:
    lines = [
        {"round": number, "dev": {"per_class": {name: {"f1": value} for name, value in f1.items()}}}
        for number in range(len(quotas))
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "growth").mkdir()
    for number, quota in enumerate(quotas, 1):
        growth: dict[str, Any] = {"round": number, "quota": quota}
        (run / "growth" / f"round-{number:03d}.json").write_text(json.dumps(growth))
    return run


def test_the_aim_is_negative_where_weak_classes_get_more_and_zero_where_all_get_as_much(
    tmp_path: Path,
) -> None:
    f1 = {"a/b": 0.9, "c": 0.5, "d": 0.1}
    weak, even = (
        {"a/b/hard": 1, "c/hard": 2, "c/easy": 1, "d/easy": 9},
        {"a/b/easy": 2, "c/easy": 2, "d/hard": 2},
    )
    run = grown(write_run(tmp_path), [weak, even], f1)
    assert measured(run, "aim", "accuracy") == pytest.approx(-0.5)
