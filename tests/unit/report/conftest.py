"""Reports that are drawn once: figures take seconds, and no test changes a report that it is given."""

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
    """Leave the figures out: seconds a report, and other tests look at them."""
    monkeypatch.setattr("tutelage.report.html.draw_figures", lambda run: {})


@pytest.fixture(scope="session")
def ner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(build_ner_run(tmp_path_factory.mktemp("runs") / "run"))
