"""From overrides to runs: the folder to go on with, and several runs by one command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tutelage.config import compose
from tutelage.config.compose import compose_config, folder_to_resume
from tutelage.errors import ConfigError, RunError
from tutelage.runs.manifest import config_hash


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


def test_a_setting_of_another_option_is_refused_with_where_it_is_one(workplace: Path):
    with pytest.raises(
        ConfigError,
        match=r"'task\.word_weights'.* is not in struct\. It is a setting of task=ner\. ",
    ):
        compose_config(["task.word_weights=confidence"])
    with pytest.raises(ConfigError, match=r"'task\.word_wights'.* is not in struct \("):
        compose_config(["task=ner", "task.word_wights=confidence"])
    with pytest.raises(
        ConfigError,
        match=r"'method\.pool_size'.* It is a setting of method=freeal, full_pool, llkd, llkd_on_demand, llmaaa, static\. ",
    ):
        compose_config(["method.pool_size=100"])
    with pytest.raises(ConfigError, match=r"'method\.training\.bogus'.* is not in struct \("):
        compose_config(["training.bogus=3"])


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


@pytest.mark.parametrize("other", [["resume=true"], ["hydra.run.dir=elsewhere"]])
def test_where_and_how_a_run_goes_is_no_part_of_its_hash(other: list[str]):
    assert config_hash(compose_config(other).source) == config_hash(compose_config([]).source)


@pytest.mark.parametrize(
    "other", ["seed=0", "method.rounds=3", "accept=scored", "data.near_threshold=0.8"]
)
def test_what_changes_a_run_changes_its_hash(other: str):
    assert config_hash(compose_config([other]).source) != config_hash(compose_config([]).source)


def test_a_value_that_undoes_the_ablation_is_refused():
    with pytest.raises(
        ConfigError,
        match=r"ablation=no_easy sets method\.n_easy=0, and method\.n_easy=28 on the command line",
    ):
        compose_config(["ablation=no_easy", "method.n_easy=28"])
    assert (
        compose_config(["ablation=no_easy", "method.n_easy=0", "method.n_hard=28"]).method.n_hard
        == 28
    )
    # One that chooses a selector sets what its own file says, and no more.
    with pytest.raises(ConfigError, match=r"ablation=no_weights sets selector\.combine=none"):
        compose_config(["method=llkd", "ablation=no_weights", "select.combine=sum"])
    assert (
        compose_config(["method=llkd", "ablation=no_weights", "select.refill=true"]).selector.refill
        is True
    )


def test_a_class_that_sounds_secret_may_be_on_the_command_line():
    config = compose_config(
        ["data=files", "data.path=mine", "+data.labels={password_reset: password, monkey: ape}"]
    )
    assert config.data.labels["password_reset"] == "password"
    with pytest.raises(ConfigError, match="looks like a secret"):
        compose_config(["+teacher.api_key=monkey"])


def test_the_configuration_lies_beside_the_code_in_a_checkout():
    assert (compose.conf_directory() / "config.yaml").is_file()
