"""Reports shared by all tests: figures take seconds, and no test modifies a report."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.ner_folders import build_ner_run
from tests.helpers.pages import HOSTILE
from tests.helpers.run_folders import build_run

from tutelage.report.html import write_report


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(build_run(tmp_path_factory.mktemp("runs") / "run"))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(
        build_run(
            tmp_path_factory.mktemp("runs") / "run",
            labels=(*HOSTILE[:2], "שלום"),
            texts=HOSTILE,
            state="failed",
        )
    )


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out figures, which take seconds per report and have tests of their own."""
    monkeypatch.setattr("tutelage.report.html.draw_figures", lambda *_: {})


@pytest.fixture(scope="session")
def ner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(build_ner_run(tmp_path_factory.mktemp("runs") / "run"))
