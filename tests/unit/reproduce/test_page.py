"""The verdicts as a table, as verdicts.json and as verdicts.html."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.helpers.pages import Page
from tests.unit.reproduce.papers import claims_file, write_run

from tutelage.reproduce.claims import Side
from tutelage.reproduce.page import write_verdicts
from tutelage.reproduce.reading import read_papers
from tutelage.reproduce.runs import runs_of
from tutelage.reproduce.verdicts import LEFT_OUT, judge, not_run


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, str]:
    (paper,) = read_papers(claims_file(tmp_path)).values()
    cpu = paper.scale("cpu")
    folder = tmp_path / "sweep" / "now"
    runs = {
        run: write_run(folder / str(number), after={cpu.sets[run.data].metric: 0.5 + number / 10})
        for number, run in enumerate(runs_of(paper, cpu, paper.claims)[:4])
    }
    more, little = paper.claims
    values = {
        Side("base"): {("a", 1): 0.5, ("a", 2): 0.6},
        Side("less"): {("a", 1): 0.7, ("a", 2): 0.8},
    }
    verdicts = [judge(more, values), not_run(little, "<script>alert(1)</script>")]
    stream = io.StringIO()
    out = Console(file=stream, width=200)
    write_verdicts(folder, paper, cpu, verdicts, ["method.top_p=0.5"], runs, out)
    write_verdicts(
        tmp_path / "other", paper, cpu, [verdicts[0], not_run(little, LEFT_OUT)], [], {}, out
    )
    said = stream.getvalue()
    return folder, said


def test_the_record_holds_claims_and_runs_without_nan(written: tuple[Path, str]) -> None:
    record: dict[str, Any] = json.loads((written[0] / "verdicts.json").read_text())
    more, little = record["claims"]
    assert (more["paper"], little["paper"]) == ("Mine", "Less & More, 2020")
    assert (more["verdict"], more["findings"][0]["p"], more["findings"][0]["status"]) == (
        "not reproduced",
        None,
        "unclear",
    )
    assert (little["why"], little["findings"], little["command"]) == (
        "<script>alert(1)</script>",
        [],
        "tutelage reproduce mine --scale cpu --only little --set method.top_p=0.5",
    )
    assert [
        (run["arm"], run["seed"], run["score"], run["folder"]) for run in record["runs"][:3]
    ] == [
        ("base", 1, 0.5, "0"),
        ("base", 2, 0.6, "1"),
        ("less", 1, 0.7, "2"),
    ]


def test_the_page_says_everything_and_runs_nothing(written: tuple[Path, str]) -> None:
    source = (written[0] / "verdicts.html").read_text()
    page = Page(source)
    assert "<script" not in source
    assert "<b>little</b>" not in source
    policy = next(
        attributes["content"]
        for tag, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    for word in (
        "It takes <b>little</b>.",
        "-20.0",
        "not shown either way",
        "base minus less: above 0 points",
        "What we had to choose: all of it.",
        "further overrides, beyond those of its claim: method.top_p=0.5",
        "full text of a paper was at hand",
        "Less & More, 2020",
        "tutelage reproduce mine --scale cpu --only more --set method.top_p=0.5",
    ):
        assert word in page.text, word
    links = {str(attributes["href"]) for tag, attributes in page.tags if tag == "a"}
    assert {"#more", "0/report.html"} <= links


def test_the_table_leaves_out_what_was_not_chosen(written: tuple[Path, str]) -> None:
    first, second = written[1].split("report   ")[:2]
    assert "little" in first
    assert "-20.0 (-20.0 to -20.0)" in first
    assert "little " not in second
    assert f"{LEFT_OUT}: 1 of 2" in second
