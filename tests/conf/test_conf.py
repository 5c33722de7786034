"""Every shipped YAML composes, names code that exists with the settings that it takes, and shows a command that works."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tests.helpers.commands import benchmark_overrides_in, commands_in

from tutelage.config.compose import compose_config, conf_directory
from tutelage.errors import ConfigError
from tutelage.methods.evokd.settings import EvoKDSettings
from tutelage.methods.llm_da.settings import LLMDASettings
from tutelage.methods.pool.settings import PoolSettings
from tutelage.sweep.expected import expected_jobs

CONF = conf_directory()
ROOT = Path(__file__).parents[2]
FILES = sorted(CONF.rglob("*.yaml"))
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir())
OPTIONS = [(path.parent.name, path.stem) for path in FILES if path.parent != CONF]
WRAPPERS = {
    "data": {"cue"},
    "teacher": {
        "cache",
        "record",
        "ner",
        "candidates",
        "candidate_width",
        "candidate_parts",
        "shown_words",
        "shown_per_type",
        "shown_sentences",
        "reply_tokens",
    },
    "method": {"training", "allow_codes", "acquire", "accept", "train"},
}
"""Keys of a group that are not the target's: the run takes them for what stands around it."""
GIVEN = {
    "task": {"labels"},
    "teacher": {"log_path"},
    "method": {"prompts", "acceptance", "acquirer", "new_labeller"},
    "logger": {"folder", "resume"},
}
"""Arguments that the run adds."""
SETTINGS: dict[str, Any] = {
    "evokd": EvoKDSettings,
    "llm_da": LLMDASettings,
    "pool_labelling": PoolSettings,
    "llmaaa": PoolSettings,
    "freeal": PoolSettings,
}
"""What stands behind a method's ``**settings``, by its target."""
LLKD = ("method=llkd", "select=llkd")
ABLATED = dict.fromkeys(
    ("no_teacher_gate", "no_student_gate", "no_weights", "global_thresholds"), (LLKD, "selector.")
)
"""What an ablation is taken from, and where it changes it; the others are EvoKD's. "fixed_share" is of another selector, so of many leaves."""
COMMAND = re.compile(r"tutelage (?:train|plan)\b")
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "Makefile",
    *sorted((ROOT / "docs").glob("**/*.md")),
    *sorted((ROOT / "examples").glob("*.py")),
]
"""Every page of the site, and the other files that quote commands."""


def named(path: Path) -> str:
    return str(path.relative_to(CONF))


def leaves(node: Any, path: str = "") -> dict[str, Any]:
    if isinstance(node, dict):
        return {
            name: value
            for key, inner in node.items()
            for name, value in leaves(inner, f"{path}.{key}".lstrip(".")).items()
        }
    return {path: node}


@cache
def composed(*overrides: str) -> Any:
    """The configuration of a command; of a multirun's first job."""
    return expected_jobs([*overrides]).config


def plain(*overrides: str) -> dict[str, Any]:
    config = composed(*overrides)
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    values = OmegaConf.to_container(own)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def targets(node: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(node, dict):
        return []
    inner = [found for key, value in node.items() for found in targets(value, f"{path}.{key}")]
    return [(path, node), *inner] if "_target_" in node else inner


def test_there_is_a_group_for_each_part_and_an_option_in_each():
    assert {
        "data",
        "teacher",
        "method",
        "student",
        "prompt",
        "selector",
        "calibration",
        "ablation",
        "experiment",
    } <= set(GROUPS)
    assert all(any(group == name for name, _ in OPTIONS) for group in GROUPS)


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_file_opens_with_what_it_is_and_a_command_that_composes(path: Path):
    text = path.read_text(encoding="utf-8")
    comments = [line for line in text.splitlines() if not line.startswith("# @package")]
    assert re.match(r"# \S+ \S+", comments[0]), (
        f"{path} does not open with a comment that says what it is"
    )
    opening = "\n".join(
        comments[: next(index for index, line in enumerate(comments) if not line.startswith("#"))]
    )
    assert COMMAND.search(opening), f"{path} shows no command in its opening comment"
    for overrides in commands_in(text):
        composed(*overrides)
    if path.parent != CONF:
        chosen = {
            composed(*overrides).hydra.runtime.choices.get(path.parent.name)
            for overrides in [[], *commands_in(text)]
        }
        assert path.stem in chosen, f"{path} shows no command that uses it"


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=lambda value: str(value))
def test_an_option_composes_and_its_targets_take_its_keys(group: str, option: str):
    config = (
        plain(f"{group}={option}", "method=evokd")
        if group == "ablation"
        else plain(f"{group}={option}")
    )
    found = targets(config.get(group), group)
    assert (
        found
        or group in ("budget", "trainer", "evaluate", "experiment", "ablation", "student", "sweep")
        or (group, option) in (("selector", "own"), ("logger", "none"))
    )
    for path, node in found:
        module, _, name = node["_target_"].rpartition(".")
        target = getattr(import_module(module), name)
        parameters = inspect.signature(target).parameters
        keys = set(node) - {"_target_"} - WRAPPERS.get(path, set())
        takes = {key for key, value in parameters.items() if value.kind is not value.VAR_KEYWORD}
        required = {key for key in takes if parameters[key].default is inspect.Parameter.empty}
        if any(value.kind is value.VAR_KEYWORD for value in parameters.values()):
            assert path == "method", (
                f"{node['_target_']} takes any keyword, so that a wrong one is not noticed"
            )
            settings = {field.name for field in fields(SETTINGS[name])}
            takes |= settings
            required |= settings
        assert keys <= takes, f"{path}={option} has keys that {node['_target_']} does not take"
        assert required - GIVEN.get(path, set()) <= keys, (
            f"{path}={option} lacks keys that {node['_target_']} needs"
        )


@pytest.mark.parametrize(
    "option", [name for group, name in OPTIONS if group == "sweep" and name != "custom"]
)
def test_a_sweep_names_its_folder_and_each_of_its_values_composes(option: str):
    config = composed(f"sweep={option}")
    assert config.sweep.name == option
    lists = {key: value.split(",") for key, value in config.hydra.sweeper.params.items()}
    first = [f"{key}={values[0]}" for key, values in lists.items()]
    for index, (key, values) in enumerate(lists.items()):
        for value in values[1:] if key != "seed" else ():
            composed(*first[:index], f"{key}={value}", *first[index + 1 :])
    # A job is told nothing but its overrides, so a sweep sets nothing else.
    plainly, swept = plain(*first), plain(f"sweep={option}")
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
    base, index = ABLATED.get(option, (("method=evokd",), "method."))
    whole, ablated = leaves(plain(*base)), leaves(plain(*base, f"ablation={option}"))
    assert set(whole) == set(ablated)
    changed = [key for key in whole if whole[key] != ablated[key]]
    assert len(changed) == 1, f"ablation={option} changes {changed}"
    assert changed[0].startswith(index)


def test_a_fixed_share_instead_of_llkd_s_thresholds_changes_what_decides_and_nothing_else():
    whole, ablated = leaves(plain(*LLKD)), leaves(plain("method=llkd", "ablation=fixed_share"))
    thresholds = {
        f"selector.{key}"
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
        "selector._target_"
    }


@pytest.mark.parametrize("option", sorted(ABLATED))
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


@pytest.mark.parametrize("training", [name for group, name in OPTIONS if group == "method"])
def test_every_method_has_the_same_training_settings(training: str):
    assert set(plain(f"method={training}")["method"]["training"]) == set(
        plain("method=evokd")["method"]["training"]
    )


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_commands_of_the_documents_compose(path: Path):
    text = path.read_text(encoding="utf-8")
    for overrides in [*commands_in(text), *benchmark_overrides_in(text)]:
        composed(*overrides)


def test_commands_are_read_from_text():
    text = (
        "Try `tutelage train method.rounds=4\nseed=2`, or\n"
        "    tutelage plan teacher.model=<id or path>   # what it costs\n`tutelage train …`\n"
        "tutelage train shots=5 \\\n  seed=3\ntutelage train --config-dir mine method=own\n"
        "`python benchmarks/one.py --data DATA -- calibration=batch`"
    )
    assert commands_in(text) == [
        ["method.rounds=4", "seed=2"],
        ["teacher.model=anything"],
        ["shots=5", "seed=3"],
    ]
    assert benchmark_overrides_in(text) == [["calibration=batch"]]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("method=evokdd", "Unknown method 'evokdd'. Did you mean 'evokd'? Available: evokd, "),
        ("data=snip", "Unknown data 'snip'. Did you mean 'snips'? Available: "),
        ("ablation=no_eazy", "Unknown ablation 'no_eazy'. Did you mean 'no_easy'? Available: "),
        ("experiment=nothing_alike", "Unknown experiment 'nothing_alike'. Available: "),
        ("methd=evokd", "methd"),
        ("method.roundss=3", "method.roundss"),
        ("teacher.modle=x", "teacher.modle"),
        ("student.lerning_rate=1", "student.lerning_rate"),
        ("seed=abc", "'abc' of type 'str' could not be converted to Integer"),
        ("budget.tokens=many", "'many' of type 'str' could not be converted to Integer"),
        ("shots=1.5", "'1.5' of type 'float' could not be converted to Integer"),
        ("evaluate.teacher=perhaps", "'perhaps' is not a valid bool"),
        ("method.rounds=abc", "method.rounds='abc' is not a whole number; its default is "),
        ("method.rounds=2.5", "method.rounds=2.5 is not a whole number"),
        ("method.analysis=1", "method.analysis=1 is not true or false"),
        (
            "training.start_epochs=null",
            "training.start_epochs=None is not a whole number",
        ),
        ("student.learning_rate=high", "student.learning_rate='high' is not a number"),
        ("accept.share=true", "accept.share=True is not a number"),
        ("select=surest select.share=true", "select.share=True is not a number"),
        ("accept=scord", "Unknown selector 'scord'. Did you mean 'scored'?"),
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
        "data.name=null",
        "teacher.cache=null",
        "budget.tokens=null",
        "seed=0",
        "data=hub data.name=a/b sweep.name=mine",
    ],
)
def test_a_value_of_the_right_kind_is_taken(override: str):
    compose_config(override.split())


def test_nothing_is_mirrored_unless_it_is_asked_for_and_then_offline():
    assert plain()["logger"] == {}
    assert plain("logger=wandb")["logger"]["online"] is False


def test_runs_and_sweeps_have_folders_of_their_own():
    config = compose_config(["name=mine"])
    assert re.fullmatch(r"outputs/mine/\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", config.hydra.run.dir)
    assert config.hydra.sweep.dir.startswith("multirun_sweeps/mine/")
    assert config.hydra.job.chdir is False
