"""The devices that the student trains on, from the settings of Lightning's Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tutelage.errors import ConfigError

_SHARDED = ("fsdp", "deepspeed", "model_parallel")


def device_count(trainer: Mapping[str, Any]) -> int:
    """Returns the number of devices of checked settings."""
    devices = trainer.get("devices", 1)
    return len(devices) if isinstance(devices, list) else int(devices)


def one_device(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the same settings for the first device alone, as a reference trains."""
    devices = trainer.get("devices", 1)
    first = devices[:1] if isinstance(devices, list) else 1
    strategy = trainer.get("strategy", "auto")
    return {**trainer, "devices": first, "strategy": "auto" if strategy == "ddp" else strategy}


def checked_devices(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings with ``devices`` as a number or a list, if the student can use them.

    With one device ``strategy=ddp`` means the same as ``auto``, so that a command goes on with one
    device where it began with two.

    Raises:
        ConfigError: The devices or the strategy are not possible.
    """
    given, strategy = trainer.get("devices", 1), str(trainer.get("strategy", "auto"))
    if strategy.startswith(_SHARDED):
        raise ConfigError(
            f"trainer.strategy={strategy} divides the student's weights among the devices, and the "
            "run predicts, chooses rows and saves with whole weights on the first one. Give "
            "trainer.strategy=ddp, which divides each batch."
        )
    if trainer.get("num_nodes", 1) not in (1, "1"):
        raise ConfigError(
            f"trainer.num_nodes={trainer['num_nodes']} is not one: the student trains on one "
            "machine. Give trainer.num_nodes=1, and trainer.devices=2 for two devices of it."
        )
    devices = 1 if given == "auto" else given
    if isinstance(devices, str) and devices.isdigit():
        devices = int(devices)
    listed = isinstance(devices, list) and devices and len({*map(str, devices)}) == len(devices)
    if not listed and (type(devices) is not int or devices < 1):
        raise ConfigError(
            f"trainer.devices={given} is neither a number of devices nor a list of them: give "
            "trainer.devices=2, or trainer.devices=[0,1] for two GPUs by number."
        )
    checked = {**trainer, "devices": devices}
    if device_count(checked) == 1:
        return one_device(checked)
    if strategy not in ("auto", "ddp"):
        raise ConfigError(
            f"trainer.strategy={strategy} does not train the student on several devices "
            f"(trainer.devices={given}). Give trainer.strategy=ddp, or trainer.devices=1."
        )
    if trainer.get("plugins"):
        raise ConfigError(
            f"trainer.plugins={trainer['plugins']} would join the processes in another way than "
            f"the run does for trainer.devices={given}. Give trainer.plugins=null, or "
            "trainer.devices=1."
        )
    return {**checked, "strategy": "ddp"}


def check_shared(trainer: Mapping[str, Any], callbacks: Mapping[str, Any], batch_size: int) -> None:
    """Refuses what several devices cannot share.

    Args:
        trainer: The checked settings.
        callbacks: The user's own callbacks.
        batch_size: ``student.batch_size``.

    Raises:
        ConfigError: There are several devices, and callbacks, or too few rows in a batch.
    """
    count = device_count(trainer)
    if count == 1:
        return
    if callbacks:
        raise ConfigError(
            f"callbacks.{next(iter(callbacks))} would run on the first device alone, and others "
            f"wait where it does not expect them (trainer.devices={trainer['devices']}). Give "
            "callbacks=none, or trainer.devices=1."
        )
    if batch_size < count:
        raise ConfigError(
            f"student.batch_size={batch_size} is the batch of all devices together, and has no row "
            f"for each of {count} (trainer.devices={trainer['devices']}). Give "
            f"student.batch_size={count} or more, or fewer devices."
        )
