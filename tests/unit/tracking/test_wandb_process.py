"""The mirror's process: its output for every outcome of a run, and its own failures."""

from __future__ import annotations

import json
import logging
import os
import signal
import stat
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.offline_wandb import OfflineRun, offline_runs
from tests.helpers.run_folders import build_run
from tests.helpers.tiny import lines

from tutelage.tracking.review import COLUMNS
from tutelage.tracking.wandb_process import WandbMirror


def mirror(folder: Path, **settings: Any) -> WandbMirror:
    given = {
        "online": False,
        "project": "tutelage",
        "entity": None,
        "table_rows": 7,
        "pool_mb": 1.0,
        "wait": 20.0,
        "resume": False,
    }
    return WandbMirror(**{**given, **settings}, folder=folder)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def folders(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Mirrored runs with three outcomes.

    "running" is a run whose process was killed, "failed" one with unreadable data.
    """
    base = tmp_path_factory.mktemp("mirrored")
    given = {"done": {}, "running": {"table_rows": 2, "pool_mb": 0.0}, "failed": {}}
    with pytest.MonkeyPatch.context() as patch, ExitStack() as together:
        patch.setenv("HOME", str(home))
        for state, settings in given.items():
            folder = build_run(base / state, state=state, rounds=2)
            (folder / "config.yaml").write_text(
                "name: synthetic_test\nmethod: {name: evokd}\nsweep: {metric: null}\n"
            )
            if state == "failed":
                # The remaining lines belong to an earlier run in the same folder.
                (folder / "manifest.json").unlink()
                (folder / "status.json").write_text('{"state": "failed", "phase": "starting"}')
            together.enter_context(mirror(folder, **settings))
    return {state: base / state for state in given}


@pytest.fixture(scope="module")
def mirrored(folders: dict[str, Path]) -> dict[str, OfflineRun]:
    return {state: offline_runs(folder)[0] for state, folder in folders.items()}


def test_the_exit_code_is_how_the_run_ended(mirrored: dict[str, OfflineRun]) -> None:
    assert {state: run.exit_code for state, run in mirrored.items()} == {
        "done": 0,
        "running": 1,
        "failed": 1,
    }
    assert {state: run.summary["state"] for state, run in mirrored.items()} == {
        "done": "done",
        "running": "killed",
        "failed": "failed",
    }


def test_a_run_that_never_began_is_there_without_lines_of_an_earlier_one(
    mirrored: dict[str, OfflineRun],
) -> None:
    failed = mirrored["failed"]
    assert (failed.group, failed.job_type, failed.history, failed.artifacts) == (
        "synthetic_test",
        "evokd",
        [],
        [],
    )


def test_a_step_a_stage_and_a_table_and_a_version_a_round(mirrored: dict[str, OfflineRun]) -> None:
    run = mirrored["done"]
    assert (
        [line["_step"] for line in run.history]
        == [line["round"] for line in run.history]
        == [0, 1, 2]
    )
    assert all(0 < line["mistakes/nrows"] <= 7 for line in run.history[1:])
    assert {run.metrics[f"{name}/*"] for name in ("dev", "test", "dev_f1", "test_f1")} == {
        "billed_tokens"
    }
    assert {run.metrics[f"{name}/*"] for name in ("rows", "seconds", "train", "fresh")} == {"round"}
    pools = [one for one in run.artifacts if one.type == "dataset"]
    assert {one.name for one in pools} == {f"pool-{run.id}"}
    assert len({one.digest for one in pools}) == 3
    assert [[alias for alias in one.aliases if alias != "latest"] for one in pools] == [
        [f"round-{number}"] for number in range(3)
    ]
    entries = [entry for one in pools for entry in one.manifest.contents]
    assert all(
        entry.ref.startswith("file:///")
        and entry.ref.endswith("/pool/rows.jsonl")
        and not entry.local_path
        for entry in entries
    )


def test_nothing_is_captured_but_what_was_given(mirrored: dict[str, OfflineRun]) -> None:
    assert mirrored["done"].kinds <= {
        "run",
        "header",
        "telemetry",
        "history",
        "summary",
        "metric",
        "artifact",
        "files",
        "config",
        "exit",
    }


def test_a_mirror_has_limits_and_leaves_the_home_alone(
    home: Path, folders: dict[str, Path], mirrored: dict[str, OfflineRun]
) -> None:
    assert list(home.rglob("*")) == []
    folder, run = folders["running"], mirrored["running"]
    tables = [
        json.loads(path.read_text())
        for path in folder.glob("wandb/offline-run-*/files/media/table/*.json")
    ]
    assert {len(table["data"]) for table in tables} == {2}
    assert {tuple(table["columns"]) for table in tables} == {COLUMNS}
    assert json.loads(run.artifacts[0].metadata)["sha256"] is None, (
        "above the limit a pool is named, and not hashed"
    )
    assert (folder / "wandb" / "mirror.log").read_text() == ""


def stub(tmp_path: Path, script: str) -> str:
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def gone(_: Path) -> str:
    return "/nowhere/python"


@pytest.mark.parametrize(
    ("child", "said"),
    [
        (
            lambda index: stub(index, "echo first; echo 'CommError: no route'; exit 1"),
            "CommError: no route",
        ),
        (lambda index: stub(index, "sleep 60"), "not finished after 0 seconds"),
        (lambda index: stub(index, "kill -9 $$"), "exit code -9"),
        (gone, "could not be started"),
    ],
    ids=["fails", "hangs", "dies", "is not there"],
)
def test_whatever_happens_to_the_mirror_is_one_line_of_warning(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
    child: Callable[[Path], str],
    said: str,
) -> None:
    monkeypatch.setattr("sys.executable", child(tmp_path))
    with caplog.at_level(logging.WARNING), mirror(tmp_path / "run", wait=0.1):
        pass
    (record,) = caplog.records
    assert said in record.getMessage()
    assert "\n" not in record.getMessage()


def test_the_run_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.executable",
        stub(tmp_path, f"cat > {tmp_path}/input; ps -o sid=,pgid=,ni= -p $$ > {tmp_path}/process"),
    )
    with mirror(tmp_path / "run"):
        pass
    session, group, niceness = map(int, (tmp_path / "process").read_text().split())
    assert session == os.getsid(0), "between sessions, Linux ignores niceness"
    assert group != os.getpgrp(), "a Ctrl-C is the run's"
    assert niceness == 19


def test_a_ctrl_c_while_the_mirror_ends_ends_the_mirror_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr("sys.executable", stub(tmp_path, "sleep 60"))
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background ignores it
    try:
        with caplog.at_level(logging.WARNING), mirror(tmp_path / "run", wait=20.0):
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    finally:
        signal.signal(signal.SIGINT, before)
    assert "it was stopped" in caplog.text


def test_online_without_an_account_is_kept_offline_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    folder = build_run(tmp_path / "run", rounds=1)
    (folder / "config.yaml").write_text("name: n\nmethod: {name: evokd}\nsweep: {metric: null}\n")
    with caplog.at_level(logging.WARNING), mirror(folder, online=True):
        pass
    (record,) = caplog.records
    (run,) = offline_runs(folder)
    assert "key" in record.getMessage()
    assert (run.exit_code, len(run.history)) == (0, len(lines(folder / "metrics.jsonl")))
