"""The devices of the student, from the settings of Lightning's Trainer."""

from __future__ import annotations

from typing import Any

import pytest

from tutelage.config.devices import check_shared, checked_devices, device_count, one_device
from tutelage.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "devices", "strategy"),
    [
        ({}, 1, "auto"),
        ({"devices": "auto"}, 1, "auto"),
        ({"devices": [3]}, [3], "auto"),
        ({"devices": 1, "strategy": "ddp"}, 1, "auto"),
        ({"devices": 2}, 2, "ddp"),
        ({"devices": "3", "strategy": "auto"}, 3, "ddp"),
        ({"devices": [0, 2], "strategy": "ddp"}, [0, 2], "ddp"),
    ],
)
def test_one_or_several_devices(given: dict[str, Any], devices: Any, strategy: str) -> None:
    checked = checked_devices({**given, "accelerator": "cpu"})
    assert (checked["devices"], checked["strategy"]) == (devices, strategy)
    assert checked["accelerator"] == "cpu"
    assert device_count(checked) == (len(devices) if isinstance(devices, list) else devices)
    alone = one_device(checked)
    assert device_count(alone) == 1
    assert alone["strategy"] == "auto"
    assert checked_devices(alone) == alone


@pytest.mark.parametrize("devices", [0, -1, "all", [], [1, 1], 1.5, True, None])
def test_what_is_no_number_of_devices_is_refused(devices: Any) -> None:
    with pytest.raises(ConfigError, match="neither a number of devices nor a list"):
        checked_devices({"devices": devices})


@pytest.mark.parametrize("strategy", ["fsdp", "fsdp_cpu_offload", "deepspeed_stage_3"])
def test_sharded_weights_are_refused_with_what_to_use(strategy: str) -> None:
    for devices in (1, 2):
        with pytest.raises(ConfigError, match=r"Give trainer\.strategy=ddp"):
            checked_devices({"devices": devices, "strategy": strategy})


def test_other_ways_to_join_processes_are_refused() -> None:
    with pytest.raises(ConfigError, match="does not train the student on several devices"):
        checked_devices({"devices": 2, "strategy": "ddp_spawn"})
    with pytest.raises(ConfigError, match="join the processes in another way"):
        checked_devices({"devices": 2, "plugins": ["a plugin"]})
    with pytest.raises(ConfigError, match="one machine"):
        checked_devices({"devices": 2, "num_nodes": 2})


def test_what_several_devices_cannot_share() -> None:
    check_shared({"devices": 1}, {"mine": None}, 1)
    check_shared({"devices": 2}, {}, 2)
    with pytest.raises(ConfigError, match=r"callbacks\.mine would run on the first device alone"):
        check_shared({"devices": 2}, {"mine": None}, 8)
    with pytest.raises(ConfigError, match=r"student\.batch_size=3 or more"):
        check_shared({"devices": [0, 1, 2]}, {}, 2)
