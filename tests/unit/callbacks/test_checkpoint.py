"""StageCheckpoint: one whole checkpoint, at the end of a stage."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tutelage.callbacks.checkpoint import StageCheckpoint, newest_checkpoint
from tutelage.errors import RunError
from tutelage.timeline import Position


class Trainer:
    """Writes the epoch's number instead of weights."""

    def __init__(self, epoch: int, should_stop: bool = False, full: bool = False) -> None:
        self.current_epoch = epoch
        self.should_stop = should_stop
        self._full = full

    def save_checkpoint(self, path: Path) -> None:
        path.write_text(str(self.current_epoch))
        if self._full:
            raise OSError(28, "No space left on device")


def callback(folder: Path, index: int) -> StageCheckpoint:
    growth: Any = SimpleNamespace(position=Position("round", 1, index, 3))
    return StageCheckpoint(folder, growth)


def end_epoch(saver: StageCheckpoint, trainer: Any) -> None:
    saver.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]


def test_only_the_newest_is_kept_and_it_is_named_by_its_epoch(tmp_path: Path) -> None:
    end_epoch(callback(tmp_path, 0), Trainer(9))
    end_epoch(callback(tmp_path, 0), Trainer(12))
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-00012.ckpt"]
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    assert newest.read_text() == "12"


def test_inside_a_stage_and_at_the_very_end_nothing_is_saved(tmp_path: Path) -> None:
    end_epoch(callback(tmp_path, 1), Trainer(9))
    end_epoch(callback(tmp_path, 0), Trainer(10, should_stop=True))
    assert newest_checkpoint(tmp_path) is None


def test_a_full_disk_leaves_the_older_checkpoint_whole(tmp_path: Path) -> None:
    end_epoch(callback(tmp_path, 0), Trainer(3))
    with pytest.raises(RunError, match=r"No space left.*resume=true"):
        end_epoch(callback(tmp_path, 0), Trainer(6, full=True))
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-00003.ckpt"]
