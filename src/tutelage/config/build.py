"""From the typed configuration to objects, with errors that name the setting."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.config.check import locate
from tutelage.config.devices import device_count
from tutelage.config.schema import Component, RunConfig
from tutelage.data.dataset import Dataset
from tutelage.errors import ConfigError, TutelageError
from tutelage.tasks.protocol import Task

if TYPE_CHECKING:
    from pytorch_lightning import Callback
    from pytorch_lightning.loggers import Logger


def build(component: Component, setting: str, **given: Any) -> Any:
    """Creates what a component's target names.

    Args:
        setting: the component's path in the configuration, for messages.
        given: arguments that the run adds.

    Raises:
        ConfigError: the target cannot be imported or refuses these settings.
    """
    target = locate(component.target, setting)
    settings: dict[str, Any] = dict(component.settings)
    try:
        settings_type = getattr(target, "settings_type", None)
        if settings_type is not None:
            return target(settings_type(**settings), **given)
        return target(**settings, **given)
    except TutelageError:
        raise
    except TypeError as error:
        raise ConfigError(f"{setting}={component.target} could not be built: {error}.") from error


def build_task(config: RunConfig, dataset: Dataset) -> Task:
    """Builds the task of conf/task over the labels of the data set."""
    task: Task = build(config.task, "task", labels=dataset.labels)
    return task


def task_class(config: RunConfig) -> Any:
    """Returns the class of conf/task, for what a task knows without labels."""
    return locate(config.task.target, "task")


def build_dataset(config: RunConfig) -> Dataset:
    """Reads the data set of conf/data for the task of conf/task."""
    dataset: Dataset = build(config.data, "data", kind=task_class(config).name)
    return dataset


def build_loggers(config: RunConfig, folder: Path) -> list[Logger]:
    """Builds Lightning's loggers of conf/logger; each writes below the run's folder by default."""
    import inspect

    loggers: list[Logger] = []
    for name, component in config.logger.items():
        if not _is_lightnings(component, name):
            continue
        target = locate(component.target, f"logger.{name}")
        takes = inspect.signature(target).parameters
        given = {"save_dir": str(folder)} if "save_dir" in takes else {}
        given = {key: value for key, value in given.items() if key not in component.settings}
        if target.__name__ == "MLFlowLogger" and "tracking_uri" not in component.settings:
            given["save_dir"] = str(folder / "mlflow")
        try:
            loggers.append(build(component, f"logger.{name}", **given))
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"logger={name} needs a package that is not installed: {error}. Install it, or "
                "leave the logger out."
            ) from error
    return loggers


def _is_lightnings(logger: Component, name: str) -> bool:
    import inspect

    from pytorch_lightning.loggers import Logger

    target = locate(logger.target, f"logger.{name}")
    return inspect.isclass(target) and issubclass(target, Logger)


def build_callbacks(config: RunConfig) -> list[Callback]:
    """Builds the Lightning callbacks of conf/callbacks.

    Raises:
        ConfigError: one of them is no Lightning callback, or needs a logger where there is none.
    """
    from pytorch_lightning import Callback
    from pytorch_lightning.callbacks import DeviceStatsMonitor, LearningRateMonitor

    logs = any(_is_lightnings(one, name) for name, one in config.logger.items())
    built = {name: build(one, f"callbacks.{name}") for name, one in config.callbacks.items()}
    for name, callback in built.items():
        if not isinstance(callback, Callback):
            raise ConfigError(
                f"callbacks.{name}: {config.callbacks[name].target} builds a "
                f"{type(callback).__name__}, which is no pytorch_lightning.Callback."
            )
        if isinstance(callback, DeviceStatsMonitor | LearningRateMonitor) and not logs:
            raise ConfigError(
                f"callbacks={name} writes to a logger, and there is none: give logger=csv, "
                "tensorboard or mlflow."
            )
    return list(built.values())


def build_mirrors(config: RunConfig, folder: Path, *, resume: bool) -> ExitStack:
    """Opens what mirrors the run's folder elsewhere (logger=wandb), until the stack is closed."""
    stack = ExitStack()
    for name, component in config.logger.items():
        if _is_lightnings(component, name):
            continue
        mirror = build(component, f"logger.{name}", folder=folder, resume=resume)
        if not hasattr(mirror, "__enter__"):
            raise ConfigError(
                f"logger.{name}: {component.target} is neither a Lightning logger nor a mirror of "
                "the run's folder (a context manager that takes folder and resume)."
            )
        stack.enter_context(mirror)
    return stack


def set_threads(config: RunConfig) -> None:
    """Sets torch's CPU threads: as configured, or one per core that this process may use.

    With several devices for the student, their processes divide the threads evenly.
    """
    import torch

    threads = config.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(max(1, threads // device_count(config.trainer)))
