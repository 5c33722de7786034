"""From overrides to a typed configuration: what is refused, and with which advice."""

from __future__ import annotations

import pytest

from tutelage.config import compose
from tutelage.config.compose import compose_config
from tutelage.errors import ConfigError
from tutelage.runs.manifest import config_hash


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
