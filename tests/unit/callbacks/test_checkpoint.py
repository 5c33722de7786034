"""StageCheckpoint: one whole checkpoint, at the end of a stage."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.callbacks.checkpoint import StageCheckpoint, newest_checkpoint, packed, unpacked
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


_numbers = st.floats(allow_nan=False)
_states = st.recursive(
    st.none() | st.text(max_size=3) | st.integers() | _numbers | st.lists(_numbers, max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


@given(_states)
def test_a_state_comes_back_as_it_was(state: Any) -> None:
    # Large enough to be stored as a tensor wherever it is a table.
    many = [state, [0.1, float("inf")] * 200, [[0.1, -0.0]] * 200, [[1, 2]] * 200, [[]] * 300]
    found = unpacked(packed(many))
    assert found == many
    assert repr(found) == repr(many), "a float stays one, and so does a whole number"


def test_the_scores_of_a_large_pool_are_one_object_in_a_checkpoint(tmp_path: Path) -> None:
    scores = [[float(row), 0.5, -1e-300] for row in range(1_000)]
    state = {"calibrator": {"seen": [scores, [[0.25, 0.5]]], "shares": None}}
    small = packed(state)["calibrator"]["seen"]
    assert isinstance(small[0], torch.Tensor)
    assert small[1] == [[0.25, 0.5]]
    torch.save(packed(state), tmp_path / "state.pt")
    assert unpacked(torch.load(tmp_path / "state.pt", weights_only=True)) == state
