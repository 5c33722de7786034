"""The options of conf/ with their settings, as the YAML has them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from tutelage.config.compose import compose_hydra
from tutelage.config.folder import conf_directory

CONF = conf_directory()
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir())
OPTIONS = [
    (group, str(path.relative_to(CONF / group).with_suffix("")))
    for group in GROUPS
    for path in sorted((CONF / group).rglob("*.yaml"))
    if path.parent != CONF / "prompt" / "templates"
]
"""Each group with each of its options, nested ones too; templates are a part of every prompt."""
OF_NER = (("data", "wikigold"), ("data", "conll04"), ("data", "wnut17"), ("method", "llm_da"))
"""Options that need a task and a data set of entities."""


def leaves(node: Any, path: str = "") -> dict[str, Any]:
    """The values of nested mappings by their dotted names."""
    if isinstance(node, dict):
        return {
            name: value
            for key, inner in node.items()
            for name, value in leaves(inner, f"{path}.{key}".lstrip(".")).items()
        }
    return {path: node}


def nodes(node: Any, path: str) -> Iterator[str]:
    """The dotted names of mappings, the outermost left out."""
    for key, inner in node.items() if isinstance(node, dict) else ():
        if isinstance(inner, dict):
            yield f"{path}.{key}"
            yield from nodes(inner, f"{path}.{key}")


@cache
def plain(*overrides: str) -> dict[str, Any]:
    """The YAML of a command as it stands: with its references, and without Hydra's own node."""
    config = compose_hydra(overrides)
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    values = OmegaConf.to_container(own)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


@cache
def of_option(group: str, option: str) -> tuple[str, ...]:
    """Overrides that choose an option with what it needs, and a text for each unset value."""
    overrides = [f"{group}={option}"]
    if group == "ablation":
        overrides += ["method=evokd"]
    if (group, option) in OF_NER or "ner" in option.split("_"):
        overrides += ["task=ner"] * (group != "task") + ["data=wikigold"] * (group != "data")
    values = leaves(plain(*overrides))
    return (*overrides, *(f"{key}=any" for key, value in values.items() if value == "???"))
