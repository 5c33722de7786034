"""From a command line to a run: the folder to continue, and paths as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tutelage.config.compose import compose_config
from tutelage.errors import ConfigError, RunError
from tutelage.launch import folder_to_resume
from tutelage.runs.manifest import CONFIG_FORMAT, config_hash


def run_folder(
    base: Path, time: str, overrides: list[str], state: str, started: str | None = None
) -> Path:
    folder = base / time
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(
        json.dumps({"config_hash": config_hash(compose_config(overrides).source)})
    )
    (folder / "status.json").write_text(json.dumps({"state": state, "started": started or time}))
    return folder


@pytest.fixture
def base(workplace: Path) -> Path:
    return workplace / "outputs" / "snips_intent-evokd"


def test_without_resume_there_is_no_folder(base: Path):
    assert folder_to_resume(compose_config([])) is None
    assert folder_to_resume(compose_config(["resume=false"])) is None


def test_resume_true_takes_the_newest_unfinished_run_of_this_configuration(base: Path):
    run_folder(base, "1", ["seed=2"], "failed")
    run_folder(base, "2", ["seed=2"], "interrupted")
    run_folder(base, "3", ["seed=2"], "done")
    run_folder(base, "4", ["seed=3"], "failed")
    found = folder_to_resume(compose_config(["seed=2", "resume=true"]))
    assert found is not None
    assert found.resolve() == base / "2"


def test_a_killed_run_is_unfinished_whatever_its_status_says(base: Path):
    run_folder(base, "1", [], "running")
    (run_folder(base, "2", [], "running") / "status.json").unlink()
    found = folder_to_resume(compose_config(["resume=true"]))
    assert found is not None
    assert found.name == "1"


@pytest.mark.parametrize("state", ["done", ""])
def test_resume_true_with_nothing_to_go_on_with_says_where_it_looked(base: Path, state: str):
    if state:
        run_folder(base, "1", [], state)
    with pytest.raises(
        ConfigError,
        match="no unfinished run of this very configuration under outputs/snips_intent-evokd",
    ):
        folder_to_resume(compose_config(["resume=true"]))


def test_a_folder_is_taken_as_it_is_named(base: Path):
    folder = run_folder(base, "1", ["seed=2"], "done")
    assert folder_to_resume(compose_config(["seed=2", f"resume={folder}"])) == folder
    assert folder_to_resume(
        compose_config(["seed=2", "resume=outputs/snips_intent-evokd/1"])
    ) == Path("outputs/snips_intent-evokd/1")


def test_a_folder_of_another_configuration_is_refused_with_both_hashes(base: Path):
    folder = run_folder(base, "1", ["seed=2"], "failed")
    wanted = compose_config(["seed=3", f"resume={folder}"])
    with pytest.raises(ConfigError) as refused:
        folder_to_resume(wanted)
    assert config_hash(wanted.source) in str(refused.value)
    assert config_hash(compose_config(["seed=2"]).source) in str(refused.value)
    assert str(folder / "config.yaml") in str(refused.value)


def test_a_folder_that_is_no_run_s_is_refused(base: Path, workplace: Path):
    with pytest.raises(ConfigError, match=r"is no run's folder \(it has no manifest.json\)"):
        folder_to_resume(compose_config([f"resume={workplace}"]))


def test_an_altered_manifest_is_named(base: Path):
    folder = run_folder(base, "1", [], "failed")
    (folder / "manifest.json").write_text("{")
    with pytest.raises(RunError, match=r"manifest\.json is not JSON"):
        folder_to_resume(compose_config([f"resume={folder}"]))
