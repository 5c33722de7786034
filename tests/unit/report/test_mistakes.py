"""Mistakes on test after the run appear for every method, the most confident first."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.ner_folders import build_ner_run
from tests.helpers.pages import HOSTILE, Page
from tests.helpers.run_folders import build_run, write_jsonl

from tutelage.records import Outcome
from tutelage.report.html import write_report
from tutelage.report.mistakes import MOST_SHOWN, wrong_on_test
from tutelage.report.trail import trail_data
from tutelage.runs.read import Run, read_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return read_run(build_run(tmp_path_factory.mktemp("runs") / "run"))


def said(key: str, predicted: str, sure: float) -> Outcome:
    return Outcome(key, "text", "a", predicted, (sure, 0.0), "test", 3)


def test_the_surest_mistakes_come_first_and_a_few_are_kept(run: Run) -> None:
    after = (
        said("1", "b", 0.4),
        said("2", "a", 0.99),
        said("3", "b", 0.9),
        said("4", "b", float("nan")),
        said("5", "b", 0.7),
    )
    found = wrong_on_test(dataclasses.replace(run, after=after), most=3)
    assert found is not None
    assert (found.count, found.texts) == (4, 5)
    assert [one.id for one in found.surest] == ["3", "5", "1"]
    every = wrong_on_test(dataclasses.replace(run, after=after))
    assert every is not None
    assert [one.id for one in every.surest] == ["3", "5", "1", "4"]


def test_without_test_outcomes_there_is_nothing_to_say(run: Run) -> None:
    assert wrong_on_test(dataclasses.replace(run, after=())) is None
    assert trail_data(dataclasses.replace(run, after=()))["test"] == []


@pytest.mark.parametrize("build", [build_run, build_ner_run])
def test_the_island_holds_them_as_it_holds_those_fed_back(tmp_path: Path, build: Any) -> None:
    made = read_run(build(tmp_path / "run"))
    data = trail_data(made)
    wrong = [one for one in made.after if not one.correct]
    assert len(data["test"]) == len(wrong) > 0
    assert {one["id"] for one in data["test"]} == {one.id for one in wrong}
    assert {frozenset(one) for one in data["test"]} == {
        frozenset(one) for one in data["mistakes"]["1"]
    }
    assert [one["confidence"] for one in data["test"]] == sorted(
        (one["confidence"] for one in data["test"]), reverse=True
    )
    if made.task.is_token_level:
        assert all(one["faults"] for one in data["test"])


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("method", ["supervised", "llm_da"])
def test_a_method_without_feedback_has_them_on_its_page(tmp_path: Path, method: str) -> None:
    folder = build_run(tmp_path / "run", rounds=0, method=method)
    (folder / "pool" / "rows.jsonl").unlink()
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    wrong = sum(not one.correct for one in read_run(folder).after)
    assert f"{wrong} of 90 test texts" in page.text
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {"mistakes", "mistake-filters", "mistakes-on-test", "mistake-count"} <= ids
    assert len(json.loads(page.scripts[0])["test"]) == wrong
    assert "listed and searched here" not in page.text
    # Without rounds and rows, the script must not depend on their form.
    assert "filters" not in ids


@pytest.mark.usefixtures("no_figures")
def test_more_than_the_page_holds_is_said(tmp_path: Path) -> None:
    folder = build_ner_run(tmp_path / "run")
    after = read_run(folder).after
    wrong = next(one for one in after if not one.correct)
    many = [dataclasses.replace(wrong, id=f"more-{number}") for number in range(MOST_SHOWN + 30)]
    write_jsonl(folder / "predictions" / "test-after.jsonl", map(asdict, (*after, *many)))
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    count = sum(not one.correct for one in (*after, *many))
    assert f"{count} of {len(after) + len(many)} test texts" in page.text
    assert f"the {MOST_SHOWN} most confident ones are listed and searched here" in page.text
    assert len(json.loads(page.scripts[0])["test"]) == MOST_SHOWN


@pytest.mark.usefixtures("no_figures")
def test_a_student_that_is_never_wrong_has_no_list(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    right = [dataclasses.replace(one, predicted=one.target) for one in read_run(folder).after]
    write_jsonl(folder / "predictions" / "test-after.jsonl", map(asdict, right))
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert "0 of 90 test texts" in page.text
    assert "mistake-filters" not in {attributes.get("id") for _, attributes in page.tags}


@pytest.mark.usefixtures("no_figures")
def test_hostile_texts_of_test_stay_in_the_island(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    after = [
        dataclasses.replace(one, text="stray " + HOSTILE[0], predicted=HOSTILE[2])
        for one in read_run(folder).after
    ]
    write_jsonl(folder / "predictions" / "test-after.jsonl", map(asdict, after))
    source = write_report(folder).read_text(encoding="utf-8")
    page = Page(source)
    assert "stray" not in page.text
    assert not any(tag == "img" for tag, _ in page.tags)
    assert not set("<>&") & set(page.scripts[0])
    assert {one["text"] for one in json.loads(page.scripts[0])["test"]} == {"stray " + HOSTILE[0]}
    # Texts reach the page only through textContent.
    assert not re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", page.scripts[-1]
    )
