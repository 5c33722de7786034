"""From Hydra's DictConfig to the typed configuration.

Together with :mod:`tutelage.config.compose` this is the only place that sees a DictConfig."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tutelage.config.check import UnknownSetting, check_component, check_group, check_value
from tutelage.config.devices import check_shared, checked_devices
from tutelage.config.messages import _NO_DATA_KEY, DATA_KEYS, in_one_line
from tutelage.config.schema import (
    BudgetConfig,
    Component,
    EvaluateConfig,
    HydraInfo,
    RunConfig,
    StudentConfig,
    SweepConfig,
    TrainingConfig,
)
from tutelage.config.secrets import check_variables
from tutelage.errors import ConfigError, did_you_mean

GIVEN = {
    "task": ("labels",),
    "data": ("kind",),
    "teacher": ("log_path",),
    "labelling": (
        "teacher",
        "labels",
        "prompts",
        "shots",
        "calibrator",
        "nearest",
        "embed",
        "seed",
        "rule",
        "open_teacher",
    ),
    "calibration": ("suits_chat", "labels"),
    "method": ("prompts", "accept_selector", "acquirer", "new_labeller"),
    "logger": ("folder", "resume"),
}
"""Arguments that the run adds to a group's target; the configuration must not set them."""


_TEACHER_NAME = re.compile(r"[A-Za-z][\w-]*", re.ASCII)

DEFAULTS = {"logger": ("save_dir",)}
"""Arguments that the run adds where the configuration does not set them."""


TRAINER_OWNED = {
    "max_epochs": "the stages end the run (training.start_epochs, round_epochs, final_epochs)",
    "min_epochs": "the stages end the run (training.start_epochs, round_epochs, final_epochs)",
    "max_steps": "a stage's steps are limited by training.start_max_steps, round_max_steps and "
    "final_max_steps",
    "min_steps": "the stages end the run (training.start_epochs, round_epochs, final_epochs)",
    "callbacks": "callbacks are a group of their own: callbacks=…, or +callbacks.NAME._target_=…",
    "logger": "loggers are a group of their own: logger=…, or +logger.NAME._target_=…",
    "check_val_every_n_epoch": "the run validates at the end of each stage",
    "val_check_interval": "the run validates at the end of each stage",
    "limit_val_batches": "feedback needs every validation batch",
    "limit_test_batches": "scores on test need every batch",
    "limit_predict_batches": "feedback needs every prediction",
    "num_sanity_val_steps": "a sanity check would be taken for feedback",
    "reload_dataloaders_every_n_epochs": "the training loader grows, so each epoch reloads it",
    "enable_checkpointing": "the run writes checkpoints that resume=true needs",
    "fast_dev_run": "it would end a run before its first round; use method.rounds=1",
    "overfit_batches": "it would replace the growing training set; use trainer.limit_train_batches",
    "barebones": "it turns off the callbacks that grow the training set",
}
"""Keys of Lightning's Trainer that the growing loop sets itself, each with what to do instead."""


def typed_config(config: Any, hydra_node: Any = None, *, import_targets: bool = True) -> RunConfig:
    """Turns Hydra's DictConfig into the typed configuration.

    Args:
        hydra_node: Hydra's own node, where ``config`` does not hold it.
        import_targets: check each component against its target. This imports torch and Lightning,
            600 MB that a sweep's own process does without (each of its jobs checks for itself).

    Raises:
        ConfigError: an unknown or missing setting, or one of the wrong type.
    """
    source = plain_values(config)
    check_variables(source)
    typed = _typed(source, _hydra_info(config.hydra if hydra_node is None else hydra_node))
    if import_targets:
        check_targets(typed)
    return typed


def check_targets(config: RunConfig) -> None:
    """Checks each component against its target.

    Raises:
        ConfigError: an unknown, missing or wrong setting.
    """
    components: dict[str, Component | None] = {
        **{group: getattr(config, group) for group in (*_COMPONENTS, "acquire", "accept")},
        "student.schedule": config.student.schedule,
        **{f"callbacks.{name}": one for name, one in config.callbacks.items()},
        **{f"logger.{name}": one for name, one in config.logger.items()},
    }
    for setting, component in components.items():
        if component is not None:
            _check(component, setting, setting.partition(".")[0], config.hydra)
    for name, component in config.other_teachers.items():
        if not _TEACHER_NAME.fullmatch(name):
            raise ConfigError(
                f"labelling.teachers.{name} names a teacher, and its files: give it a name of "
                "letters, digits, - and _, such as labelling.teachers.second.model=…"
            )
        _check(component, f"labelling.teachers.{name}", "teacher", config.hydra)


def _check(component: Component, setting: str, group: str, info: HydraInfo) -> None:
    try:
        check_component(component, setting, GIVEN.get(group, ()), DEFAULTS.get(group, ()))
    except UnknownSetting as error:
        raise ConfigError(f"{error}{_set_by(info)}") from None


def _typed(source: dict[str, Any], info: HydraInfo) -> RunConfig:
    for node in (source, source["sweep"]):
        if type(node["name"]) in (int, float):  # a name of digits is a name
            node["name"] = str(node["name"])
    typed = {name: kind for name, kind in _TOP_LEVEL.items() if name in source}
    for name, kind in typed.items():
        check_value(name, source[name], kind)
    groups: dict[str, Any] = {
        group: check_group(kind, source[group], group) for group, kind in _GROUPS.items()
    }
    schedule = _component(source["student"]["schedule"], "student.schedule")
    student = check_group(StudentConfig, {**source["student"], "schedule": schedule}, "student")
    # Keys of a group that are not its target's.
    teacher = dict(source["teacher"])
    cache, record = teacher.pop("cache", None), teacher.pop("record", None)
    data = {key: value for key, value in source["data"].items() if key not in DATA_KEYS}
    own = {**source, "teacher": teacher, "data": data}
    trainer = _trainer(source["trainer"])
    callbacks = _components(source["callbacks"], "callbacks")
    check_shared(trainer, callbacks, student.batch_size)
    top: dict[str, Any] = {name: source[name] for name in _TOP_LEVEL}
    components: dict[str, Any] = {group: _component(own[group], group) for group in _COMPONENTS}
    return RunConfig(
        **top,
        **groups,
        **components,
        cache=cache,
        record=record,
        student=student,
        trainer=trainer,
        callbacks=callbacks,
        logger=_components(source["logger"], "logger"),
        acquire=_optional(source["acquire"], "acquire"),
        accept=_optional(source["accept"], "accept"),
        hydra=info,
        source=source,
    )


def _set_by(info: HydraInfo) -> str:
    """Names the option that may have set a key for another method, say; "" where there is none."""
    chosen = [
        f"{group}={option}"
        for group in ("experiment", "ablation")
        if (option := info.choices.get(group)) not in (None, "", "null", "none")
    ]
    if not chosen:
        return ""
    return (
        f" {' or '.join(chosen)} sets it for another option of that group: leave one of the two "
        "out, or give the values themselves."
    )


_TOP_LEVEL: Mapping[str, Any] = {
    "name": str,
    "seed": int,
    "shots": int,
    "threads": int,
    "keep_checkpoint": bool,
    "resume": bool | str,
}


_GROUPS: Mapping[str, Any] = {
    "training": TrainingConfig,
    "budget": BudgetConfig,
    "evaluate": EvaluateConfig,
    "sweep": SweepConfig,
}


_COMPONENTS = (
    "task",
    "data",
    "teacher",
    "prompt",
    "labelling",
    "calibration",
    "method",
    "select",
    "loss",
)


def plain_values(config: Any) -> dict[str, Any]:
    """Resolves a DictConfig to plain values, without Hydra's own node.

    Raises:
        ConfigError: a reference leads nowhere, such as a name that another setting lacks.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    # Hydra's own node is left out first: it refers to values that exist only inside a job.
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    if missing := sorted(_unset(OmegaConf.to_container(own), "")):
        raise ConfigError(
            f"{missing[0]} has no value and needs one: add {missing[0]}=… to the command."
        )
    try:
        resolved = OmegaConf.to_container(own, resolve=True)
    except OmegaConfBaseException as error:
        if found := _NO_DATA_KEY.search(str(error)):
            raise ConfigError(
                f"The prompt refers to data.{found[1]}, which the data set has not: data and task "
                "do not belong together. Give task=ner with a data set of entities "
                "(data=wikigold), task=classification with one of classes (data=snips)."
            ) from None
        raise ConfigError(in_one_line(error)) from None
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def _unset(node: Any, path: str) -> list[str]:
    if isinstance(node, dict):
        inner = ((f"{path}.{key}" if path else str(key), value) for key, value in node.items())
        return [found for name, value in inner for found in _unset(value, name)]
    return [path] if node == "???" else []


def _component(node: Any, setting: str) -> Component:
    if "_target_" not in node:
        raise ConfigError(f"{setting} has no _target_; name the class or function that it builds.")
    settings = {key: value for key, value in node.items() if key != "_target_"}
    return Component(str(node["_target_"]), settings)


def _components(node: Mapping[str, Any], setting: str) -> dict[str, Component]:
    """The components of a group that may hold several, by name."""
    for name, value in node.items():
        if not isinstance(value, dict):
            raise ConfigError(
                f"{setting}.{name}={value} is no component: give +{setting}.{name}._target_=…"
            )
    return {name: _component(value, f"{setting}.{name}") for name, value in node.items()}


def _optional(node: Mapping[str, Any], setting: str) -> Component | None:
    return _component(node, setting) if node else None


def _trainer(node: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of Lightning's Trainer, each known and none of the loop's own.

    Raises:
        ConfigError: an unknown key, one that the loop owns, or impossible devices.
    """
    known = _trainer_keys()
    for key in node:
        if key in TRAINER_OWNED:
            raise ConfigError(f"trainer.{key} cannot be set: {TRAINER_OWNED[key]}.")
        if key not in known:
            raise ConfigError(
                f"trainer.{key}: "
                f"{did_you_mean('setting of Trainer', key, known - set(TRAINER_OWNED))}"
            )
    return checked_devices(node)


@cache
def _trainer_keys() -> frozenset[str]:
    """The arguments of Lightning's Trainer, from its source: the import takes seconds."""
    package = find_spec("pytorch_lightning")
    assert package is not None
    assert package.origin is not None
    source = (Path(package.origin).parent / "trainer" / "trainer.py").read_text(encoding="utf-8")
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    (trainer,) = (node for node in classes if node.name == "Trainer")
    methods = [node for node in trainer.body if isinstance(node, ast.FunctionDef)]
    (made,) = (node for node in methods if node.name == "__init__")
    return frozenset(argument.arg for argument in (*made.args.args[1:], *made.args.kwonlyargs))


def _hydra_info(node: Any) -> HydraInfo:
    from omegaconf import OmegaConf

    swept = node.sweeper.get("params")
    params: Any = OmegaConf.to_container(swept) if swept else {}
    trials = node.sweeper.get("n_trials")
    # Not resolved: a reference may be to a secret of the environment.
    overrides: Any = OmegaConf.to_container(node.overrides.task, resolve=False)
    return HydraInfo(
        run_dir=Path(str(node.run.dir)),
        sweep_dir=Path(str(node.sweep.dir)),
        choices={str(key): str(value or "") for key, value in node.runtime.choices.items()},
        named=frozenset(str(one).partition("=")[0] for one in overrides),
        sweeper=str(node.sweeper._target_),
        launcher=str(node.launcher._target_),
        sweep_params={str(key): str(value) for key, value in params.items()},
        n_trials=None if trials is None else int(trials),
    )
