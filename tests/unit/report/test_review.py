"""The review in the report and on the terminal, and a damaged file of it."""

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
from tutelage.report.html import write_report
from tutelage.report.review import count_line
from tutelage.runs.check_records import Review, ReviewedPart, ReviewedScore
from tutelage.runs.read import read_run
from tutelage.terminal import print_review

REVIEW = Review(
    file="export.json",
    sha256="ab",
    gold_sha256="cd",
    gold=90,
    skipped=4,
    open=5,
    undecided=1,
    several=20,
    agreed=19,
    annotators=2,
    widened=0,
    parts=(ReviewedPart("control", 50, 45, 36, 40), ReviewedPart("unsure", 50, 45, 20, 21)),
    scores=(ReviewedScore("teacher", "accuracy", 0.8, 0.66, 0.89),),
)
LINE = (
    "90 rows labelled by 2 annotators, 5 open, 4 skipped, 1 without a majority; of 20 with several "
    "votes, 19 have the same label by all"
)


def test_the_page_has_the_score_and_the_parts(tmp_path: Path, no_figures: None) -> None:
    folder = build_run(tmp_path / "run")
    assert 'id="review"' not in write_report(folder).read_text(encoding="utf-8")
    hostile = tuple(replace(REVIEW.scores[0], metric=text) for text in HOSTILE)
    review = replace(REVIEW, scores=(*REVIEW.scores, *hostile))
    write_json(folder / "review" / "review.json", asdict(review))
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert count_line(REVIEW) == LINE
    assert LINE in page.text
    assert "66.0 to 89.0" in page.text
    assert "random control" in page.text
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 2


def test_the_terminal_has_the_same() -> None:
    out = StringIO()
    print_review(Console(file=out, width=120), REVIEW)
    said = out.getvalue()
    assert LINE in said
    assert "control  teacher: accuracy 80.0% (95 % interval 66.0% to 89.0%)" in said
    out = StringIO()
    print_review(Console(file=out, width=120), replace(REVIEW, scores=()))
    assert "No row of the random control is labelled" in out.getvalue()


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("[]", "review.json contains a list"),
        (json.dumps({**asdict(REVIEW), "gold": -1}), "gold.*Import the review again"),
        (json.dumps({**asdict(REVIEW), "scores": [{}]}), "Import the review again"),
    ],
)
def test_a_damaged_review_is_named_and_the_report_goes_without(
    tmp_path: Path, no_figures: None, record: str, said: str
) -> None:
    folder = build_run(tmp_path / "run")
    (folder / "review").mkdir()
    (folder / "review" / "review.json").write_text(record, encoding="utf-8")
    with pytest.raises(RunError, match=said):
        read_run(folder)
    page = write_report(folder).read_text(encoding="utf-8")
    assert 'id="review"' not in page
    assert "review.json" in page
