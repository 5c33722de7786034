"""What a run does with a folder in which a run has begun or ended already."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

from tutelage.config.compose import compose_config
from tutelage.config.schema import RunConfig
from tutelage.errors import RunError
from tutelage.progress import NoProgress
from tutelage.run import run
from tutelage.runs.folder import REPORT, RunFolder, Status, finish

RESULT = {"after": {"accuracy": 0.5}}


@cache
def config(*overrides: str) -> RunConfig:
    return compose_config(overrides)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A folder whose run has its result and was killed before it could say so."""

    def nothing_is_done_again(*_: object) -> None:
        raise AssertionError("the data are read again")

    monkeypatch.setattr("tutelage.run.build_dataset", nothing_is_done_again)
    found = RunFolder(tmp_path / "run")
    Status(found, "go on", {"config_hash": "1"}).phase("training", 3)
    found.write_json("result.json", RESULT)
    for name in ("checkpoints/epoch-00001.ckpt", "supervised/checkpoints/epoch-00001.ckpt"):
        (found / name).parent.mkdir(parents=True)
        (found / name).touch()
    (found / ".manifest.json.4711.part").touch()
    return found


def go_on(folder: RunFolder, *overrides: str, **more: bool) -> dict[str, Any]:
    return run(config(*overrides), folder.path, NoProgress(), "go on", resume=True, **more)


def names(folder: RunFolder) -> set[str]:
    return {str(one.relative_to(folder.path)) for one in folder.path.rglob("*") if one.is_file()}


def test_a_run_killed_after_its_result_is_closed_and_not_done_again(folder: RunFolder) -> None:
    assert go_on(folder) == RESULT
    status = folder.read_json("status.json")
    assert (status["state"], status["phase"], status["round"]) == ("done", "done", 3)
    assert (status["resume_command"], status["config_hash"]) == ("", "1")
    assert names(folder) == {".lock", "status.json", "result.json"}


def test_the_checkpoint_that_was_to_be_kept_is_kept(folder: RunFolder) -> None:
    go_on(folder, "keep_checkpoint=true")
    assert "checkpoints/epoch-00001.ckpt" in names(folder)
    assert folder.read_json("status.json")["state"] == "done"


def test_a_report_to_be_drawn_is_in_the_status_until_it_is(folder: RunFolder) -> None:
    assert go_on(folder, draws_report=True) == RESULT
    assert folder.read_json("status.json")["phase"] == REPORT
    # A caller that draws none leaves it to the next one.
    assert go_on(folder) == RESULT
    assert folder.read_json("status.json")["phase"] == REPORT


def test_a_run_is_done_though_its_card_cannot_be_drawn(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undefined(_: Path) -> None:
        raise UndefinedError("'tokens' is undefined")

    class Heard(NoProgress):
        """Keeps the warnings."""

        said: tuple[str, ...] = ()

        def warn(self, message: str) -> None:
            self.said = (*self.said, message)

    heard = Heard()
    monkeypatch.setattr("tutelage.run.write_student_card", undefined)
    assert run(config(), folder.path, heard, "go on", resume=True) == RESULT
    assert folder.read_json("status.json")["state"] == "done"
    assert heard.said == ("The student has no card ('tokens' is undefined).",)


def test_a_closed_run_s_folder_is_not_written_to(folder: RunFolder) -> None:
    finish(folder)
    before = {name: (folder / name).stat().st_mtime_ns for name in names(folder)}
    assert go_on(folder) == RESULT
    assert {name: (folder / name).stat().st_mtime_ns for name in names(folder)} == before


def while_locked(folder: RunFolder, change: Callable[[], None], *, resume: bool) -> Any:
    """The outcome of a run that waits for the lock while another process makes a change."""
    outcome: list[Any] = []

    def wait() -> None:
        try:
            outcome.append(run(config(), folder.path, NoProgress(), "go on", resume=resume))
        except RunError as error:
            outcome.append(error)

    waiting = threading.Thread(target=wait)
    with folder.lock():
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        change()
    waiting.join(30)
    return outcome[0]


def test_a_run_that_another_process_ended_meanwhile_is_not_done_again(folder: RunFolder) -> None:
    (folder / "result.json").unlink()

    def ends() -> None:
        folder.write_json("result.json", RESULT)
        finish(folder)

    assert while_locked(folder, ends, resume=True) == RESULT


def test_a_folder_that_another_process_took_meanwhile_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    refused = while_locked(folder, lambda: folder.write_json("result.json", RESULT), resume=False)
    assert "holds a run already" in str(refused)
    assert json.loads((folder / "result.json").read_text(encoding="utf-8")) == RESULT
