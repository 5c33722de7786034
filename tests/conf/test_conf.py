"""Every shipped YAML composes, is taken by the code it names, and shows a command that works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from tests.helpers.commands import benchmark_overrides_in, commands_in
from tests.helpers.options import CONF, GROUPS, OPTIONS, leaves, of_option, plain

from tutelage.config.check import check_component, declared, locate
from tutelage.config.compose import compose_config, compose_hydra
from tutelage.config.messages import DATA_KEYS
from tutelage.config.schema import Component, RunConfig, TrainingConfig
from tutelage.config.typed import DEFAULTS, GIVEN, check_targets
from tutelage.errors import ConfigError
from tutelage.sweep.expected import expected_jobs

ROOT = Path(__file__).parents[2]
FILES = sorted(path for path in CONF.rglob("*.yaml") if path.parent.name != "templates")
PLAIN = ("budget", "trainer", "evaluate", "experiment", "ablation", "student", "sweep", "training")
"""Groups whose options name no class or function of their own."""
WRAPPERS = {"teacher": ("cache", "record"), "data": DATA_KEYS}
"""Keys of a group that are not the target's: the run takes them for what stands around it."""
LLKD = ("method=llkd", "select=llkd")
EVOKD = ("method=evokd",)
ABLATED = {
    **dict.fromkeys(
        ("no_teacher_gate", "no_student_gate", "no_weights", "global_thresholds"), (LLKD, "select.")
    ),
    "no_review": (EVOKD, "training."),
}
"""What an ablation is taken from, and where it changes it; the others are EvoKD's own settings.
"fixed_share" is of another selector, so of many leaves."""


def named(path: Path) -> str:
    return str(path.relative_to(CONF))


@cache
def composed(*overrides: str) -> RunConfig:
    """The configuration of a command; of a multirun's first job."""
    config = expected_jobs([*overrides]).config
    check_targets(config)
    return config


def components_in(node: Any, path: str) -> Iterator[tuple[str, Component]]:
    """The components of a group's YAML by their paths, with the keys that are their targets'."""
    if not isinstance(node, dict):
        return
    if "_target_" in node:
        others = ("_target_", *WRAPPERS.get(path, ()))
        settings = {key: value for key, value in node.items() if key not in others}
        yield path, Component(node["_target_"], settings)
    for key, value in node.items():
        yield from components_in(value, f"{path}.{key}")


def choices(kind: Any) -> tuple[Any, ...]:
    """The allowed values of a type or of a list's elements; none where any value is allowed."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    inner = [choices(one) for one in get_args(kind) if one is not type(None)]
    return tuple(value for values in inner for value in values) if inner and all(inner) else ()


def test_there_is_a_group_for_each_part_and_an_option_in_each():
    assert {
        "data",
        "teacher",
        "labelling",
        "method",
        "training",
        "student",
        "prompt",
        "acquire",
        "accept",
        "select",
        "calibration",
        "callbacks",
        "logger",
        "trainer",
        "ablation",
        "experiment",
    } <= set(GROUPS)
    assert all(any(group == name for name, _ in OPTIONS) for group in GROUPS)


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_file_opens_with_what_it_is_and_a_command_that_composes(path: Path):
    text = path.read_text(encoding="utf-8")
    comments = [line for line in text.splitlines() if not line.startswith("# @package")]
    assert re.match(r"# \S+ \S+", comments[0]), f"{path} does not open with what it is"
    end = next(index for index, line in enumerate(comments) if not line.startswith("#"))
    opening = "\n".join(comments[:end])
    assert re.search(r"tutelage (train|plan|reproduce)\b", opening), f"{path} shows no command"
    commands = commands_in(text)
    for overrides in commands:
        composed(*overrides)
    if path.parent != CONF:
        group, option = path.relative_to(CONF).parts[0], path.relative_to(CONF)
        chosen = [
            composed(*overrides).hydra.choices.get(group, "") for overrides in [[], *commands]
        ]
        assert str(option.relative_to(group).with_suffix("")) in chosen, (
            f"{path} shows no command that uses it"
        )


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=str)
def test_an_option_composes_and_its_targets_take_its_keys(group: str, option: str):
    config = compose_config(of_option(group, option))
    found = [*components_in(config.source.get(group), group)]
    assert found or group in PLAIN or option == "none"
    for path, component in found:
        check_component(component, path, GIVEN.get(group, ()), DEFAULTS.get(group, ()))
        if not component.target.startswith("tutelage."):
            continue
        takes = declared(locate(component.target, path))
        assert not takes.open, f"{component.target} takes any key, so a wrong one goes unnoticed"
        untyped = [key for key in component.settings if takes.types[key] is Any]
        assert not untyped, f"{component.target} declares no type of {untyped}"


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=str)
def test_a_wrong_value_is_refused_with_the_allowed_ones(group: str, option: str):
    for path, component in components_in(plain(*of_option(group, option)).get(group), group):
        types = declared(locate(component.target, path)).types
        for key in component.settings:
            if not (allowed := choices(types[key])):
                continue
            many = isinstance(component.settings[key], list) or key == "candidates"
            wrong = ["zzz"] if many else "zzz"
            changed = Component(component.target, {**component.settings, key: wrong})
            with pytest.raises(ConfigError) as refused:
                check_component(changed, path, GIVEN.get(group, ()))
            assert str(refused.value) == (
                f"Unknown {path}.{key} 'zzz'. Available: {', '.join(sorted(allowed))}."
            )


@pytest.mark.parametrize(
    "option", [name for group, name in OPTIONS if group == "sweep" and name != "custom"]
)
def test_a_sweep_names_its_folder_and_each_of_its_values_composes(option: str):
    config = composed(f"sweep={option}")
    assert config.sweep.name == option
    lists = {key: value.split(",") for key, value in config.hydra.sweep_params.items()}
    first = [f"{key}={values[0]}" for key, values in lists.items()]
    for index, (key, values) in enumerate(lists.items()):
        for value in values[1:] if key != "seed" else ():
            composed(*first[:index], f"{key}={value}", *first[index + 1 :])
    # A job is told nothing but its overrides, so a sweep sets nothing else.
    plainly, swept = composed(*first).source, config.source
    assert {**swept, "sweep": None} == {**plainly, "sweep": None}


@pytest.mark.parametrize(
    "option",
    [
        name
        for group, name in OPTIONS
        if group == "ablation" and name not in ("none", "fixed_share")
    ],
)
def test_an_ablation_changes_exactly_one_leaf(option: str):
    base, place = ABLATED.get(option, (EVOKD, "method."))
    whole, ablated = leaves(plain(*base)), leaves(plain(*base, f"ablation={option}"))
    assert set(whole) == set(ablated)
    changed = [key for key in whole if whole[key] != ablated[key]]
    assert len(changed) == 1, f"ablation={option} changes {changed}"
    assert changed[0].startswith(place)


def test_a_fixed_share_instead_of_llkd_s_thresholds_changes_what_decides_and_nothing_else():
    whole, ablated = leaves(plain(*LLKD)), leaves(plain("method=llkd", "ablation=fixed_share"))
    thresholds = {
        f"select.{key}"
        for key in (
            "momentum",
            "start",
            "class_by",
            "teacher_gate",
            "student_gate",
            "teacher_share",
        )
    }
    # What neither has to be told: u is the entropy, and no mix is weighed.
    assert whole.keys() - ablated.keys() == thresholds | {"select.uncertainty", "select.alpha"}
    assert (whole["select.uncertainty"], whole["select.combine"]) == ("entropy", "product")
    assert ablated.keys() - whole.keys() == {"select.share"}
    assert {key for key in whole.keys() & ablated.keys() if whole[key] != ablated[key]} == {
        "select._target_"
    }


@pytest.mark.parametrize(
    "option", sorted(option for option, (base, _) in ABLATED.items() if base == LLKD)
)
def test_llkd_s_ablations_hold_whether_its_selector_is_named_or_not(option: str):
    assert plain("method=llkd", f"ablation={option}") == plain(
        "method=llkd", "select=llkd", f"ablation={option}"
    )


def test_the_issue_s_six_ablations_are_there():
    there = {name for group, name in OPTIONS if group == "ablation"}
    assert there >= {
        "no_easy",
        "no_correct",
        "no_review",
        "no_separation",
        "no_analysis",
        "no_feedback",
    }


def test_the_sweep_of_methods_has_an_arm_for_each_method_at_the_same_tokens():
    """LLM-DA is for entities alone, and a pool labelled in part is the arm full_pool."""
    arms = [path.stem for path in (CONF / "experiment" / "method_arms").glob("*.yaml")]
    swept = composed("sweep=methods").hydra.sweep_params["experiment"].split(",")
    assert {arm.strip() for arm in swept} == {
        f"method_arms/{arm}" for arm in arms if arm != "llm_da"
    }
    methods = {name for group, name in OPTIONS if group == "method"}
    for arm in arms:
        needs = ["task=ner", "data=wikigold"] if arm == "llm_da" else []
        config = compose_config([f"experiment=method_arms/{arm}", *needs])
        methods.discard(config.hydra.choices["method"])
        assert config.student.freeze_encoder
        assert config.shots == 1
        writes = config.method.settings.get("n_hard") is not None
        assert config.budget.tokens == (30_000 if writes else 90_000 if needs else None)
    assert methods == {"static"}


@pytest.mark.parametrize("option", [name for group, name in OPTIONS if group == "training"])
def test_every_option_of_training_sets_every_key_of_it(option: str):
    assert {*plain(f"training={option}")["training"]} == {
        one.name for one in fields(TrainingConfig)
    }


@pytest.mark.parametrize("option", [name for group, name in OPTIONS if group == "method"])
def test_a_method_composes_for_each_task_and_chooses_its_own_stages(option: str):
    needs = {"llm_da": ["task=ner", "data=wikigold"]}.get(option, [])
    config = compose_config([f"method={option}", *needs])
    takes = declared(locate(config.method.target, "method"))
    arguments = {*locate(config.method.target, "method").__init__.__annotations__}
    assert {*config.method.settings} == {*takes.types} - {*GIVEN["method"]}
    # EvoKD asks it with method.feedback=pool and mixed alone.
    by_pool = config.method.settings.get("feedback", "pool") in ("pool", "mixed")
    chooses = "acquirer" in arguments and by_pool
    assert (config.acquire is not None) == chooses
    assert (config.accept is not None) == ("accept_selector" in arguments)


@pytest.mark.parametrize(
    "path",
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "Makefile")),
        *sorted((ROOT / "docs").glob("**/*.md")),
        *sorted((ROOT / "benchmarks").glob("*.py")),
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_the_commands_of_the_documents_compose(path: Path):
    text = path.read_text(encoding="utf-8")
    for overrides in (*commands_in(text), *benchmark_overrides_in(text)):
        composed(*overrides)


def test_commands_are_read_from_text():
    text = (
        "Try `tutelage train method.rounds=4 seed=2`, or\n"
        "    tutelage plan teacher.model=<id or path>   # what it costs\n"
        "`tutelage train …`"
    )
    assert commands_in(text) == [["method.rounds=4", "seed=2"], ["teacher.model=anything"]]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("method=evokdd", "Unknown method 'evokdd'. Did you mean 'evokd'? Available: "),
        ("data=snip", "Unknown data 'snip'. Did you mean 'snips'? Available: "),
        ("ablation=no_eazy", "Unknown ablation 'no_eazy'. Did you mean 'no_easy'? Available: "),
        ("experiment=nothing_alike", "Unknown experiment 'nothing_alike'. Available: "),
        ("methd=evokd", "methd"),
        ("method.roundss=3", "method.roundss"),
        ("teacher.modle=x", "teacher.modle"),
        ("student.lerning_rate=1", "student.lerning_rate"),
        ("training.star_epochs=1", "training.star_epochs"),
        ("seed=abc", "seed='abc' is not a whole number"),
        ("budget.tokens=many", "budget.tokens='many' is not a whole number"),
        ("shots=1.5", "shots=1.5 is not a whole number"),
        ("threads=two", "threads='two' is not a whole number"),
        ("keep_checkpoint=1", "keep_checkpoint=1 is not true or false"),
        ("evaluate.teacher=perhaps", "evaluate.teacher='perhaps' is not true or false"),
        ("method.rounds=abc", "method.rounds='abc' is not a whole number"),
        ("method.rounds=2.5", "method.rounds=2.5 is not a whole number"),
        ("method.analysis=1", "method.analysis=1 is not true or false"),
        ("training.start_epochs=null", "training.start_epochs=None is not a whole number"),
        ("student.learning_rate=high", "student.learning_rate='high' is not a number"),
        ("student.schedule.warmup=true", "student.schedule.warmup=True is not a number"),
        ("student.schedule.shape=flat", "Unknown student.schedule.shape 'flat'. Available: const"),
        ("student.pooling=frist", "Unknown student.pooling 'frist'. Did you mean 'first'?"),
        ("training.keep=bets", "Unknown training.keep 'bets'. Did you mean 'best'?"),
        ("training.gold=shot", "Unknown training.gold 'shot'. Did you mean 'shots'?"),
        ("training.train_on=al", "Unknown training.train_on 'al'. Did you mean 'all'?"),
        ("sweep.share_teacher=atuo", "Unknown sweep.share_teacher 'atuo'. Did you mean 'auto'?"),
        ("method.init=lm_da", "Unknown method.init 'lm_da'. Did you mean 'llm_da'?"),
        ("method.scores_from=frsh", "Unknown method.scores_from 'frsh'. Did you mean 'fresh'?"),
        ("accept.share=true", "accept.share=True is not a number"),
        ("select=surest select.share=true", "select.share=True is not a number"),
        ("method=llkd select.combine=prod", "Unknown select.combine 'prod'. Did you mean 'prod"),
        ("accept=scord", "Unknown accept 'scord'. Did you mean 'scored'?"),
        ("select=surst", "Unknown select 'surst'. Did you mean 'surest'?"),
        ("acquire=bage", "Unknown acquire 'bage'. Did you mean 'badge'?"),
        ("labelling=verfy", "Unknown labelling 'verfy'. Did you mean 'verify'?"),
        ("seed", "seed"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_it_is_composed(override: str, said: str):
    with pytest.raises(ConfigError) as refused:
        compose_config(override.split())
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "override",
    [
        "student.learning_rate=1",
        "data.name=wikigold",
        "teacher.cache=null",
        "budget.tokens=null",
        "seed=0",
        "sweep.share_teacher=false",
        "data=hub data.name=a/b sweep.name=mine",
    ],
)
def test_a_value_of_the_right_kind_is_taken(override: str):
    compose_config(override.split())


def test_nothing_is_mirrored_unless_it_is_asked_for_and_then_offline():
    assert composed().logger == {}
    assert composed("logger=wandb").logger["wandb"].settings["online"] is False


def test_runs_and_sweeps_have_folders_of_their_own():
    hydra = compose_hydra(["name=mine"]).hydra
    assert re.fullmatch(r"outputs/mine/\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", hydra.run.dir)
    assert hydra.sweep.dir.startswith("multirun_sweeps/mine/")
    assert hydra.job.chdir is False
    typed = compose_config(["name=mine"]).hydra
    assert typed.run_dir.parent == Path("outputs/mine")
    assert typed.sweep_dir.parent == Path("multirun_sweeps/mine")
