"""The run's small files are written whole or not at all, and stay correct after any failure."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from tutelage.errors import RunError
from tutelage.runs.folder import RunFolder, Status


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
    again = Status(RunFolder(tmp_path), "tutelage train resume=here")
    assert (status(tmp_path)["state"], status(tmp_path)["error"], status(tmp_path)["started"]) == (
        "running",
        "",
        began["started"],
    )
    again.end("done")
    assert (status(tmp_path)["state"], status(tmp_path)["resume_command"]) == ("done", "")


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
