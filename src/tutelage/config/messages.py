"""Hydra's errors in one line, with what to do instead."""

from __future__ import annotations

import re

from tutelage.config.folder import conf_directory, search_path

DATA_KEYS = ("cue", "genre", "leads")
"""Keys of conf/data that are the prompt's, not the reader's."""


_NO_DATA_KEY = re.compile(rf"Interpolation key 'data\.({'|'.join(DATA_KEYS)})' not found")


_NO_SETTING = re.compile(r"Could not override '((\w+)\.[\w.]+)'")


def in_one_line(error: Exception) -> str:
    """Hydra's words without its technical lines, with the option that has a missing setting."""
    cause = error.__cause__ if error.__cause__ is not None else error
    text = str(error) + ("\n" + str(cause) if cause is not error else "")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    technical = ("full_key", "object_type", "To append", "reference_type")
    kept = [line for line in lines if not line.startswith(technical)]
    elsewhere = _elsewhere(str(error))
    said = " ".join(kept)
    if said.startswith("Interpolation"):
        elsewhere = r". For the signs ${ themselves, as in a file's name, write \${ in quotes."
    return (
        f"{said.rstrip('.') if elsewhere else said}{elsewhere} "
        "(`tutelage train --cfg job` prints every setting.)"
    )


def _elsewhere(message: str) -> str:
    """Names the options that have a setting which the chosen option of its group lacks."""
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
    having = []
    with initialize_config_dir(str(conf_directory()), version_base="1.3"):
        for option in options:
            try:
                composed = compose("config", [f"{group}={option}", *search_path()])
            except HydraException:
                continue
            if OmegaConf.select(composed, key, default=nothing) is not nothing:
                having.append(option)
    return f". It is a setting of {group}={', '.join(having)}." if having else ""


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
