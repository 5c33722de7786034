"""The processes of further devices: their order, their end, and what is said of it."""

from __future__ import annotations

import os
import pickle
from contextlib import suppress
from pathlib import Path

import pytest
from tests.helpers import tiny
from tests.helpers.classification import TASK

from tutelage.config.compose import compose_config
from tutelage.errors import ConfigError, RunError
from tutelage.followers import Followers, Order, check_started_alone
from tutelage.ranks import free_port
from tutelage.records import Row


def order(student: Path, data: Path, *overrides: str) -> Order:
    config = compose_config(
        [*tiny.scripted(student, data, Path("replies.sqlite")), "trainer.devices=2", *overrides]
    )
    rows = (Row("r1", "a text", "Animal", "gold", 0, True, ""),)
    return Order(config, TASK, "method=evokd", rows, None, free_port())


def test_an_order_survives_the_way_to_another_process(student: Path, small_data: Path) -> None:
    given = order(student, small_data)
    read = pickle.loads(pickle.dumps(given))
    assert read.rows == given.rows
    assert read.config.source == given.config.source
    assert [label.name for label in read.task.labels] == [label.name for label in TASK.labels]
    assert (read.ranks.rank, read.ranks.size) == (0, 2)


def test_one_device_starts_nothing(student: Path, small_data: Path) -> None:
    with Followers(order(student, small_data, "trainer.devices=1")) as followers:
        assert followers._processes == []


def test_they_are_ready_and_end_with_the_fit(student: Path, small_data: Path) -> None:
    followers = Followers(order(student, small_data))
    with suppress(ConfigError), followers:
        ((process, _),) = followers._processes
        assert process.poll() is None
        raise ConfigError("the fit failed")
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_one_that_dies_before_it_is_ready_says_why(
    student: Path, small_data: Path, tmp_path: Path
) -> None:
    broken = order(tmp_path / "no-student", small_data)
    with pytest.raises(RunError) as told, Followers(broken):
        raise AssertionError("the fit began")
    said = str(told.value)
    assert "The process of the student's device 1 ended (exit code 1)" in said
    assert "no-student" in said
    assert "resume=true" in said


@pytest.mark.parametrize("name", ["TORCHELASTIC_RUN_ID", "SLURM_STEP_NUM_TASKS"])
def test_another_launcher_of_several_processes_is_refused(name: str) -> None:
    check_started_alone(2, {})
    check_started_alone(2, {"SLURM_STEP_NUM_TASKS": "1"})
    check_started_alone(1, {name: "2"})
    with pytest.raises(ConfigError, match=r"Start it once.*--ntasks=1"):
        check_started_alone(2, {name: "2"})
