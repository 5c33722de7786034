"""A damaged or foreign run folder gives a report with notes, or one clear error."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.ner_folders import build_ner_run
from tests.helpers.pages import Page
from tests.helpers.run_folders import build_run

from tutelage.errors import RunError
from tutelage.report.figures import FIGURES, FigureKind
from tutelage.report.html import write_report

CONTENTS = (
    b"",
    b"[]\n",
    b"5\n",
    b"null\n",
    b"{}\n",
    b'"x"\n',
    b"\xff\xfe{}\n",
    b"[" * 100_000 + b"\n",
    b"\0" * 200 + b"\n",
)
_STEP = 7
VALUES: tuple[Any, ...] = (
    None,
    "x",
    -1,
    10**9,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    True,
    [],
    {},
    [None],
    {"a": None},
    "\ud800",
)


@pytest.fixture(scope="module", params=["classification", "ner"])
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "run"
    if request.param == "ner":
        return build_ner_run(folder)
    return build_run(folder, rounds=1, rows_a_round=6, test_count=12)


def altered(content: bytes, suffix: str, values: Iterator[Any]) -> Iterator[bytes]:
    """Replaces each key of a record, and each key of its objects, by a value of another kind."""
    if suffix not in (".json", ".jsonl"):
        return
    first, _, rest = content.partition(b"\n") if suffix == ".jsonl" else (content, b"", b"")
    if not first:
        return
    record = json.loads(first)
    places = [(record, key) for key in record]
    for node in record.values():
        # Lists hold objects, too.
        inner = node[0] if isinstance(node, list) and node else node
        places += [(inner, key) for key in inner] if isinstance(inner, dict) else []
    for node, key in places:
        kept = node[key]
        node[key] = next(values)
        yield json.dumps(record).encode() + (b"\n" + rest if suffix == ".jsonl" else b"")
        node[key] = kept


def drawn(folder: Path) -> str:
    """The page, or the error in one line."""
    try:
        page = write_report(folder).read_text(encoding="utf-8")
    except RunError as error:
        message = str(error)
    else:
        assert page.rstrip().endswith("</html>")
        return page
    assert "\n" not in message
    return message


@pytest.mark.usefixtures("no_figures")
def test_any_damage_of_any_file_leaves_a_report_or_one_error(sound: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(sound, folder)
    values = (VALUES[number % len(VALUES)] for number in count())
    files = sorted(one for one in sound.rglob("*.*") if one.is_file() and "figures" not in str(one))
    for number, path in enumerate(files):
        target, whole = folder / path.relative_to(sound), path.read_bytes()
        # Some damages of each file, others of the next: together they are all kinds.
        damages = [*CONTENTS, whole[: len(whole) // 2], *altered(whole, path.suffix, values)]
        for content in damages[number % _STEP :: _STEP]:
            target.write_bytes(content)
            drawn(folder)
        target.unlink()
        (target.mkdir, lambda one=target: os.mkfifo(one), lambda: None)[number % 3]()
        drawn(folder)
        target.rmdir() if target.is_dir() else target.unlink(missing_ok=True)
        target.write_bytes(whole)


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    "name",
    [
        "status.json",
        "result.json",
        "metrics.jsonl",
        "pool/rows.jsonl",
        "growth/round-001.json",
        "feedback/round-000.jsonl",
        "predictions/test-after.jsonl",
        "teacher/evaluation.jsonl",
        "selection.jsonl",
    ],
)
def test_a_file_that_cannot_be_read_is_noted_on_the_page_and_told(
    sound: Path, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "run"))
    if not (folder / name).exists():
        name = "status.json"  # a run of entities has fewer files
    (folder / name).write_bytes(b"[]\n[]\n")
    page = Page(write_report(folder).read_text(encoding="utf-8")).text
    assert page.count(str(folder / name)) == 1
    assert "This report goes without the file." in page
    (record,) = caplog.records
    assert (record.levelno, name in record.getMessage()) == (logging.WARNING, True)


@pytest.mark.usefixtures("no_figures")
def test_single_values_of_a_wrong_kind_are_left_out(sound: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "run"))
    for name, changes in (
        ("manifest.json", {"hardware": 5, "packages": ["a"], "truncated": {"student": "x"}}),
        ("result.json", {"tokens": {"billed": -5}, "seconds": [], "after": {"accuracy": 73.1}}),
    ):
        found = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps({**found, **changes}), encoding="utf-8")
    page = Page(write_report(folder).read_text(encoding="utf-8")).text
    for key in ("hardware", "packages", "truncated.student", "tokens.billed", "seconds", "after"):
        assert f'"{key}" is not as a run writes it' in page, key
    assert "73.1, not in [0, 1]" in page


@pytest.mark.usefixtures("no_figures")
def test_a_finished_run_without_its_files_says_so(sound: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "run"))
    (folder / "result.json").unlink()
    page = Page(write_report(folder).read_text(encoding="utf-8")).text
    assert "result.json is missing, although status.json says that the run is done" in page


@pytest.mark.usefixtures("no_figures")
def test_nothing_outside_the_folder_is_read_or_written(sound: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("canary\n", encoding="utf-8")
    (outside / "learning-by-round.png").write_text("mine", encoding="utf-8")
    for name in ("config.yaml", "pool/rows.jsonl", "status.json", "growth/round-001.json"):
        folder = Path(shutil.copytree(sound, tmp_path / name.replace("/", "-")))
        shutil.rmtree(folder / "figures", ignore_errors=True)
        (folder / name).unlink(missing_ok=True)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(outside / "file")
        shown = drawn(folder)
        assert "canary" not in shown
        assert "a link to a file outside" in shown
    shutil.rmtree(folder / "figures")
    (folder / "figures").symlink_to(outside)
    assert "leads out of the run's folder" in drawn(folder)
    assert (outside / "learning-by-round.png").read_text(encoding="utf-8") == "mine"
    # A run folder itself may be a link, as those of a sweep are.
    (tmp_path / "linked").symlink_to(sound)
    assert "goes without" not in drawn(tmp_path / "linked")


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("name", ["manifest.json", "pool/rows.jsonl", "config.yaml"])
def test_an_absurdly_large_file_is_not_read(sound: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "run"))
    with (folder / name).open("wb") as stream:
        stream.truncate(1 << 40)  # takes no room on the disk
    assert "has 1,099,511,627,776 bytes" in drawn(folder)


def test_figures_that_contradict_the_rest_are_noted(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(run: object) -> None:
        raise ZeroDivisionError("division by zero")

    first, second = FIGURES[4], FIGURES[3]
    broken = FigureKind(second.name, second.title, second.caption, fails)
    monkeypatch.setattr("tutelage.report.figures.FIGURES", (first, broken))
    folder = Path(shutil.copytree(sound, tmp_path / "run"))
    page = Page(write_report(folder).read_text(encoding="utf-8")).text
    assert f"The figure “{second.title}” could not be drawn (ZeroDivisionError" in page
    assert [path.name for path in (folder / "figures").iterdir()] == [f"{first.name}.png"]


def test_a_report_that_was_killed_is_drawn_again_whole(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tutelage.report.figures.FIGURES", FIGURES[3:5])
    folder = Path(shutil.copytree(sound, tmp_path / "run"))
    whole = write_report(folder).read_bytes()
    figures = {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}
    assert len(figures) == 2
    # A kill leaves unfinished files of a process that is gone, and figures half done.
    gone = 2**22 + 1  # beyond the numbers of processes
    (folder / f".drawing-{gone}-report.html").write_text("<html>")
    (folder / "figures" / f".drawing-{gone}-abc").mkdir()
    own = folder / f".drawing-{os.getpid()}-other"
    own.write_text("of a process at work")
    (folder / "report.html").unlink()
    (folder / "figures" / min(figures)).unlink()
    (folder / "figures" / max(figures)).write_bytes(b"half")
    assert write_report(folder).read_bytes() == whole
    assert {path.name: path.read_bytes() for path in (folder / "figures").iterdir()} == figures
    assert [path for path in folder.iterdir() if path.name.startswith(".")] == [own]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_the_report_follows_the_umask(
    sound: Path, tmp_path: Path, mask: int, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tutelage.report.figures.FIGURES", FIGURES[4:5])
    folder = Path(shutil.copytree(sound, tmp_path / "run"))
    before = os.umask(mask)
    try:
        made = [write_report(folder), *(folder / "figures").iterdir()]
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in made} == {mode}


@pytest.mark.usefixtures("no_figures")
def test_warnings_stand_first_and_the_splits_are_a_table(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run", rounds=1)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["data"]["warnings"] = ["pool: 41 of 2,000 texts <b>are</b> odd.", "told twice"]
    manifest["data"]["splits"] = [
        {
            "name": "pool",
            "where": "data/pool.csv",
            "read": 2000,
            "kept": 1985,
            "classes": {f"class {number}": number for number in range(1, 15)},
            "dropped": {"duplicate": 12, "in test": 3},
            "replaced": 41,
            "unlabelled": 7,
        },
        {"name": "dev", "where": "validation", "read": 40, "kept": 40},
    ]
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    result["warnings"] = ["told twice", "The student is no better than chance."]
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    source = write_report(folder).read_text(encoding="utf-8")
    head = source[: source.index('id="summary"')]
    text = Page(head).text
    for warning in (*manifest["data"]["warnings"], *result["warnings"]):
        assert text.count(warning) == 1
    (table,) = re.findall(r'<section id="data">.*?</section>', source, flags=re.DOTALL)
    cells = " ".join(Page(table).text.replace("\N{NO-BREAK SPACE}", " ").split())
    assert "pool pool.csv 2,000 1,985 duplicate: 12 in test: 3 41 class 14 14, class 13 13" in cells
    assert "class 3 3, and 2 more; 7 without a label" in cells
    assert "dev validation 40 40 – –" in cells
