"""Fixtures shared by all tests: a tiny student, small data, and the command line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from tests.helpers import tiny, tiny_ner
from tests.helpers.composing import compose_defaults_once

# Deadlines fail on a busy machine; pytest-timeout limits each test instead. Derandomized, so that a
# failure can be repeated; `pytest --hypothesis-profile=explore --hypothesis-seed=N` tries others.
settings.register_profile("calm", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("calm")


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


Command = Callable[..., CommandResult]


@pytest.fixture(scope="session", autouse=True)
def quick_defaults() -> None:
    compose_defaults_once()


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.tiny_student(tmp_path_factory.mktemp("models") / "tiny-bert")


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.small_data(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture(scope="session")
def ner_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_ner.ner_student(tmp_path_factory.mktemp("models") / "tiny-tagger")


@pytest.fixture(scope="session")
def ner_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_ner.ner_data(tmp_path_factory.mktemp("data") / "names")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Changes to an empty working directory, with the user's cache inside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "user-cache"))
    monkeypatch.setenv("TUTELAGE_CONF", "")  # --config-dir sets it, and it must not outlive a test
    return tmp_path


@pytest.fixture
def tutelage(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Runs a command line in this process."""
    from tutelage.cli import main

    # The command sets both, and monkeypatch restores them.
    monkeypatch.setattr(sys, "argv", ["tutelage"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    handlers = list(logging.getLogger().handlers)

    def run(*arguments: str) -> CommandResult:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main([*arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return CommandResult(int(ending.value.code or 0), printed.out, printed.err)

    yield run
    # Hydra's handlers would write to this test's standard error, which is closed by now.
    logging.getLogger().handlers[:] = handlers


@pytest.fixture
def overrides(student: Path, small_data: Path, workplace: Path) -> list[str]:
    """Overrides of a small EvoKD run with the scripted teacher and its own cache."""
    return [*tiny.scripted(student, small_data, workplace / "replies.sqlite"), *tiny.EVOKD]


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skips the report at the end of a run."""
    monkeypatch.setattr("tutelage.report.html.write_report", tiny.skip_report)
