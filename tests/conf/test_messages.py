"""Every setting and option that a message or a docstring names exists, and can be set."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tests.helpers.options import CONF, GROUPS, OPTIONS, leaves, nodes, of_option, plain

import tutelage
from tutelage.config.check import declared, locate
from tutelage.config.compose import compose_config, compose_hydra

SOURCE = Path(tutelage.__file__).parent
_NAMES = "|".join(GROUPS)
_SETTING = re.compile(rf"(?<![\w./])(\+?)({_NAMES}|hydra)\.([a-z_]\w*(?:\.[a-z_]\w*)*)")
_OPTION = re.compile(rf"(?<![\w./@])({_NAMES})=([a-z_]\w*(?:/\w+)?)")
_FILES = ("py", "json", "jsonl", "html", "yaml", "md", "j2")
"""What stands behind a group's name and a dot in the name of a file."""
_NO_SETTINGS = {
    # Columns of rich's progress bar, and attributes of Hydra's and Lightning's objects.
    "terminal.py": {"task.description", "task.fields"},
    "label/display.py": {"task.description", "task.fields"},
    "launch.py": {"hydra.main"},
    "data/growing.py": {"trainer.current_epoch"},
    # Settings of earlier versions, which are looked up by name to say what became of them.
    "config/messages.py": {"method.training", "method.acquire", "method.accept", "method.train"},
}


def literals(path: Path) -> Iterator[str]:
    """The string literals of a module, docstrings and the fixed parts of f-strings included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@cache
def named() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Settings and options by name, each with the modules that name it."""
    settings: dict[str, set[str]] = defaultdict(set)
    options: dict[str, set[str]] = defaultdict(set)
    for path in sorted(SOURCE.rglob("*.py")):
        module = path.relative_to(SOURCE).as_posix()
        for text in literals(path):
            for plus, group, key in _SETTING.findall(text):
                # Below teacher.engine stand vLLM's own names, below labelling.teachers the user's.
                name = re.sub(
                    r"^(teacher\.engine|labelling\.teachers)\..*", r"\1", f"{group}.{key}"
                )
                is_file = key.rpartition(".")[2] in _FILES
                if not is_file and name not in _NO_SETTINGS.get(module, ()):
                    settings[plus + name].add(module)
            for group, option in _OPTION.findall(text):
                options[f"{group}={option}"].add(module)
    return dict(settings), dict(options)


@cache
def settable() -> dict[str, tuple[tuple[str, str], Any]]:
    """Every setting of every option, with the first option that has it, and its value there."""
    found: dict[str, tuple[tuple[str, str], Any]] = {}
    for group, option in OPTIONS:
        node = plain(*of_option(group, option)).get(group)
        inner = {name: {} for name in nodes(node, group)}
        for name, value in {**inner, **leaves(node, group)}.items():
            found.setdefault(name, ((group, option), value))
    return found


def as_override(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(as_override, value))}]"
    if isinstance(value, str):
        escaped = value.replace("'", "\\'")
        return value if value.startswith("${") else f"'{escaped}'"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def test_the_messages_name_settings_at_all():
    settings, options = named()
    assert {"teacher.max_model_len", "labelling.reply_tokens", "training.gold"} <= settings.keys()
    assert {"data.cue", "method.n_hard", "budget.tokens", "logger.wandb.wait"} & settings.keys()
    assert {"method=shots", "teacher=vllm", "logger=wandb", "labelling=extract"} <= options.keys()
    assert len(settings) > 120
    assert len(options) > 25


@pytest.mark.parametrize("name", sorted(named()[1]))
def test_an_option_that_is_named_exists(name: str):
    group, _, option = name.partition("=")
    assert (group, option) in OPTIONS, f"{named()[1][name]} names {name}"


@pytest.mark.parametrize("name", sorted(one for one in named()[0] if "hydra." not in one))
def test_a_setting_that_is_named_exists(name: str):
    assert name in settable(), f"{named()[0][name]} names {name}, which no option has"


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=str)
def test_a_setting_that_is_named_can_be_set(group: str, option: str):
    mine = {
        name: value
        for name, (where, value) in settable().items()
        if name in named()[0] and where == (group, option) and value not in ({}, "???")
    }
    chosen = of_option(group, option)
    given = [f"{name}={as_override(value)}" for name, value in mine.items()]
    config = compose_config([*chosen, *given])
    if not any("=${" in one for one in given):
        assert config.source == compose_config(chosen).source


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=str)
def test_an_engine_s_own_messages_name_what_its_option_has(group: str, option: str):
    """A setting that another option of the group has would not help."""
    node = plain(*of_option(group, option)).get(group) or {}
    module = str(node.get("_target_", "")).rpartition(".")[0]
    path = module.removeprefix("tutelage.").replace(".", "/") + ".py"
    targets = {
        str((plain(*of_option(group, one)).get(group) or {}).get("_target_", ""))
        for _, one in (choice for choice in OPTIONS if choice[0] == group)
    }
    if sum(target.startswith(f"{module}.") for target in targets) != 1:
        return  # messages of several targets, or of none
    for name, modules in named()[0].items():
        if path in modules and name.startswith(f"{group}."):
            has = {*nodes(node, group), *(f"{group}.{key}" for key in leaves(node))}
            assert name in has, f"{path} names {name}, and {group}={option} has no such setting"


def test_a_teacher_that_takes_a_tokenizer_has_it_in_its_option():
    for group, option in OPTIONS:
        if group == "teacher":
            node = plain(*of_option(group, option))["teacher"]
            takes = declared(locate(node["_target_"], "teacher")).types
            assert ("tokenizer" in takes) == ("tokenizer" in node), option


def test_a_setting_of_hydra_s_own_that_is_named_exists():
    for name in sorted(one for one in named()[0] if one.startswith("hydra.")):
        missing = object()
        for sweeper in ("basic", "optuna"):
            config = compose_hydra([f"hydra/sweeper={sweeper}"])
            if OmegaConf.select(config, name, default=missing) is not missing:
                break
        else:
            raise AssertionError(f"{named()[0][name]} names {name}")


def test_every_group_has_options():
    assert all((CONF / group).is_dir() for group in GROUPS)
    assert {group for group, _ in OPTIONS} == {*GROUPS}
