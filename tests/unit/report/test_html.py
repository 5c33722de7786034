"""report.html is complete, faithful to the run, atomic, and sensible for every kind of run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.helpers.pages import Page
from tests.helpers.run_folders import LABELS, build_run

from tutelage.errors import RunError
from tutelage.report import html, trail
from tutelage.report.html import write_report
from tutelage.report.style import Colour
from tutelage.runs.read import read_run


def test_the_report_has_every_section(done: Path) -> None:
    page = Page(done.read_text(encoding="utf-8"))
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for section in (
        "summary",
        "learning",
        "classes",
        "mistakes",
        "teacher",
        "rows",
        "rejected",
        "trail",
        "run",
    ):
        assert section in ids
    targets = {str(attributes["href"])[1:] for tag, attributes in page.tags if tag == "a"}
    assert targets <= set(ids)
    assert sorted(path.name for path in done.parent.iterdir() if path.name.startswith(".")) == []


def test_the_summary_quotes_the_result(done: Path) -> None:
    run = read_run(done.parent)
    text = Page(done.read_text(encoding="utf-8")).text
    for line in (
        "student before",
        "student after",
        "supervised ceiling",
        "teacher alone, raw",
        "teacher alone, calibrated",
    ):
        assert line in text
    assert f"{100 * run.result['after']['accuracy']:.1f}" in text
    # Wilson interval of 0.93 of 90, computed independently: 84/90 gives 86.2 to 96.9.
    assert "86.2 \N{EN DASH} 96.9" in text
    assert f"{run.result['tokens']['billed']:,}" in text
    assert "gold labels: shots 3" in text


def test_the_student_that_dev_chose_is_named(done: Path, tmp_path: Path) -> None:
    assert "student kept" not in Page(done.read_text(encoding="utf-8")).text
    folder = build_run(tmp_path / "run")
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    kept = {"name": "after round 2", "stage": "round", "round": 2, "dev": 0.5}
    (folder / "result.json").write_text(json.dumps({**result, "kept": kept}), encoding="utf-8")
    text = Page(write_report(folder).read_text(encoding="utf-8")).text
    assert "student kept (best on dev) after round 2" in text
    assert text.count("The run ended with the student after round 2, the best on dev.") == 3


def test_the_teacher_s_notes_are_shown(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["teacher"]["notes"] = ["The server returns only 20 tokens."]
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    text = Page(write_report(folder).read_text(encoding="utf-8")).text
    assert text.count("The server returns only 20 tokens.") == 1


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_every_colour_has_a_value_in_every_theme(theme: str) -> None:
    style = (Path(html.__file__).parent / "report.css").read_text(encoding="utf-8")
    blocks = dict(
        zip(
            ("light", "dark", "print"),
            re.findall(r":root \{(.*?)\}", style, re.DOTALL),
            strict=True,
        )
    )
    for colour in Colour:
        assert f"--f-{colour.name.lower()}:" in blocks[theme]
    if theme != "dark":
        assert all(f"--f-{colour.name.lower()}: {colour}" in blocks[theme] for colour in Colour)


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_a_broken_run_has_a_banner_with_the_way_on(tmp_path: Path, state: str) -> None:
    page = Page(write_report(build_run(tmp_path / "run", state=state)).read_text(encoding="utf-8"))
    assert any(attributes.get("role") == "alert" for _, attributes in page.tags)
    assert "The teacher died." in page.text
    assert "tutelage train name=synthetic_test resume=true" in page.text
    assert "student so far (round 4)" in page.text


@pytest.mark.usefixtures("no_figures")
def test_a_running_run_says_so(tmp_path: Path) -> None:
    text = Page(
        write_report(build_run(tmp_path / "run", state="running")).read_text(encoding="utf-8")
    ).text
    assert "still in progress" in text


@pytest.mark.parametrize("method", ["shots", "supervised"])
def test_a_run_without_growth_is_sensible(tmp_path: Path, method: str) -> None:
    page = Page(
        write_report(build_run(tmp_path / "run", rounds=0, method=method)).read_text(
            encoding="utf-8"
        )
    )
    assert f"There was no round of growth (method {method})" in page.text
    assert "Without rounds of growth, the student reached" in page.text
    assert "Learning curve" not in page.text
    assert "mistakes fed back" not in page.text
    assert "Confusions on test" in page.text
    assert "Each class on test" in page.text
    assert "on test, before and after" not in page.text
    assert "F1 before" not in page.text


@pytest.mark.usefixtures("no_figures")
def test_a_run_that_has_only_begun_has_a_report(tmp_path: Path) -> None:
    whole = build_run(tmp_path / "whole", state="running")
    begun = tmp_path / "begun"
    begun.mkdir()
    for name in ("manifest.json", "status.json"):
        (begun / name).write_bytes((whole / name).read_bytes())
    assert (
        "Nothing has been measured on test yet"
        in Page(write_report(begun).read_text(encoding="utf-8")).text
    )


@pytest.mark.usefixtures("no_figures")
def test_numbers_that_are_not_numbers_are_shown_as_missing(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    lines = (folder / "pool" / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[-1])
    row["distribution"]["probabilities"] = [float("nan")] * len(LABELS)
    (folder / "pool" / "rows.jsonl").write_text(
        "\n".join([*lines[:-1], json.dumps(row)]) + "\n", encoding="utf-8"
    )
    island = Page(write_report(folder).read_text(encoding="utf-8")).scripts[0]
    assert json.loads(island)["rows"][-1]["confidence"] is None


@pytest.mark.usefixtures("no_figures")
def test_a_row_that_was_not_scored_has_no_label_and_no_confidence(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    lines = (folder / "pool" / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[-1]) | {
        "distribution": None,
        "accepted": False,
        "reason": "exact duplicate of shots",
        "text": "seen before",
    }
    (folder / "pool" / "rows.jsonl").write_text(
        "\n".join([*lines[:-1], json.dumps(row)]) + "\n", encoding="utf-8"
    )
    html_text = write_report(folder).read_text(encoding="utf-8")
    shown = json.loads(Page(html_text).scripts[0])["rows"]
    assert (shown[-1]["scored"], shown[-1]["confidence"]) == ("–", None)
    assert (shown[0]["kind"], shown[0]["scored"], shown[0]["confidence"]) == (
        "gold",
        LABELS[0],
        None,
    )
    (cells,) = [
        line
        for line in re.findall(r"<tr>.*?</tr>", html_text, flags=re.DOTALL)
        if "seen before" in line
    ]
    assert "100.0" not in cells
    assert cells.count("–") >= 2


@pytest.mark.usefixtures("no_figures")
def test_a_lone_surrogate_does_not_stop_the_report(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    path = folder / "growth" / "round-001.json"
    growth = json.loads(path.read_text(encoding="utf-8")) | {"analysis": "lone \ud800 end"}
    path.write_text(json.dumps(growth), encoding="utf-8")
    assert "lone ? end" in write_report(folder).read_text(encoding="utf-8")


@pytest.mark.usefixtures("no_figures")
def test_a_failed_write_leaves_the_old_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = build_run(tmp_path / "run", rounds=1)
    before = write_report(folder).read_bytes()

    def full_disk(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tutelage.report.html.os.replace", full_disk)
    with pytest.raises(RunError, match="No space left"):
        write_report(folder)
    assert (folder / "report.html").read_bytes() == before
    assert [path.name for path in folder.iterdir() if path.name.startswith(".report")] == []


def test_the_same_run_gives_the_same_report(done: Path, tmp_path: Path) -> None:
    again = write_report(build_run(tmp_path / "elsewhere"))
    assert again.read_bytes() == done.read_bytes()


def test_of_many_rows_the_page_lists_some_and_says_how_many_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = build_run(tmp_path / "run", rounds=3, rows_a_round=40)
    run = read_run(folder)
    monkeypatch.setattr(trail, "MOST_ROWS", 50)
    monkeypatch.setattr(trail, "MOST_MISTAKES", 1)
    monkeypatch.setattr(html, "MOST_MISTAKES", 1)
    monkeypatch.setattr(html, "_figures", lambda *_: {})
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    data = trail.trail_data(run)
    listed = [row["id"] for row in data["rows"]]
    assert len(listed) == 50
    order = [row.id for row in run.rows]
    assert listed == [one for one in order if one in set(listed)]
    assert {row.id for row in run.rows if row.given} <= set(listed)
    assert {row["round"] for row in data["rows"]} == {0, 1, 2, 3}
    assert all(len(own) <= 1 for own in data["mistakes"].values())
    fed_back = sum(len(run.feedback_for(number)) for number in run.growth)
    left = {
        "rows": len(order) - 50,
        "mistakes": fed_back - sum(map(len, data["mistakes"].values())),
    }
    assert data["left_out"] == left
    assert left["mistakes"] > 0
    assert f"50 of {len(order)} rows are listed" in page.text
    assert f"{left['rows']} are left out. All of them are in pool/rows.jsonl" in page.text
    assert f"{left['mistakes']} are left out. All of them are in feedback/" in page.text


def test_a_page_with_all_rows_says_nothing_of_it(done: Path) -> None:
    assert "left out. All of them" not in Page(done.read_text(encoding="utf-8")).text
