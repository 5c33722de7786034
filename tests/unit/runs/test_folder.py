"""The run's small files are written whole or not at all, and stay correct after any failure."""

from __future__ import annotations

import errno
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tutelage.errors import RunError
from tutelage.runs.folder import (
    REPORT,
    RunFolder,
    Status,
    finish,
    holds_run,
    identity_of,
    new_folder,
    runs_with,
)


def full_disk(*args: Any, **kwargs: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_json_and_lines_go_there_and_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "a" / "run")
    folder.write_json("deep/one.json", {"text": "naïve “quotes”", "n": 1})
    folder.write_lines("two.jsonl", [{"n": 1}, {"n": 2}])
    folder.append_line("two.jsonl", {"n": 3})
    folder.append_line("deep/three.jsonl", {"text": "a\nb\u2028c"})
    assert folder.read_json("deep/one.json") == {"text": "naïve “quotes”", "n": 1}
    assert [line["n"] for line in folder.read_lines("two.jsonl")] == [1, 2, 3]
    assert folder.read_lines("deep/three.jsonl") == [{"text": "a\nb\u2028c"}]
    assert "“quotes”" in (folder / "deep/one.json").read_text(encoding="utf-8")


def test_what_is_not_there_is_empty(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.read_json("none.json") is None
    assert folder.read_lines("none.jsonl") == []
    folder.keep_lines("none.jsonl", 3)
    assert not (folder / "none.jsonl").exists()


def test_a_number_that_json_has_not_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_json("one.json", {"n": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        folder.write_json("one.json", {"n": float("nan")})
    assert folder.read_json("one.json") == {"n": 1}


@pytest.mark.parametrize("step", ["write_text", "replace"])
def test_a_full_disk_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    folder = RunFolder(tmp_path)
    folder.write_json("one.json", {"n": 1})
    monkeypatch.setattr(Path, step, full_disk)
    with pytest.raises(
        RunError,
        match=r"one\.json could not be written: No space left "
        r"on device. Free some disk space .*resume=true",
    ):
        folder.write_json("one.json", {"n": 2})
    monkeypatch.undo()
    assert folder.read_json("one.json") == {"n": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["one.json"]


def test_a_full_disk_while_appending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path)
    monkeypatch.setattr(Path, "open", full_disk)
    with pytest.raises(RunError, match=r"metrics\.jsonl could not be written: No space left"):
        folder.append_line("metrics.jsonl", {"n": 1})


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(RunError, match=r"cannot be created: .*hydra\.run\.dir="):
        RunFolder(tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("content", "count", "kept"),
    [
        ('{"n": 1}\n{"n": 2}\n{"n": 3}\n', 2, [1, 2]),
        ('{"n": 1}\n{"n": 2}\n{"n"', 2, [1, 2]),
        ('{"n": 1}\n{"n"', 1, [1]),
        ('{"n": 1}\n', 0, []),
        ("", 2, []),
    ],
)
def test_keep_lines_cuts_back(tmp_path: Path, content: str, count: int, kept: list[int]) -> None:
    folder = RunFolder(tmp_path)
    (folder / "metrics.jsonl").write_text(content, encoding="utf-8")
    folder.keep_lines("metrics.jsonl", count)
    assert [line["n"] for line in folder.read_lines("metrics.jsonl")] == kept
    folder.append_line("metrics.jsonl", {"n": 9})
    assert [line["n"] for line in folder.read_lines("metrics.jsonl")] == [*kept, 9]


def test_a_half_written_last_line_is_left_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (folder / "metrics.jsonl").write_bytes(b'{"n": 1}\n{"n": 2, "t": "\xe2\x80')
    assert folder.read_lines("metrics.jsonl") == [{"n": 1}]


def test_altered_json_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match=r"result\.json is not valid JSON .*Start the run again"):
        RunFolder(tmp_path).read_json("result.json")


def status(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "status.json").read_text(encoding="utf-8"))
    return found


def test_the_status_is_true_from_start_to_end(tmp_path: Path) -> None:
    subject = Status(RunFolder(tmp_path), "tutelage train resume=here")
    began = status(tmp_path)
    assert (began["state"], began["phase"], began["resume_command"]) == (
        "running",
        "starting",
        "tutelage train resume=here",
    )
    subject.phase("training", 3)
    assert (status(tmp_path)["phase"], status(tmp_path)["round"]) == ("training", 3)
    subject.end("interrupted", "stopped by the user")
    ended = status(tmp_path)
    assert (ended["state"], ended["error"], ended["resume_command"]) == (
        "interrupted",
        "stopped by the user",
        "tutelage train resume=here",
    )
    again = Status(RunFolder(tmp_path), "tutelage train resume=here", {"config_hash": "0123"})
    again.phase("training", 2)
    assert (status(tmp_path)["state"], status(tmp_path)["error"], status(tmp_path)["started"]) == (
        "running",
        "",
        began["started"],
    )
    finish(RunFolder(tmp_path), REPORT)
    finish(RunFolder(tmp_path))
    ended = status(tmp_path)
    assert (ended["state"], ended["phase"], ended["round"]) == ("done", "done", 2)
    assert (ended["resume_command"], ended["config_hash"]) == ("", "0123")


def test_one_process_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with (
        folder.lock(),
        pytest.raises(RunError, match="Another process is using"),
        RunFolder(folder.path).lock(wait=0.3),
    ):
        pass
    with RunFolder(folder.path).lock(wait=0.0):
        pass


def test_a_text_that_has_no_utf_8_form_is_written_and_comes_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    text = "a path that is not UTF-8: \udcff, a backslash \\ before \ud83d"
    folder.write_json("one.json", {"text": text})
    folder.append_line("two.jsonl", {"text": text})
    assert folder.read_json("one.json") == {"text": text}
    assert folder.read_lines("two.jsonl") == [{"text": text}]


def test_a_new_folder_is_nobody_else_s(tmp_path: Path) -> None:
    wanted = tmp_path / "outputs" / "12-00-00"
    with ThreadPoolExecutor(8) as pool:
        folders = [*pool.map(lambda _: new_folder(wanted), range(40))]
    names = {"12-00-00", *(f"12-00-00-{number}" for number in range(2, 41))}
    assert {one.name for one in folders} == names


def test_what_a_killed_process_left_half_written_is_removed_and_nothing_else(
    tmp_path: Path,
) -> None:
    left = [
        ".status.json.4711.part",
        "growth/.round-001.json.4711.part",
        "checkpoints/epoch-00003.part",
        "checkpoints/best-0001-round.part",
        "supervised/.metrics.jsonl.1.part",
        "supervised/checkpoints/epoch-00001.part",
        "figures/.tmp1a2b/learning.png",
        ".report-a1b2.html",
    ]
    stays = [
        ".lock",
        "status.json",
        "my.part",
        ".hidden",
        "checkpoints/epoch-00002.ckpt",
        "wandb/.mirror.json.4711.part",
        "student/.model.4711.part",
        "figures/learning.png",
    ]
    for name in (*left, *stays):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with RunFolder(tmp_path).lock():
        RunFolder(tmp_path).remove_scratch()
    assert {str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.is_file()} == {
        *stays
    }


def test_a_run_is_known_by_its_status_and_an_older_one_by_its_manifest(tmp_path: Path) -> None:
    Status(RunFolder(tmp_path / "begun"), "go on", {"config_hash": "1"})
    RunFolder(tmp_path / "older").write_json("manifest.json", {"config_hash": "1"})
    RunFolder(tmp_path / "older and early").write_json("status.json", {"state": "running"})
    RunFolder(tmp_path / "another").write_json("manifest.json", {"config_hash": "2"})
    (tmp_path / "file").touch()
    found = {folder.path.name for _, folder in runs_with("1", tmp_path.iterdir())}
    assert found == {"begun", "older"}
    assert identity_of(tmp_path / "nowhere") is None
    assert not holds_run(tmp_path / "begun")
    assert holds_run(tmp_path / "older")


def test_a_folder_that_cannot_be_written_to_says_so(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    (folder / ".lock").mkdir()
    with (
        pytest.raises(RunError, match=r"\.lock could not be written: Is a directory"),
        folder.lock(),
    ):
        pass
