"""The files of the how-to pages, written out and run: what a page shows works as it stands."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from tests.conftest import Command
from tests.helpers import tiny
from tests.helpers.tiny import lines

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.M | re.S)
SMALL = (
    "method.rounds=1",
    "training.start_epochs=2",
    "training.round_epochs=1",
    "training.final_epochs=1",
)
SMALLER = {
    "evokd": (*SMALL, "method.n_hard=7", "method.n_easy=7"),
    "llkd_on_demand": (*SMALL, "method.first=10", "method.n_texts=5"),
    "full_pool": ("training.start_epochs=2",),
    "rephrase": (*SMALL, "method.n_texts=14"),
}
"""Settings that make a run of each method take a second."""


@dataclass(frozen=True)
class Page:
    """A page's files by path, and its commands."""

    files: dict[str, str]
    commands: tuple[list[str], ...]


def read_page(name: str) -> Page:
    text = (PAGES / name).read_text(encoding="utf-8")
    files: dict[str, str] = {}
    commands: list[list[str]] = []
    for language, title, body in FENCE.findall(text):
        if title:
            # A page may show a file in several pieces.
            files[title] = "\n\n".join(filter(None, (files.get(title), body)))
        elif language == "bash":
            words = (shlex.split(line, comments=True) for line in body.splitlines())
            commands += [line[1:] for line in words if line and line[0] == "PYTHONPATH=."]
    return Page(files, tuple(line[1:] for line in commands if line[0] == "tutelage"))


@pytest.fixture
def imports(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules of the working directory can be imported, and are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(workplace))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("my_", "test_my_")):
            del sys.modules[name]


def write(page: Page, folder: Path) -> None:
    for name, content in page.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def runs_of(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("outputs/*/*/result.json"))


def values_of(overrides: list[str]) -> dict[str, str]:
    pairs = (one.partition("=") for one in overrides if not one.startswith("--"))
    return {key: value for key, _, value in pairs}


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("add-a-selector.md", 3),
        ("add-a-method.md", 2),
        ("add-a-prompt.md", 2),
        ("add-a-task.md", 2),
        ("add-a-callback-or-logger.md", 1),
    ],
)
def test_every_file_and_command_of_a_page_works(
    name: str,
    runs: int,
    tutelage: Command,
    imports: None,
    student: Path,
    small_data: Path,
    workplace: Path,
    no_report: None,
):
    page = read_page(name)
    write(page, workplace)
    assert len(page.commands) == runs
    for number, command in enumerate(page.commands):
        given = values_of(command)
        settings = [
            *tiny.scripted(student, small_data, workplace / "replies.sqlite"),
            *SMALLER[given.get("method", "evokd")],
            f"hydra.run.dir=outputs/{number}/0",
        ]
        # The page's data set is not there; apart from that its own values win.
        own = [one for one in command[1:] if not one.startswith("data")]
        small = [
            one for one in settings if one.startswith("data") or one.partition("=")[0] not in given
        ]
        ended = tutelage(command[0], *own, *small)
        assert ended.code == 0, ended.err
    assert len(runs_of(workplace)) == runs
    CHECKS[name](workplace)


def check_selectors(folder: Path) -> None:
    acquired, accepted, selected = runs_of(folder)
    rows = lines(acquired / "pool" / "rows.jsonl")
    scores = [float(row["detail"]["acquisition"]) for row in rows if row["round"] == 1]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    reasons = {row["reason"] for row in lines(accepted / "pool" / "rows.jsonl")}
    assert "leads by less than 0.2" in reasons
    chosen = lines(selected / "selection.jsonl")
    assert sum(sum(line["kept"].values()) for line in chosen) > 0
    assert json.loads((selected / "result.json").read_text())["share_of_data"]["selections"] < 0.5
    example: ModuleType = __import__("test_my_selectors")
    example.test_an_outlier_is_not_chosen_first()


def check_method(folder: Path) -> None:
    for run in runs_of(folder):
        manifest = json.loads((run / "manifest.json").read_text())
        assert manifest["method"] == "rephrase"
        rows = [row for row in lines(run / "pool" / "rows.jsonl") if row["round"] == 1]
        assert any(row["accepted"] for row in rows)
        assert {row["source"] for row in rows} == {"hard"}
        prompts = [
            line["request"]["prompt"]
            for line in lines(run / "teacher" / "transcript.jsonl")
            if line["request"]["kind"] == "generate"
        ]
        assert all("said in two different ways" in prompt for prompt in prompts)


def check_prompt(folder: Path) -> None:
    dialogue, chat = (
        [line["request"] for line in lines(run / "teacher" / "transcript.jsonl")]
        for run in runs_of(folder)
    )
    assert any(one["prompt"].startswith("Lines that users said to a machine") for one in dialogue)
    scored = [one["prompt"]["messages"] for one in chat if one["kind"] == "score"]
    assert scored
    for system, *turns in scored:
        assert system["role"] == "system"
        assert system["content"].startswith("You are a strict annotator.")
        assert turns[-1]["role"] == "user"


def check_task(folder: Path) -> None:
    for run in runs_of(folder):
        result = json.loads((run / "result.json").read_text())
        assert [metric["key"] for metric in result["metrics"]] == ["closeness", "accuracy"]
        assert result["after"]["closeness"] >= result["after"]["accuracy"]


def check_callback(folder: Path) -> None:
    notes = [line.split() for line in (folder / "notes.txt").read_text().splitlines()]
    assert [line[0] for line in notes] == ["start", "start", "round", "final"]


CHECKS = {
    "add-a-selector.md": check_selectors,
    "add-a-method.md": check_method,
    "add-a-prompt.md": check_prompt,
    "add-a-task.md": check_task,
    "add-a-callback-or-logger.md": check_callback,
}


def test_every_page_that_shows_files_is_run():
    shows = {path.name for path in PAGES.glob("*.md") if read_page(path.name).files}
    assert shows == set(CHECKS)
