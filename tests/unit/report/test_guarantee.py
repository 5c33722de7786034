"""The guarantee in the report and on the terminal, and a damaged file of it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from tests.helpers.pages import HOSTILE, Page
from tests.helpers.run_folders import build_run, write_json

from tutelage.errors import RunError
from tutelage.report.guarantee import CAVEAT, routed_line, set_line, threshold_line
from tutelage.report.html import write_report
from tutelage.runs.check_records import Guarantee, GuaranteedSplit, Route
from tutelage.runs.read import read_run
from tutelage.terminal import print_guarantee

GUARANTEE = Guarantee(
    student="ab",
    accuracy=0.95,
    risk=0.05,
    coverage=0.9,
    threshold=0.8123,
    bound=0.953,
    missing=0,
    probability=0.25,
    splits=(
        GuaranteedSplit("dev", 300, 240, 235, 272, 330),
        GuaranteedSplit("test", 1000, 750, 720, 905, 1120),
    ),
    routes=(
        Route("student", 0.9, 0.0),
        Route("teacher", 0.92, 152_000.0),
        Route("both", 0.945, 38_000.0),
    ),
    notes=("A note.",),
)
SENTENCES = (
    "Predictions with a confidence of 0.8123 or more have an accuracy of 95.0% with a probability "
    "of 95.0%; they are 240 of 300 dev texts (80.0%)",
    "The set of all labels with a probability of 0.2500 or more holds the right one with a "
    "probability of 90.0%",
    "On test the student answers 75.0%, and 25.0% go to the teacher",
)
CELLS = ("96.0%", "90.5%", "1.12", "94.5%", "38,000")


def test_the_page_has_threshold_sets_routes_and_the_caveat(
    tmp_path: Path, no_figures: None
) -> None:
    folder = build_run(tmp_path / "run")
    assert 'id="guarantee"' not in write_report(folder).read_text(encoding="utf-8")
    write_json(folder / "guarantee.json", asdict(replace(GUARANTEE, notes=tuple(HOSTILE))))
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    for said in (*SENTENCES, *CELLS, CAVEAT):
        assert said in page.text
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 2


def test_the_terminal_has_the_same() -> None:
    assert tuple(line(GUARANTEE) for line in (threshold_line, set_line, routed_line)) == SENTENCES
    out = StringIO()
    print_guarantee(Console(file=out, width=120), GUARANTEE)
    for said in (*SENTENCES, *CELLS, CAVEAT, "A note."):
        assert said in out.getvalue()


def test_no_threshold_and_no_sets_are_said() -> None:
    without = replace(
        GUARANTEE, threshold=None, bound=None, missing=36, probability=None, routes=()
    )
    assert "It takes at least 36 more dev texts" in threshold_line(without)
    assert (set_line(without), routed_line(without)) == ("", "")
    assert "every label" in set_line(replace(GUARANTEE, probability=0.0))


@pytest.mark.parametrize(
    "record", ["[]", json.dumps({**asdict(GUARANTEE), "threshold": 7}), json.dumps({"splits": []})]
)
def test_a_damaged_guarantee_is_named_and_the_report_goes_without(
    tmp_path: Path, no_figures: None, record: str
) -> None:
    folder = build_run(tmp_path / "run")
    (folder / "guarantee.json").write_text(record, encoding="utf-8")
    with pytest.raises(RunError, match=r"guarantee\.json"):
        read_run(folder)
    page = write_report(folder).read_text(encoding="utf-8")
    assert 'id="guarantee"' not in page
    assert "guarantee.json" in page
