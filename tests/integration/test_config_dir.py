"""A folder of the user's own options: every verb and every job of a sweep finds it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import Command
from tests.helpers.multirun import ROOT
from tests.helpers.tiny import lines


@pytest.fixture
def own(workplace: Path) -> str:
    """A folder with one train selector, under a name of the user's own."""
    option = workplace / "my conf" / "select" / "mine.yaml"
    option.parent.mkdir(parents=True)
    option.write_text(
        "# Half of each class.\n_target_: tutelage.selectors.row_selection.Surest\nshare: 0.5\n"
    )
    return "my conf"


@pytest.mark.usefixtures("no_report")
def test_a_run_uses_it_and_the_command_that_continues_names_it(
    tutelage: Command, own: str, overrides: list[str], workplace: Path
) -> None:
    run = workplace / "run"
    ended = tutelage(
        "train", "--config-dir", own, "select=mine", *overrides, f"hydra.run.dir={run}"
    )
    assert ended.code == 0, ended.err
    assert "Surest" in (run / "config.yaml").read_text()
    assert lines(run / "selection.jsonl")
    again = tutelage("train", f"--config-dir={own}", "select=mine", *overrides, f"resume={run}")
    assert again.code == 0, again.err


def test_a_sweep_s_jobs_find_it(
    tutelage: Command,
    own: str,
    overrides: list[str],
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the jobs import the scripted teacher
    given = [one for one in overrides if not one.startswith("seed=")]
    ended = tutelage(
        "train", "--config-dir", own, "-m", "select=mine,every_row", *given, "sweep.name=own"
    )
    assert ended.code == 0, ended.err + ended.out
    assert len(list(workplace.glob("multirun_sweeps/own/*/*/result.json"))) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config-dir", "nowhere"], "is no folder"),
        (["--config-dir"], "needs a folder"),
        (["--config-name", "other"], "adds a folder of your own groups"),
        (["--config-path=other"], "adds a folder of your own groups"),
    ],
)
def test_what_cannot_be_is_refused(
    tutelage: Command, own: str, arguments: list[str], message: str
) -> None:
    ended = tutelage("train", *arguments)
    assert ended.code == 2
    assert message in ended.err
