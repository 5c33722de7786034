"""Hydra's errors in one line, with what to do instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from tutelage.config.folder import conf_directory, search_path

DATA_KEYS = ("cue", "genre", "leads")
"""Keys of conf/data that are the prompt's, not the reader's."""


_NO_DATA_KEY = re.compile(rf"Interpolation key 'data\.({'|'.join(DATA_KEYS)})' not found")


_NO_SETTING = re.compile(r"Could not override '((\w+)(?:\.[\w.]+)?)'")


_HYDRA_SAYS = re.compile(r"Could not override '([\w.]+)'\. Key '\w+' is not in struct")


def in_one_line(error: Exception) -> str:
    """Hydra's words without its technical lines, with the option that has a missing setting."""
    cause = error.__cause__ if error.__cause__ is not None else error
    text = str(error) + ("\n" + str(cause) if cause is not error else "")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    technical = ("full_key", "object_type", "To append", "reference_type")
    kept = [line for line in lines if not line.startswith(technical)]
    elsewhere = _elsewhere(str(error))
    said = _HYDRA_SAYS.sub(r"There is no setting '\1'", " ".join(kept))
    if said.startswith("Interpolation"):
        elsewhere = r". For the signs ${ themselves, as in a file's name, write \${ in quotes."
    return (
        f"{said.rstrip('.') if elsewhere else said}{elsewhere} "
        "(`tutelage train --cfg job` prints every setting.)"
    )


def _elsewhere(message: str) -> str:
    """Says which options have the missing setting, or else which setting was probably meant."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    if re.match(r"Could not override 'selector'|Override selector@", message):
        return ". The group selector is three groups now: acquire, accept and select."
    if not (found := _NO_SETTING.match(message)):
        return ""
    key, group = found.groups()
    if key in (renamed := _renamed(key)):
        return f". It is {renamed[key]} now."
    options = [path.stem for path in sorted((conf_directory() / group).glob("*.yaml"))]
    nothing = object()
    having: list[str] = []
    known: set[str] = set()
    with initialize_config_dir(str(conf_directory()), version_base="1.3"):
        for option in (None, *options):
            chosen = [f"{group}={option}"] if option else []
            try:
                composed = compose("config", [*chosen, *search_path()])
            except HydraException:
                continue
            known.update(_names(OmegaConf.to_container(composed, resolve=False)))
            if option and OmegaConf.select(composed, key, default=nothing) is not nothing:
                having.append(option)
    if having:
        return f". It is a setting of {group}={', '.join(having)}."
    meant = _near(key, known)
    return f". Did you mean {' or '.join(meant)}?" if meant else ""


def _names(node: Any, above: str = "") -> Iterator[str]:
    """The dotted names of all settings and groups."""
    if isinstance(node, dict):
        for key, inner in node.items():
            yield (name := f"{above}{key}")
            yield from _names(inner, f"{name}.")


def _near(key: str, known: Iterable[str]) -> list[str]:
    """Returns settings of the same name in other groups, else the closest spelling in its own."""
    group, _, name = key.rpartition(".")
    elsewhere: list[str] = []
    beside: list[str] = []
    for one in sorted(known):
        where, _, last = one.rpartition(".")
        if last == name and "." not in group + where:
            elsewhere.append(one)
        if where == group:
            beside.append(last)
    near = difflib.get_close_matches(name, beside, n=1, cutoff=0.6)
    return elsewhere[:3] or [f"{group}.{one}".lstrip(".") for one in near]


_OF_WANDB = ("online", "project", "entity", "table_rows", "pool_mb", "wait")


def _renamed(key: str) -> dict[str, str]:
    """Where a setting of earlier versions went (docs/reference/glossary.md has the whole table)."""
    steps = {f"{stage}_updates": f"{stage}_max_steps" for stage in ("start", "round", "final")}
    group, _, name = key.rpartition(".")
    moved = {
        "method.training": f"training.{steps.get(name, name)}",
        "trainer": {
            "gradient_clip": "trainer.gradient_clip_val",
            "threads": "threads",
            "keep_checkpoint": "keep_checkpoint",
        }.get(name, ""),
        "teacher": "the group labelling (labelling=verify or labelling=extract)"
        if name == "ner"
        else f"labelling.{name}"
        if name.startswith(("candidate", "shown_")) or name == "reply_tokens"
        else "",
        "prompt": f"data.{name}" if name in DATA_KEYS else "",
        "method": "labelling.allow_codes" if name == "allow_codes" else "",
        "method.acquire": f"acquire.{name}",
        "method.accept": f"accept.{name}",
        "method.train": f"select.{name}",
        "logger": f"logger.wandb.{name}" if name in _OF_WANDB else "",
        "selector": f"acquire.{name}, accept.{name} or select.{name}",
    }
    return {key: moved[group]} if moved.get(group) else {}
