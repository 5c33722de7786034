"""The Python API: one run from a script, its result and its student."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers import tiny

import tutelage
from tutelage.errors import ConfigError, RunError
from tutelage.runs.folder import new_folder


def test_import_is_light() -> None:
    code = (
        "import sys, tutelage; print([m for m in ('torch', 'hydra', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    assert all(getattr(tutelage, name) is not None for name in tutelage.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        tutelage.trian  # noqa: B018


@pytest.mark.usefixtures("no_report")
def test_a_run_from_a_script(overrides: list[str], workplace: Path) -> None:
    result = tutelage.train(*overrides, seed=3, folder=workplace / "mine")
    assert result.folder == workplace / "mine"
    assert result.values["seed"] == 3
    assert 0.0 <= result.metrics["accuracy"] <= 1.0
    assert "accuracy=" in repr(result)
    assert result.report.is_file()
    # One text or several, in order, and the same from the folder.
    one = result.student.predict("play some music")
    several = tutelage.load_student(result.folder).predict(["play some music", "rain today"])
    assert one == several[:1]
    assert set(one[0]["probabilities"]) == set(result.student.labels) == set(tiny.WORDS.values())
    # A finished run is returned unchanged, and its folder is not written again.
    again = tutelage.train(*overrides, seed=3, resume=str(result.folder))
    assert again.values == result.values
    with pytest.raises(RunError, match="holds a run already"):
        tutelage.train(*overrides, folder=result.folder)


def test_what_is_no_override_is_refused() -> None:
    with pytest.raises(ConfigError, match="'snips' is no override"):
        tutelage.compose("snips")
    with pytest.raises(ConfigError, match=r"seed='one' is not a whole number"):
        tutelage.compose(seed="one")
    assert tutelage.compose("method=llkd", seed=5, keep_checkpoint=True).seed == 5


def test_a_python_value_needs_no_quotes_of_hydra_s(workplace: Path) -> None:
    config = tutelage.compose("data=files", "data.path=my data (v2)", name="a=b (1)", resume="x=1")
    assert (config.data.get("path"), config.name, config.resume) == (
        "my data (v2)",
        "a=b (1)",
        "x=1",
    )
    assert tutelage.compose(resume=Path('it\'s, "here"')).resume == 'it\'s, "here"'


@pytest.mark.usefixtures("no_report")
def test_runs_of_one_second_have_folders_of_their_own(
    student: Path, small_data: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tiny.scripted(student, small_data, workplace / "replies.sqlite")
    quick = [*given, "method=shots", "training.start_epochs=1", "evaluate=standard"]
    monkeypatch.setattr(
        "tutelage.launch.new_folder", lambda wanted: new_folder(wanted.parent / "t")
    )
    folders = [tutelage.train(*quick, seed=seed).folder for seed in (1, 2)]
    assert [folder.name for folder in folders] == ["t", "t-2"]
    with pytest.raises(RunError, match="holds a run already"):
        tutelage.train(*quick, f"hydra.run.dir={folders[0]}")
