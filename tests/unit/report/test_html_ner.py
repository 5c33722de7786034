"""report.html for NER: its own terms, and entities in place of labels."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.helpers.ner_folders import TYPES, build_ner_run
from tests.helpers.pages import HOSTILE, Page

from tutelage.report import html
from tutelage.report.html import write_report
from tutelage.report.markings import TINTS
from tutelage.runs.read import read_run


def test_a_run_of_entities_has_every_section_in_its_own_words(ner: Path) -> None:
    page = Page(ner.read_text(encoding="utf-8"))
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for section in (
        "summary",
        "learning",
        "classes",
        "errors",
        "mistakes",
        "teacher",
        "rows",
        "rejected",
        "trail",
        "run",
    ):
        assert section in ids
    result = read_run(ner.parent).result
    assert (
        f"Test entity F1 went from {100 * result['before']['f1_strict']:.1f} % "
        f"to {100 * result['after']['f1_strict']:.1f} %" in page.text
    )
    for words in (
        "texts right, %",
        "bootstrap over the test texts (1,000 draws)",
        "Each entity type on test",
        "type and boundary",
        "test entities",
        "default-mode F1, %",
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
        for pieces, target in (
            (one["right"], outcome.target),
            (one["predicted"], outcome.predicted),
        ):
            assert "".join(text for text, _, _ in pieces) == outcome.text
            assert [type for _, type, _ in pieces if type] == [
                type for _, _, type in json.loads(target)
            ]
        assert [fault for _, _, fault in one["right"] if fault] == ["missed"] * sum(
            fault == "missed" for _, _, fault in one["right"]
        )
        assert any(fault for _, _, fault in [*one["right"], *one["predicted"]])
    for shown, row in zip(data["rows"], run.rows, strict=True):
        assert "".join(text for text, _, _ in shown["pieces"]) == row.text
        assert (shown["confidence"] is None) == (row.source == "gold" or not row.accepted)
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
    text = Page(
        write_report(build_ner_run(tmp_path / "run", state=state)).read_text(encoding="utf-8")
    ).text
    assert "student so far (round 2)" in text
    assert "Errors on test by kind" in text


@pytest.mark.usefixtures("no_figures")
def test_a_type_has_one_colour_and_another_type_another(tmp_path: Path) -> None:
    folder = build_ner_run(tmp_path / "run")
    path = folder / "pool" / "rows.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    # The template renders legends and rejected rows; "DATE" is not one of the task's types.
    rejected = {
        "accepted": False,
        "reason": "near duplicate",
        "entity_confidence": [],
        "distribution": None,
        "text": "Ada met Acme in May",
    }
    targets = ('[[0, 1, "PER"], [2, 3, "ORG"]]', '[[0, 1, "PER"], [4, 5, "DATE"]]')
    lines += [
        lines[-1] | rejected | {"id": f"marked-{index}", "target": target}
        for index, target in enumerate(targets)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    source = write_report(folder).read_text(encoding="utf-8")
    drawn = re.findall(r'<mark class="(t\d+)">[^<]*<span class="type">([^<]*)</span>', source)
    assert [type for _, type in drawn].count("PER") == 4
    classes = {type: {tint for tint, named in drawn if named == type} for type in (*TYPES, "DATE")}
    assert all(len(tints) == 1 for tints in classes.values())
    assert len(set.union(*classes.values())) == len(classes)
    # The script uses the same colours.
    data = json.loads(Page(source).scripts[0])
    assert {type: {f"t{data['tints'][type]}"} for type in classes} == classes
    shown = [pieces for row in data["rows"] for pieces in row["pieces"]]
    shown += [
        pieces
        for one in (*data["test"], *data["mistakes"]["1"])
        for side in ("right", "predicted")
        for pieces in one[side]
    ]
    assert {type for _, type, _ in shown if type} <= set(data["tints"])


def test_every_tint_has_a_colour() -> None:
    style = (Path(html.__file__).parent / "report.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"\.t(\d+) \{ --tint: (var\(--f-\w+\)); \}", style))
    assert sorted(colours) == [str(number) for number in range(TINTS)]
    assert len(set(colours.values())) == TINTS


def test_the_default_mode_stands_beside_what_is_quoted(ner: Path) -> None:
    source = ner.read_text(encoding="utf-8")
    (table,) = re.findall(
        r"<table.*?</table>",
        source[source.index('id="summary"') : source.index("Teacher tokens")],
        flags=re.DOTALL,
    )
    cells = {
        name: re.findall(r"<td[^>]*>(.*?)</td>", line)
        for name, line in re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', table, re.DOTALL)
    }
    assert list(cells) == ["student before", "student after", "supervised ceiling", "teacher alone"]
    # The folder contains spans instead of tags, so both modes agree.
    assert all(found[0] == found[4] for found in cells.values())
    page = Page(source).text
    assert "(task.constrained=true) both values are equal by construction" in page
    assert "runs are not compared by it" in page
