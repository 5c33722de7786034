"""A student on two devices, two CPU processes here: the same pool as on one, also after a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.helpers import tiny
from tests.helpers.tiny import accuracies, lines
from tests.helpers.warm_runs import Runs

from tutelage.errors import RunError

TWO = ("trainer.strategy=ddp", "trainer.devices=2")
ONE = ("trainer.strategy=ddp", "trainer.devices=1")


@pytest.fixture(scope="module")
def all_runs() -> Iterator[Runs]:
    started = Runs()
    yield started
    started.close()


@pytest.fixture
def runs(all_runs: Runs) -> Iterator[Runs]:
    yield all_runs
    all_runs.clear()


@pytest.fixture(scope="module")
def overrides(
    student: Path, small_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """EvoKD, whose pool depends on the student's mistakes, with a student without dropout.

    Each device draws its own dropout masks, so they alone would make another student.
    """
    plain = tmp_path_factory.mktemp("models") / "no-dropout"
    shutil.copytree(student, plain)
    known = json.loads((plain / "config.json").read_text())
    known |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (plain / "config.json").write_text(json.dumps(known))
    given = tiny.scripted(plain, small_data, Path("replies.sqlite"), delay=0.01)
    return ["train", *given, *tiny.EVOKD, "student.batch_size=6"]


@pytest.fixture(scope="module")
def on_one(all_runs: Runs, overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    ended(all_runs, folder, all_runs.start(folder, *overrides, *ONE))
    return folder


def ended(runs: Runs, folder: Path, pid: int) -> None:
    assert runs.wait(pid) == 0, (folder / "printed.txt").read_text()


def run_folder(folder: Path) -> Path:
    (found,) = (path.parent for path in folder.glob("outputs/*/*/status.json"))
    return found


def status(folder: Path) -> dict[str, Any]:
    for path in folder.glob("outputs/*/*/status.json"):
        return dict(json.loads(path.read_text()))
    return {}


def until(moment: Callable[[], Any], folder: Path) -> None:
    end = time.monotonic() + 60
    while not moment():
        assert status(folder).get("state") not in ("done", "failed"), status(folder)
        assert time.monotonic() < end, f"the moment never came: {status(folder)}"
        time.sleep(0.002)


def learns_round_1(folder: Path) -> Callable[[], bool]:
    return lambda: (
        bool(list(folder.glob("outputs/*/*/checkpoints/epoch-*.ckpt")))
        and (status(folder).get("phase"), status(folder).get("round")) == ("training", 1)
    )


def followers_of(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children()
    return [child for child in children if "tutelage.follow" in child.cmdline()]


def are_gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=20)[1]


def ends_alike(folder: Path, on_one: Path, devices: int) -> None:
    mine, other = run_folder(folder), run_folder(on_one)
    result, wanted = (json.loads((one / "result.json").read_text()) for one in (mine, other))
    for key in ("pool_hash", "rows", "rounds", "stopped_by", "gold_labels", "tokens"):
        assert result[key] == wanted[key], key
    assert result["after"]["accuracy"] == pytest.approx(wanted["after"]["accuracy"], abs=0.05)
    assert accuracies(mine)[0] == accuracies(other)[0]
    losses = [[one["train_loss"] for one in lines(run / "metrics.jsonl")] for run in (mine, other)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    manifest = json.loads((mine / "manifest.json").read_text())
    assert manifest["hardware"]["student_devices"] == devices


def test_two_devices_grow_the_pool_of_one(
    runs: Runs, overrides: list[str], on_one: Path, tmp_path: Path
) -> None:
    ended(runs, tmp_path, runs.start(tmp_path, *overrides, *TWO))
    ends_alike(tmp_path, on_one, 2)
    # The other process has no folder and says nothing.
    printed = (tmp_path / "printed.txt").read_text()
    assert len(list(tmp_path.glob("outputs/*/*"))) == 1
    assert printed.count("  start   ") == 1
    assert "Initializing distributed" not in printed
    assert "arning:" not in printed


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_killed_run_goes_on_with_another_number_of_devices(
    runs: Runs, overrides: list[str], on_one: Path, tmp_path: Path, before: int, after: int
) -> None:
    count = {1: ONE, 2: TWO}
    pid = runs.start(tmp_path, *overrides, *count[before])
    until(learns_round_1(tmp_path), tmp_path)
    others = followers_of(pid)
    assert len(others) == before - 1
    os.kill(pid, signal.SIGKILL)
    assert runs.wait(pid) == -signal.SIGKILL
    assert are_gone(others)
    ended(runs, tmp_path, runs.start(tmp_path, *overrides, *count[after], "resume=true"))
    ends_alike(tmp_path, on_one, after)


@pytest.mark.parametrize("ending", ["Ctrl-C", "the other dies"])
def test_all_processes_end_together(
    runs: Runs, overrides: list[str], tmp_path: Path, ending: str
) -> None:
    pid = runs.start(tmp_path, *overrides, *TWO)
    until(learns_round_1(tmp_path), tmp_path)
    others = followers_of(pid)
    assert len(others) == 1
    if ending == "Ctrl-C":
        for one in (pid, others[0].pid):  # a terminal sends it to both
            os.kill(one, signal.SIGINT)
        assert runs.wait(pid) == 130
        assert status(tmp_path)["state"] == "interrupted"
    else:
        others[0].kill()
        assert runs.wait(pid) == RunError.exit_code
        printed = " ".join((tmp_path / "printed.txt").read_text().split())
        assert "The process of the student's device 1 ended (SIGKILL)" in printed
    assert are_gone(others)
