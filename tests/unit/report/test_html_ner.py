"""report.html of named entities: its own words, and markings in place of labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.ner_folders import TYPES, build_ner_run
from tests.pages import HOSTILE, Page

from tutelage.report.html import write_report
from tutelage.report.runs import read_run


def test_a_run_of_entities_has_every_section_in_its_own_words(ner: Path) -> None:
    page = Page(ner.read_text(encoding="utf-8"))
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for section in ("summary", "learning", "classes", "errors", "teacher", "rows", "rejected", "trail", "run"):
        assert section in ids
    result = read_run(ner.parent).result
    assert (
        f"Test entity F1 went from {100 * result['before']['f1_strict']:.1f} % to {100 * result['after']['f1_strict']:.1f} %" in page.text
    )
    for words in (
        "texts right, %",
        "bootstrap over the test texts (1,000 draws)",
        "Each entity type on test",
        "type and boundary",
        "test entities",
    ):
        assert words in page.text
    assert "macro-F1" not in page.text
    assert "teacher alone, raw" not in page.text


def test_a_classification_has_no_word_of_entities(done: Path) -> None:
    page = Page(done.read_text(encoding="utf-8"))
    assert "entit" not in page.text
    assert not [tag for tag, _ in page.tags if tag == "mark"]


def test_the_island_holds_both_markings(ner: Path) -> None:
    data = json.loads(Page(ner.read_text(encoding="utf-8")).scripts[0])
    run = read_run(ner.parent)
    assert data["marked"] is True
    mistakes = data["mistakes"]["1"]
    assert len(mistakes) == len(run.feedback_for(1)) > 0
    for one, outcome in zip(mistakes, run.feedback_for(1), strict=True):
        assert one["faults"]
        for pieces, target in ((one["right"], outcome.target), (one["said"], outcome.predicted)):
            assert "".join(text for text, _, _ in pieces) == outcome.text
            assert [type for _, type, _ in pieces if type] == [type for _, _, type in json.loads(target)]
        assert [fault for _, _, fault in one["right"] if fault] == ["missed"] * sum(fault == "missed" for _, _, fault in one["right"])
        assert any(fault for _, _, fault in [*one["right"], *one["said"]])
    for shown, row in zip(data["rows"], run.rows, strict=True):
        assert "".join(text for text, _, _ in shown["pieces"]) == row.text
        assert (shown["sure"] is None) == (row.source == "gold" or not row.accepted)
        assert shown["scored"] in (*TYPES, "O", "–")
        assert {type for _, type, _ in shown["pieces"] if type} <= set(shown["classes"])


def test_hostile_entities_make_no_markup(ner: Path, tmp_path: Path) -> None:
    spaced = tuple(text for text in HOSTILE if " " not in text)
    path = write_report(build_ner_run(tmp_path / "run", types=(*HOSTILE[:2], "שלום"), texts=spaced))
    plain, page = Page(ner.read_text(encoding="utf-8")), Page(path.read_text(encoding="utf-8"))
    assert {tag for tag, _ in page.tags} - {tag for tag, _ in plain.tags} == set()
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 2
    assert not set("<>&\u2028\u2029") & set(page.scripts[0])
    data = json.loads(page.scripts[0])
    assert any(type == HOSTILE[0] for row in data["rows"] for _, type, _ in row["pieces"])


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("state", ["running", "failed"])
def test_an_unfinished_run_of_entities_has_a_report(tmp_path: Path, state: str) -> None:
    text = Page(write_report(build_ner_run(tmp_path / "run", state=state)).read_text(encoding="utf-8")).text
    assert "student so far (round 2)" in text
    assert "Errors on test by kind" in text
