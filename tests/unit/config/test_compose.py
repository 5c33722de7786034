"""From overrides to a typed configuration: what is refused, and with which advice."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tutelage.config import typed
from tutelage.config.compose import compose_config, compose_hydra
from tutelage.config.folder import conf_directory
from tutelage.config.typed import typed_config
from tutelage.errors import ConfigError
from tutelage.runs.manifest import config_hash


def test_a_setting_of_another_option_is_refused_with_where_it_is_one(workplace: Path):
    with pytest.raises(
        ConfigError,
        match=r"no setting 'task\.word_weights'\. It is a setting of task=ner\. ",
    ):
        compose_config(["task.word_weights=confidence"])
    with pytest.raises(
        ConfigError,
        match=r"'method\.first'.* It is a setting of method=freeal, full_pool, llkd, "
        r"llkd_on_demand, llmaaa, static\. ",
    ):
        compose_config(["method.first=100"])
    with pytest.raises(ConfigError, match=r"There is no setting 'training\.bogus' \("):
        compose_config(["training.bogus=3"])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["task=ner", "task.word_wights=confidence"], "Did you mean task.word_weights? ("),
        (["method.round=3"], "'method.round'. Did you mean method.rounds? ("),
        (["method=llkd_on_demand", "method.n_text=3"], "Did you mean method.n_texts? ("),
        (["rounds=3"], "'rounds'. Did you mean method.rounds? ("),
        (["teacher.seed=3"], "'teacher.seed'. Did you mean seed? ("),
        (["shot=5"], "'shot'. Did you mean shots? ("),
        (["methd=llkd"], "'methd'. Did you mean method? ("),
    ],
)
def test_a_misspelt_setting_is_refused_with_the_one_that_is_meant(overrides, said, workplace: Path):
    with pytest.raises(ConfigError, match=re.escape(said)):
        compose_config(overrides)


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


@pytest.mark.parametrize(
    "other",
    [
        ["resume=true"],
        ["resume=outputs/a/b"],
        ["hydra.run.dir=elsewhere"],
        ["hydra.job.num=3"],
        ["sweep.name=mine"],
        ["logger=wandb", "logger.wandb.online=true"],
    ],
)
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


@pytest.mark.parametrize(
    "override",
    [
        "task=ner data=wikigold labelling=extract labelling.reply_tokens=1024",
        "teacher=server teacher.model=mine teacher.tokenizer=/some/folder",
        "teacher=server teacher.model=mine teacher.api_key_env=NAME",
        "method.analysis_tokens=96",
        "method.max_tokens=96",
        "budget.tokens=50000",
        "budget.tokens=null",
        "teacher=server teacher.model=mine 'teacher.url=${oc.env:URL,null}'",
    ],
)
def test_a_limit_a_tokenizer_and_the_name_of_a_variable_are_no_secrets(
    override: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("URL", "http://somebody:canary@localhost/v1")
    compose_config(shlex.split(override))


@pytest.mark.parametrize(
    "override",
    [
        "+teacher.api_key=abc",
        "+student.hub={token: abc}",
        "+student.hub={a: 1, accessToken: abc}",
        "+training.password=abc",
        "+callbacks.mine.hub_tokens=abc",
        "+teacher.url=http://somebody:abc@localhost/v1",
        "+teacher.api_key=${oc.env:NAME,abc}",
    ],
)
def test_a_secret_is_refused_before_anything_else_is_looked_at(override: str):
    with pytest.raises(ConfigError, match=r"looks like a secret.*\$\{oc\.env:NAME\}") as refused:
        compose_config([override, "method=nothing_alike"])
    assert "abc" not in str(refused.value)


def test_settings_arrive_typed_and_each_where_it_belongs():
    config = compose_config(
        ["method.rounds=3", "training.patience=2", "data.cue=Intent", "teacher.cache=null"]
    )
    assert config.method.target == "tutelage.methods.evokd.method.EvoKD"
    assert config.method_name == "evokd"
    assert config.method.settings["rounds"] == 3
    assert (config.training.patience, config.training.keep) == (2, "last")
    # Wrappers' and the prompt's keys are none of the reader's and the engine's.
    assert (config.cache, config.record) == (None, None)
    assert not {"cache", "record"} & config.teacher.settings.keys()
    assert "cue" not in config.data.settings
    assert config.prompt.settings["cue"] == "Intent"
    assert (config.acquire, config.accept and config.accept.kind) == (None, "ClassShare")
    assert config.hydra.choices["training"] == "evokd"
    assert config.hydra.sweeper.endswith("BasicSweeper")
    assert config.source["method"]["rounds"] == 3
    assert config.with_seed(7).source["seed"] == config.with_seed(7).seed == 7
    assert config.seed == config.source["seed"] == 1


def test_the_method_chooses_and_the_command_line_wins():
    chosen = compose_config(["method=llkd"])
    assert chosen.select.kind == "LLKD"
    assert chosen.acquire is not None
    assert chosen.acquire.kind == "RandomChoice"
    assert chosen.accept is None
    assert chosen.training.train_on == "all"
    for overrides in (["method=llkd", "select=surest"], ["select=surest", "method=llkd"]):
        assert compose_config(overrides).select.kind == "Surest"
    mixed = compose_config(["method=llkd", "training=evokd", "acquire=badge"])
    assert (mixed.training.train_on, mixed.acquire and mixed.acquire.kind) == ("batch", "Badge")


def test_references_are_resolved_and_hydra_s_own_node_is_left_out():
    # Hydra's own node may refer to what exists only inside a job.
    config = compose_config(
        ["name=${method.name}-run", "sweep.name=${name}-more", "hydra.job.name=${oc.env:NOT_THERE}"]
    )
    assert config.name == config.source["name"] == "evokd-run"
    assert config.sweep.name == "evokd-run-more"
    assert "hydra" not in config.source
    with pytest.raises(ConfigError, match=r"nothing_there"):
        compose_config(["name=${nothing_there}"])


@pytest.mark.parametrize(
    ("overrides", "key"), [(["task=ner"], "genre"), (["data=wikigold"], "cue")]
)
def test_a_data_set_of_another_task_is_refused_with_what_belongs_together(
    overrides: list[str], key: str
):
    with pytest.raises(ConfigError) as refused:
        compose_config(overrides)
    assert f"The prompt refers to data.{key}, which the data set has not" in str(refused.value)
    assert "task=ner with a data set of entities (data=wikigold)" in str(refused.value)


def test_a_name_of_digits_is_a_name():
    config = compose_config(["name=2026", "sweep.name=7"])
    assert (config.name, config.sweep.name) == ("2026", "7")
    assert config_hash(config.source) == config_hash(compose_config(['name="2026"']).source)


@pytest.mark.parametrize(
    ("overrides", "missing"),
    [
        (["data=files"], "data.path"),
        (["data=hub"], "data.name"),
        (["teacher=server"], "teacher.model"),
        (["teacher=replay"], "teacher.recording"),
    ],
)
def test_a_setting_without_a_value_is_named_with_what_to_add(overrides: list[str], missing: str):
    with pytest.raises(ConfigError) as refused:
        compose_config(overrides)
    assert str(refused.value) == (
        f"{missing} has no value and needs one: add {missing}=… to the command."
    )
    compose_config([*overrides, f"{missing}=something"])


@pytest.mark.parametrize("option", ["experiment=quickstart_ner", "ablation=no_easy"])
def test_an_experiment_s_value_for_another_method_says_where_it_comes_from(option: str):
    with pytest.raises(ConfigError) as refused:
        compose_config([option, "method=shots"])
    assert "Unknown setting of GoldOnly" in str(refused.value)
    assert f"{option} sets it for another option of that group" in str(refused.value)
    with pytest.raises(ConfigError, match=r"Did you mean 'focus'\?") as own:
        compose_config(["+method.focuss=1"])
    assert "sets it for another" not in str(own.value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("+trainer.foo=1", "trainer.foo: Unknown setting of Trainer 'foo'. Available: accelerator"),
        ("+trainer.gradient_clp_val=1", "Did you mean 'gradient_clip_val'?"),
        ("+trainer.max_epochs=3", "trainer.max_epochs cannot be set: the stages end the run "),
        (
            "+trainer.max_steps=3",
            "trainer.max_steps cannot be set: a stage's steps are limited",
        ),
        (
            "+trainer.callbacks=[]",
            "trainer.callbacks cannot be set: callbacks are a group of",
        ),
        ("+trainer.logger=false", "trainer.logger cannot be set: loggers are a group of their own"),
        ("+trainer.limit_val_batches=2", "feedback needs every validation batch"),
        ("+trainer.enable_checkpointing=false", "checkpoints that resume=true needs"),
        ("+trainer.fast_dev_run=true", "use method.rounds=1"),
        ("+trainer.overfit_batches=2", "use trainer.limit_train_batches"),
        ("trainer.devices=-1", "trainer.devices=-1 is neither a number of devices nor a list"),
        ("trainer.strategy=fsdp", "Give trainer.strategy=ddp, which divides each batch"),
        ("trainer.num_nodes=2", "trainer.num_nodes=2 is not one"),
    ],
)
def test_what_lightning_s_trainer_cannot_be_given_is_refused_with_what_to_do(
    override: str, said: str
):
    with pytest.raises(ConfigError) as refused:
        compose_config([override])
    assert said in str(refused.value)


def test_every_key_of_lightning_s_trainer_can_be_set_or_says_why_not():
    import inspect

    from pytorch_lightning import Trainer

    known = {*inspect.signature(Trainer.__init__).parameters} - {"self"}
    assert typed._trainer_keys() == known
    settable = {*compose_config().trainer}
    owned = {*typed.TRAINER_OWNED}
    assert settable | owned == known
    assert not settable & owned
    assert all(why for why in typed.TRAINER_OWNED.values())
    for devices in ("1", "auto", "[1]"):
        assert compose_config([f"trainer.devices={devices}"]).trainer["devices"] in (1, [1])


def test_several_options_of_callbacks_and_loggers_compose_at_once():
    config = compose_config(["callbacks=[lr_monitor,device_stats]", "logger=[csv,wandb]"])
    assert list(config.callbacks) == ["lr_monitor", "device_stats"]
    assert [one.kind for one in config.callbacks.values()] == [
        "LearningRateMonitor",
        "DeviceStatsMonitor",
    ]
    assert {name: one.kind for name, one in config.logger.items()} == {
        "csv": "CSVLogger",
        "wandb": "WandbMirror",
    }
    # No logger changes a run, and a callback may.
    plain = config_hash(compose_config().source)
    assert config_hash(compose_config(["logger=[csv,wandb]"]).source) == plain
    assert config_hash(compose_config(["callbacks=lr_monitor"]).source) != plain


def test_a_component_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"callbacks\.mine=3 is no component: give \+callbacks"):
        compose_config(["+callbacks.mine=3"])
    with pytest.raises(ConfigError, match=r"logger\.mine=3 is no component: give \+logger"):
        compose_config(["+logger.mine=3"])
    with pytest.raises(ConfigError, match=r"loss has no _target_"):
        compose_config(["~loss._target_"])


def test_a_job_of_hydra_s_is_typed_with_hydra_s_own_node_beside_it():
    composed = compose_hydra(["seed=3", "hydra.run.dir=mine"])
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    config = typed_config(own, composed.hydra)
    assert (config.seed, config.hydra.run_dir) == (3, Path("mine"))


def test_the_configuration_lies_beside_the_code_in_a_checkout():
    assert (conf_directory() / "config.yaml").is_file()


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        *(("name", one) for one in ("../../x", "a/../b", "..", "", "/", "a\nb", "./a")),
        ("sweep.name", "../x"),
    ],
)
def test_a_name_that_leads_out_of_its_folder_is_refused_with_one_that_does_not(
    setting: str, name: str
):
    with pytest.raises(ConfigError) as refused:
        compose_config([f'{setting}="{name}"'])
    said = str(refused.value)
    assert said.startswith(f"{setting}={name!r} cannot name a folder of its own: ")
    compose_config(shlex.split(said.partition(" Give ")[2].removesuffix(".")))


def test_a_name_may_have_slashes_blanks_and_dots(workplace: Path):
    for name in ("dair-ai/emotion", "my run (v2)", "v1..2", "épreuve", "a.b"):
        assert compose_config([f"name={name}"]).name == name


def test_the_folder_of_a_data_set_s_name_is_refused_too():
    with pytest.raises(ConfigError, match=r"name='\.\./mine-evokd' cannot name a folder"):
        compose_config(["data=hub", "data.name=../mine"])


def test_a_folder_of_own_options_may_have_any_name(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
):
    own = workplace / "my conf (v=2), it's"
    (own / "select").mkdir(parents=True)
    (own / "select" / "mine.yaml").write_text("defaults: [every_row]\n", encoding="utf-8")
    monkeypatch.setenv("TUTELAGE_CONF", str(own))
    assert compose_config(["select=mine"]).hydra.choices["select"] == "mine"


def test_a_reference_to_nothing_says_how_its_signs_are_written():
    with pytest.raises(ConfigError) as refused:
        compose_config(["data=files", "data.path=a${b}"])
    assert r"For the signs ${ themselves, as in a file's name, write \${ in quotes." in str(
        refused.value
    )
    assert compose_config(["data=files", r'data.path="a\${b}"']).data.get("path") == "a${b}"
