"""One job of a sweep, with a process that leaves a run's files and trains nothing."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.unit.sweep.fake_train import FAKE

from tutelage.config.compose import compose_config
from tutelage.config.schema import RunConfig
from tutelage.runs.manifest import config_hash
from tutelage.sweep.job import do_job
from tutelage.sweep.record import JobRecord, SweepFolder


@pytest.fixture(autouse=True)
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr("tutelage.sweep.job.sys.executable", str(script))


@cache
def configured() -> RunConfig:
    return compose_config(["sweep.reuse=true", "sweep.fail_fast=false", "sweep.metric=null"])


class Sweep:
    """A sweep's folder of some time, whose jobs are told how to end."""

    def __init__(self, base: Path, time: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = SweepFolder(base / "mine" / time)
        self.monkeypatch = monkeypatch

    def do(
        self, number: int, seed: int = 1, end: str = "done", presses: int = 1, **settings: Any
    ) -> JobRecord:
        config = configured().with_seed(seed)
        config = replace(config, sweep=replace(config.sweep, **settings))
        self.monkeypatch.setenv("FAKE_HASH", config_hash(config.source))
        # As Hydra does before it calls its task.
        (self.folder.path / str(number)).mkdir(parents=True, exist_ok=True)
        return do_job(
            config,
            self.folder,
            number,
            [
                f"seed={seed}",
                f"method.end={end}",
                *([f"method.presses={presses}"] if presses > 1 else []),
                "sweep=seeds",
                "sweep.reuse=true",
            ],
        )


@pytest.fixture
def first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    return Sweep(tmp_path, "1", monkeypatch)


@pytest.fixture
def second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    return Sweep(tmp_path, "2", monkeypatch)


def overrides_of(run: Path) -> list[str]:
    found: list[str] = json.loads((run / "overrides.json").read_text())
    return found


def test_a_job_is_a_run_in_a_process_of_its_own(first: Sweep) -> None:
    record = first.do(3, seed=4)
    assert (record.state, record.code, record.score, record.tokens, record.found) == (
        "done",
        0,
        0.4,
        1000,
        "",
    )
    run = first.folder.run_of(record)
    assert run == first.folder.path / "3"
    assert overrides_of(run) == ["seed=4", "method.end=done", f"hydra.run.dir='{run}'"]
    assert (run / "console.log").read_text() == "a line\n"
    assert first.folder.jobs() == (record,)
    assert record.ended >= record.began > 0


@pytest.mark.parametrize(
    ("end", "code", "error"),
    [
        ("failed", 5, "it went wrong"),
        ("broken", 2, "there is no such thing"),
        ("killed", 1, "its process was killed (signal 9, SIGKILL)"),
    ],
)
def test_a_failure_is_written_down_with_its_reason(
    first: Sweep, end: str, code: int, error: str
) -> None:
    record = first.do(0, end=end)
    assert (record.state, record.code, record.score) == ("failed", code, None)
    assert error in record.error
    assert first.do(1).state == "done"
    assert [job.state for job in first.folder.jobs()] == ["failed", "done"]


def test_what_is_done_is_found_and_what_was_killed_goes_on(first: Sweep, second: Sweep) -> None:
    done, killed = first.do(0, seed=1), first.do(1, seed=2, end="killed")
    again = second.do(0, seed=2, end="killed")
    assert (again.state, again.found) == ("done", "unfinished")
    assert second.folder.run_of(again).resolve() == first.folder.run_of(killed)
    assert overrides_of(second.folder.run_of(again))[-1].startswith("resume=")
    found = second.do(1, seed=1)
    assert (found.state, found.found, found.score, found.tokens) == (
        "done",
        "done",
        done.score,
        1000,
    )
    # The newest time's folder shows the whole sweep.
    links = [second.folder.path / str(number) for number in (0, 1)]
    assert all(link.is_symlink() and (link / "result.json").is_file() for link in links)
    assert not links[0].readlink().is_absolute()


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ({"state": "done", "phase": "done"}, "done"),
        ({"state": "done", "phase": "report"}, "unfinished"),
        ({"state": "running", "phase": "final"}, "unfinished"),
    ],
)
def test_a_run_stopped_after_its_result_goes_on_to_its_report(
    first: Sweep, second: Sweep, status: dict[str, str], found: str
) -> None:
    record = first.do(0)
    path = first.folder.run_of(record) / "status.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **status}))
    assert second.do(0).found == found


def test_another_configuration_is_another_run(first: Sweep, second: Sweep) -> None:
    first.do(0, seed=1)
    assert second.do(0, seed=2).found == ""


def test_all_is_done_again_on_request(first: Sweep, second: Sweep) -> None:
    first.do(0)
    record = second.do(0, reuse=False)
    assert (record.state, record.found) == ("done", "")
    assert not (second.folder.path / "0").is_symlink()


def test_a_job_that_finds_its_own_folder_goes_on_with_it(first: Sweep) -> None:
    assert first.do(0, end="killed").state == "failed"
    again = first.do(0, end="killed")
    assert (again.state, again.found) == ("done", "unfinished")
    assert overrides_of(first.folder.path / "0")[-1].startswith("resume=")
    assert first.do(0).found == "done"


def test_a_run_of_another_configuration_is_no_job_of_this_sweep(
    first: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tutelage.sweep.job.config_hash", lambda config: "another")
    record = first.do(0)
    assert (record.state, record.code) == ("failed", 2)
    assert "another configuration than the sweep's job" in record.error


def test_an_old_reason_is_not_told_again(first: Sweep, second: Sweep) -> None:
    old = first.folder.run_of(first.do(0, end="failed"))
    path = old / "status.json"
    path.write_text(path.read_text().replace('"updated": "20', '"updated": "19'))
    (old / "result.json").unlink(missing_ok=True)
    record = second.do(0, end="mute")
    assert record.error == "a line"


def test_fail_fast_leaves_out_what_comes_after_a_failure(first: Sweep) -> None:
    first.do(0, end="failed")
    record = first.do(1, seed=2, fail_fast=True)
    assert (record.state, record.code, record.error) == ("left out", 0, "")
    assert not list((first.folder.path / "1").iterdir())


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Hears SIGINT even if a shell started the tests in the background and ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("presses", [1, 2])
def test_each_ctrl_c_is_handed_on_and_the_sweep_ends(first: Sweep, presses: int) -> None:
    def press() -> None:
        for name in ("ready", "told")[:presses]:
            while not (first.folder.path / "0" / name).exists():
                time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        first.do(0, end="slow", presses=presses)
    (record,) = first.folder.jobs()
    assert (record.state, record.code) == ("failed", 130)


def test_the_score_is_the_metric_asked_for(first: Sweep) -> None:
    assert first.do(0, seed=4, metric="macro_f1").score == 0.2


def test_a_folder_that_holds_another_run_is_left_to_it(first: Sweep) -> None:
    earlier = first.do(0, seed=1)
    later = first.do(0, seed=2)
    assert (later.state, later.folder, later.score) == ("done", "0-2", 0.2)
    assert json.loads((first.folder.run_of(earlier) / "result.json").read_text())["after"] == {
        "accuracy": 0.1,
        "macro_f1": 0.05,
    }
    # Both are found again, whichever job they are now.
    assert [first.do(number, seed=3 - number).found for number in (1, 2)] == ["done", "done"]


def test_a_link_of_an_earlier_sweep_in_the_folder_is_not_followed(
    first: Sweep, second: Sweep
) -> None:
    found = first.do(0, seed=1)
    second.do(0, seed=1)
    fresh = second.do(0, seed=2)
    assert (fresh.folder, fresh.score) == ("0", 0.2)
    assert not (second.folder.path / "0").is_symlink()
    assert (first.folder.run_of(found) / "result.json").is_file()


def test_a_failed_job_has_no_score(first: Sweep) -> None:
    (first.folder.path / "0").mkdir(parents=True)
    (first.folder.path / "0" / "result.json").write_text("{}")
    assert first.do(1, end="failed").score is None
