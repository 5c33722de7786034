"""What tests of whole runs stand on."""

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

# A deadline of wall time fails on a busy machine; pytest-timeout watches over the whole. The same examples every time, so that a red run can be
# run again; `pytest --hypothesis-profile=explore --hypothesis-seed=N` looks at others.
settings.register_profile("calm", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("calm")


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code and what it printed."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


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
    """A working directory of one's own, and a cache directory in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "user-cache"))
    return tmp_path


@pytest.fixture
def tutelage(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Run a command line in this process."""
    from tutelage.cli import main

    # Both are set by the command and would outlive it.
    monkeypatch.setattr(sys, "argv", ["tutelage"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    handlers = list(logging.getLogger().handlers)

    def run(*words: str) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main([*words])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return Ended(int(ending.value.code or 0), printed.out, printed.err)

    yield run
    # Hydra's handlers write to the standard error of this test, which is closed by now.
    logging.getLogger().handlers[:] = handlers


@pytest.fixture
def overrides(student: Path, small_data: Path, workplace: Path) -> list[str]:
    """A small EvoKD run with the scripted teacher and a cache of its own."""
    return [*tiny.scripted(student, small_data, workplace / "replies.sqlite"), *tiny.EVOKD]


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no figures at the end of a run."""
    monkeypatch.setattr("tutelage.report.html.write_report", tiny.undrawn)
