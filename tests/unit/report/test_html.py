"""report.html: self-contained, escaped, atomic, and sensible for every kind of run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.ner_folders import TYPES, build_ner_run
from tests.run_folders import LABELS, build_run

from tutelage.errors import RunError
from tutelage.report import html
from tutelage.report.html import write_report
from tutelage.report.runs import read_run
from tutelage.report.style import Colour
from tutelage.report.trail import script_json

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "{{7*7}}",
    "javascript:alert(1)",
    "W" * 3000,
    "\u202e\u05e9\u05dc\u05d5\u05dd",
    "a\u2028b\u2029c & <b>d</b>",
    "' onmouseover=alert(1) x=\"",
    "<!--<script>",
    "\x00\x1b[31m",
)


class Page(HTMLParser):
    """Collects tags, attributes and text; the text of scripts and styles apart."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else self._inside

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif not self._inside:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(build_run(tmp_path_factory.mktemp("runs") / "run"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(build_run(tmp_path_factory.mktemp("runs") / "run", labels=(*HOSTILE[:2], "שלום"), texts=HOSTILE, state="failed"))


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the figures out: seconds a report, and other tests look at them."""
    monkeypatch.setattr("tutelage.report.html.draw_figures", lambda run: {})


def test_the_report_has_every_section(done: Path) -> None:
    page = Page(done.read_text(encoding="utf-8"))
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for section in ("summary", "learning", "classes", "teacher", "rows", "rejected", "trail", "run"):
        assert section in ids
    targets = {str(attributes["href"])[1:] for tag, attributes in page.tags if tag == "a"}
    assert targets <= set(ids)
    assert sorted(path.name for path in done.parent.iterdir() if path.name.startswith(".")) == []


def test_the_summary_quotes_the_result(done: Path) -> None:
    run = read_run(done.parent)
    text = Page(done.read_text(encoding="utf-8")).text
    for line in ("student before", "student after", "supervised ceiling", "teacher alone, raw", "teacher alone, calibrated"):
        assert line in text
    assert f"{100 * run.result['after']['accuracy']:.1f}" in text
    # Wilson interval of 0.93 of 90, worked out apart: (84/90) gives 86.2 to 96.9.
    assert "86.2 \N{EN DASH} 96.9" in text
    assert f"{run.result['tokens']['billed']:,}" in text
    assert "gold labels: shots 3" in text


def test_nothing_points_outside(done: Path, hostile: Path) -> None:
    for path in (done, hostile):
        page = Page(path.read_text(encoding="utf-8"))
        for _, attributes in page.tags:
            for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
                value = attributes.get(name)
                assert value is None or value.startswith("#") or value == "data:,", (name, value)
        source = path.read_text(encoding="utf-8")
        assert "@import" not in source
        assert not re.findall(r"url\((?!#)", source)
        assert "http://" not in source
        assert "https://" not in source


def test_the_policy_allows_only_our_script(done: Path) -> None:
    page = Page(done.read_text(encoding="utf-8"))
    policy = next(attributes["content"] for tag, attributes in page.tags if attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    digest = base64.b64encode(hashlib.sha256(page.scripts[-1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    assert "unsafe-eval" not in policy
    kinds = [attributes.get("type") for tag, attributes in page.tags if tag == "script"]
    assert kinds == ["application/json", None]


def test_hostile_text_makes_no_markup(done: Path, hostile: Path) -> None:
    plain, page = Page(done.read_text(encoding="utf-8")), Page(hostile.read_text(encoding="utf-8"))
    assert {tag for tag, _ in page.tags} - {tag for tag, _ in plain.tags} == set()
    assert not any(tag == "img" for tag, _ in page.tags)
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 2
    assert "</script><img src=x onerror=alert(1)>" in page.text
    assert "{{7*7}}" in page.text


def test_the_island_gives_back_what_the_pool_holds(hostile: Path) -> None:
    island = Page(hostile.read_text(encoding="utf-8")).scripts[0]
    assert not set("<>&\u2028\u2029") & set(island)
    data = json.loads(island)
    run = read_run(hostile.parent)
    assert [row["text"] for row in data["rows"]] == [row.text for row in run.rows]
    assert [row["why"] for row in data["rows"]] == [row.reason for row in run.rows]
    assert set(HOSTILE) & {row["text"] for row in data["rows"]}
    assert len(data["mistakes"]["1"]) == len(run.feedback_for(1)) > 0


def test_script_json_refuses_what_json_cannot_hold() -> None:
    assert script_json({"a": "</script>\u2028&"}) == '{"a":"\\u003c/script\\u003e\\u2028\\u0026"}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json({"a": float("nan")})


def test_the_page_script_parses_no_markup() -> None:
    script = (Path(html.__file__).parent / "report.js").read_text(encoding="utf-8")
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "setAttribute"):
        assert forbidden not in script


def test_the_template_marks_nothing_safe() -> None:
    template = (Path(html.__file__).parent / "report.html.j2").read_text(encoding="utf-8")
    assert "safe" not in re.findall(r"\|\s*(\w+)", template)
    assert "autoescape" not in template


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_every_colour_has_a_value_in_every_theme(theme: str) -> None:
    style = (Path(html.__file__).parent / "report.css").read_text(encoding="utf-8")
    blocks = dict(zip(("light", "dark", "print"), re.findall(r":root \{(.*?)\}", style, re.DOTALL), strict=True))
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
    text = Page(write_report(build_run(tmp_path / "run", state="running")).read_text(encoding="utf-8")).text
    assert "still going" in text


@pytest.mark.parametrize("method", ["shots", "supervised"])
def test_a_run_without_growth_is_sensible(tmp_path: Path, method: str) -> None:
    page = Page(write_report(build_run(tmp_path / "run", rounds=0, method=method)).read_text(encoding="utf-8"))
    assert f"No round of growth was made (method {method})" in page.text
    assert "Without any growth, the student reached" in page.text
    assert "Learning curve" not in page.text
    assert "mistakes fed back" not in page.text
    assert "Confusions on test" in page.text


@pytest.mark.usefixtures("no_figures")
def test_a_run_that_has_only_begun_has_a_report(tmp_path: Path) -> None:
    whole = build_run(tmp_path / "whole", state="running")
    begun = tmp_path / "begun"
    begun.mkdir()
    for name in ("manifest.json", "status.json"):
        (begun / name).write_bytes((whole / name).read_bytes())
    assert "Nothing has been measured on test yet" in Page(write_report(begun).read_text(encoding="utf-8")).text


@pytest.mark.usefixtures("no_figures")
def test_numbers_that_are_not_numbers_are_shown_as_missing(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    lines = (folder / "pool" / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[-1])
    row["distribution"]["probabilities"] = [float("nan")] * len(LABELS)
    (folder / "pool" / "rows.jsonl").write_text("\n".join([*lines[:-1], json.dumps(row)]) + "\n", encoding="utf-8")
    island = Page(write_report(folder).read_text(encoding="utf-8")).scripts[0]
    assert json.loads(island)["rows"][-1]["sure"] is None


@pytest.mark.usefixtures("no_figures")
def test_a_row_that_was_not_scored_has_no_label_and_no_confidence(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    lines = (folder / "pool" / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[-1]) | {"distribution": None, "accepted": False, "reason": "exact duplicate of shots", "text": "seen before"}
    (folder / "pool" / "rows.jsonl").write_text("\n".join([*lines[:-1], json.dumps(row)]) + "\n", encoding="utf-8")
    html_text = write_report(folder).read_text(encoding="utf-8")
    shown = json.loads(Page(html_text).scripts[0])["rows"]
    assert (shown[-1]["scored"], shown[-1]["sure"]) == ("–", None)
    assert (shown[0]["kind"], shown[0]["scored"], shown[0]["sure"]) == ("gold", LABELS[0], None)
    (cells,) = [line for line in re.findall(r"<tr>.*?</tr>", html_text, flags=re.DOTALL) if "seen before" in line]
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
def test_a_failed_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build_run(tmp_path / "run", rounds=1)
    before = write_report(folder).read_bytes()

    def full_disk(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tutelage.report.html.os.replace", full_disk)
    with pytest.raises(RunError, match="No space left"):
        write_report(folder)
    assert (folder / "report.html").read_bytes() == before
    assert [path.name for path in folder.iterdir() if path.name.startswith(".report")] == []


@pytest.fixture(scope="module")
def ner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(build_ner_run(tmp_path_factory.mktemp("runs") / "run"))


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


def test_the_same_run_gives_the_same_report(done: Path, tmp_path: Path) -> None:
    again = write_report(build_run(tmp_path / "elsewhere"))
    assert again.read_bytes() == done.read_bytes()
