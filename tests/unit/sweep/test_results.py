"""A sweep's folder that is damaged or from somebody else: a report with notes, or one error."""

from __future__ import annotations

import json
import os
import shutil
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.pages import Page
from tests.unit.sweep.sweeps import build_sweep, give_shares

from tutelage.errors import RunError
from tutelage.sweep.page import write_sweep_report
from tutelage.sweep.results import read_sweep

CONTENTS = (b"", b"[]", b"5\n", b"{}\n", b'"x"\n', b"[" * 100_000 + b"\n", b"\0" * 99, b"\xff\xfe{")
VALUES: tuple[Any, ...] = (None, "x", -1, 10**12, 10**400, float("nan"), [], {}, [None], True)
_STEP = 3
IMPOSSIBLE = '{"round": 1, "billed_tokens": "x", "accepted": 1, "dev": {"accuracy": 0.5}}\n'


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build_sweep(tmp_path_factory.mktemp("sound"), {"shots": (0.5, 0.6), "evokd": (0.7,)})
    give_shares(folder / "0", 0.1, 0.05, (1, 2, 3))
    (folder / "multirun.yaml").write_text("sweep:\n  metric: null\n")
    (folder / "sweep.json").write_text('{"jobs": 3}')
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "mine" / sound.name))


def change(path: Path, **values: Any) -> None:
    found = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**found, **values}), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "note"),
    [
        (lambda sweep: (sweep / "1" / "result.json").unlink(), "has no result.json"),
        (lambda sweep: (sweep / "1" / "result.json").write_text("{"), "is not valid JSON"),
        (lambda sweep: (sweep / "1" / "manifest.json").write_text("[1]"), "contains a list"),
        (lambda sweep: (sweep / "1" / "config.yaml").unlink(), "config.yaml cannot be read"),
        (
            lambda sweep: (sweep / "1" / "config.yaml").write_text(
                "a: &a [x]\n"
                + "".join(
                    f"b{n}: &b{n} [{', '.join(['*a' if n == 0 else f'*b{n - 1}'] * 20)}]\n"
                    for n in range(9)
                )
            ),
            "config.yaml has more than 100,000 values",
        ),
        (
            lambda sweep: change(sweep / "1" / "result.json", after={"accuracy": 73.1}),
            "accuracy is 73.1, not in [0, 1]",
        ),
        (
            lambda sweep: change(sweep / "1" / "result.json", tokens={"billed": "x"}),
            "tokens.billed",
        ),
        (
            lambda sweep: (sweep / "1" / "metrics.jsonl").write_text(IMPOSSIBLE),
            "not as a run writes them",
        ),
        (lambda sweep: change(sweep / "jobs" / "001.json", folder="../../outside"), "is outside"),
        (lambda sweep: change(sweep / "jobs" / "001.json", folder="/etc"), "is outside"),
        (lambda sweep: change(sweep / "jobs" / "001.json", folder="\ud800\0"), "is outside"),
    ],
)
def test_a_run_that_cannot_be_read_is_left_out_with_a_note(
    folder: Path, spoil: Any, note: str
) -> None:
    spoil(folder)
    results = read_sweep(folder)
    assert len(results.runs) == 2
    assert results.notes[0].startswith("Job 1 is left out: ")
    assert note in results.notes[0]
    assert not (folder.parent.parent / "outside").exists()


def test_without_any_readable_run_it_is_an_error(folder: Path) -> None:
    for path in folder.glob("*/result.json"):
        path.write_text("{")
    with pytest.raises(RunError, match=r"Job 0 is left out: .*is not valid JSON"):
        read_sweep(folder)


def test_a_link_to_a_run_of_an_earlier_time_is_read_and_one_to_elsewhere_is_not(
    folder: Path, tmp_path: Path
) -> None:
    earlier = folder.parent / "2025-01-01_00-00-00" / "7"
    earlier.parent.mkdir()
    (folder / "1").rename(earlier)
    (folder / "1").symlink_to(os.path.relpath(earlier, folder))
    change(folder / "jobs" / "001.json", folder=os.path.relpath(earlier, folder))
    assert len(read_sweep(folder).runs) == 3
    page = Page(write_sweep_report(folder).read_text(encoding="utf-8"))
    links = [str(values["href"]) for tag, values in page.tags if tag == "a"]
    assert "./../2025-01-01_00-00-00/7/report.html" in links
    shutil.copytree(earlier, tmp_path / "elsewhere")
    (folder / "1").unlink()
    (folder / "1").symlink_to(tmp_path / "elsewhere")
    change(folder / "jobs" / "001.json", folder="1")
    assert "is outside" in read_sweep(folder).notes[0]


def test_no_name_of_a_folder_becomes_a_script_or_markup(folder: Path) -> None:
    evil = ("javascript:alert(1)", 'x" onclick="alert(1)', "<script>alert(1)<")
    for number, name in enumerate(evil):
        (folder / str(number)).rename(folder / name)
        change(folder / "jobs" / f"00{number}.json", folder=name, overrides=[f"method={name}"])
    source = write_sweep_report(folder).read_text(encoding="utf-8")
    page = Page(source)
    links = [str(values["href"]) for tag, values in page.tags if tag == "a"]
    assert all(link.startswith(("#", "./")) and ":" not in link for link in links)
    assert len([link for link in links if link.startswith("./")]) == 3
    assert not [name for _, values in page.tags for name in values if name.startswith("on")]
    assert not [tag for tag, _ in page.tags if tag == "script"]


def test_no_cell_of_a_table_is_a_formula(folder: Path) -> None:
    change(folder / "jobs" / "000.json", overrides=['=HYPERLINK("http://host")'])
    write_sweep_report(folder)
    table = (folder / "tables" / "arms.csv").read_text(encoding="utf-8")
    assert "'=HYPERLINK" in table
    assert ",=" not in table
    assert ',"=' not in table


def test_any_damage_of_any_file_leaves_a_report_or_one_error(
    folder: Path, sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Figures take seconds, and have tests of their own.
    monkeypatch.setattr("tutelage.sweep.page.sweep_figures", lambda *_: iter(()))
    values = (VALUES[number % len(VALUES)] for number in count())
    messages = []
    for number, path in enumerate(sorted(one for one in sound.rglob("*.*") if one.is_file())):
        whole, target = path.read_bytes(), folder / path.relative_to(sound)
        damages = [*CONTENTS, whole[: len(whole) // 2]]
        if path.suffix == ".json":
            record = json.loads(whole)
            damages += [json.dumps({**record, key: next(values)}).encode() for key in record]
        if path.suffix == ".jsonl":
            record = json.loads(whole.partition(b"\n")[0])
            damages += [
                json.dumps({**record, key: next(values)}).encode() + b"\n" for key in record
            ]
        for content in damages[number % _STEP :: _STEP]:
            target.write_bytes(content)
            try:
                page = write_sweep_report(folder)
            except RunError as error:
                messages.append(str(error))
            else:
                assert page.read_text(encoding="utf-8").rstrip().endswith("</html>")
        target.write_bytes(whole)
    assert messages
    assert not [message for message in messages if "\n" in message]
