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
    with pytest.raises(ConfigError, match=r"'training\.bogus'.* is not in struct \("):
        compose_config(["training.bogus=3"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("selector=badge", "three groups now: acquire, accept and select. ("),
        ("selector@method.acquire=badge", "three groups now: acquire, accept and select. ("),
        ("selector.share=0.3", "It is acquire.share, accept.share or select.share now."),
        ("method.training.keep=best", "It is training.keep now."),
        ("method.training.start_updates=3", "It is training.start_max_steps now."),
        ("method.training.round_updates=3", "It is training.round_max_steps now."),
        ("method.training.final_updates=3", "It is training.final_max_steps now."),
        ("method.allow_codes=false", "It is labelling.allow_codes now."),
        ("teacher.ner=extract", "the group labelling (labelling=verify or labelling=extract) now."),
        ("teacher.reply_tokens=1024", "It is labelling.reply_tokens now."),
        ("teacher.candidates=[chunks]", "It is labelling.candidates now."),
        ("teacher.candidate_width=3", "It is labelling.candidate_width now."),
        ("teacher.shown_words=3", "It is labelling.shown_words now."),
        ("trainer.gradient_clip=0.5", "It is trainer.gradient_clip_val now."),
        ("trainer.threads=2", "It is threads now."),
        ("trainer.keep_checkpoint=true", "It is keep_checkpoint now."),
        ("method.acquire.kind=margin", "It is acquire.kind now."),
        ("method.accept.share=0.3", "It is accept.share now."),
        ("method.train.share=0.3", "It is select.share now."),
        ("logger=wandb logger.online=true", "It is logger.wandb.online now."),
        ("sweep=selectors", "Unknown sweep 'selectors'. Did you mean 'select'?"),
    ],
)
def test_a_setting_of_an_earlier_version_is_refused_with_its_new_name(override: str, said: str):
    with pytest.raises(ConfigError) as refused:
        compose_config(override.split())
    assert said in str(refused.value)


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
    config = compose_config(["ablation=no_easy", "method.n_easy=0", "method.n_hard=28"])
    assert config.method.settings["n_hard"] == 28
    # One that chooses a selector sets what its own file says, and no more.
    with pytest.raises(ConfigError, match=r"ablation=no_weights sets select\.combine=none"):
        compose_config(["method=llkd", "ablation=no_weights", "select.combine=sum"])
    config = compose_config(["method=llkd", "ablation=no_weights", "select.refill=true"])
    assert config.select.settings["refill"] is True


def test_a_class_that_sounds_secret_may_be_on_the_command_line():
    config = compose_config(
        ["data=files", "data.path=mine", "+data.labels={password_reset: password, monkey: ape}"]
    )
    assert config.data.settings["labels"]["password_reset"] == "password"
    with pytest.raises(ConfigError, match="looks like a secret"):
        compose_config(["+teacher.api_key=monkey"])


def test_the_configuration_lies_beside_the_code_in_a_checkout():
    assert (compose.conf_directory() / "config.yaml").is_file()
