from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tutelage.teacher.engines.scratch import ScratchFolder


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def grow_old(folder: ScratchFolder) -> None:
    for file in folder.path.iterdir():
        os.utime(file, (0, 0))


def end_process_of(folder: ScratchFolder) -> None:
    """The system closes a process's files, however it ends."""
    folder._held.close()


def test_only_the_user_can_enter_it_and_it_goes_with_its_content():
    folder = ScratchFolder("engine")
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    (folder.path / "below").mkdir()
    (folder.path / "below" / "file").write_text("x")
    folder.remove()
    folder.remove()
    assert not folder.path.exists()


def test_the_next_one_removes_what_killed_processes_left_and_nothing_else(place):
    dead, alive, young, other = (ScratchFolder(name) for name in ("a", "a", "a", "b"))
    for folder in (dead, alive, other):
        grow_old(folder)
    for folder in (dead, young, other):
        end_process_of(folder)
    (place / "tutelage-a-of-somebody").mkdir()
    new = ScratchFolder("a")
    assert not dead.path.exists()
    assert not other.path.exists()
    for folder in (alive, young, new):
        assert folder.path.is_dir()
    assert (place / "tutelage-a-of-somebody").is_dir()
    alive.remove()
    new.remove()


def test_a_link_with_the_name_of_a_scratch_folder_leads_nowhere(place):
    left = ScratchFolder("a")
    (left.path / "file").write_text("x")
    grow_old(left)
    end_process_of(left)
    moved = left.path.rename(place / "mine")
    (place / "tutelage-a-link").symlink_to(moved)
    ScratchFolder("a").remove()
    assert (moved / "file").is_file()
