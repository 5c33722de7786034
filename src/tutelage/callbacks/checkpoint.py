"""Checkpoints of a run: one at the end of each stage, and the weights of the best student."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from tutelage.data.growing import GrowingDataModule
from tutelage.errors import RunError
from tutelage.timeline import Position


def write_whole(target: Path, write: Callable[[Path], Any]) -> None:
    """Writes a large file so that a kill or a full disk never leaves it half written.

    Args:
        target: The final path; its folder is created.
        write: Writes the file to the path it is given.

    Raises:
        RunError: The disk did not take the file.
    """
    # Write next to the target and rename: the target is never incomplete.
    scratch = target.with_suffix(".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(scratch)
        scratch.replace(target)
    except (OSError, RuntimeError) as error:
        scratch.unlink(missing_ok=True)
        raise RunError(
            f"{target} could not be written: {error}. Free some disk space, then continue with "
            "resume=true."
        ) from error


_MANY = 256
"""Numbers of a list from which it is stored as a tensor."""


def packed(state: Any) -> Any:
    """Returns a state with large lists of numbers as tensors, which a checkpoint writes at once.

    A calibration keeps hundreds of thousands of scores for a large pool, and pickle handles each
    number in a list separately.

    Args:
        state: Plain values. A list of lists of equal length, or of numbers, may become a tensor.
    """
    if isinstance(state, dict):
        return {key: packed(value) for key, value in state.items()}
    if not isinstance(state, list):
        return state
    if _is_table(state):
        return torch.tensor(state, dtype=torch.float64)
    return [packed(value) for value in state]


def unpacked(state: Any) -> Any:
    """Returns the plain values that :func:`packed` was given."""
    if isinstance(state, dict):
        return {key: unpacked(value) for key, value in state.items()}
    if isinstance(state, torch.Tensor):
        return state.tolist()
    return [unpacked(value) for value in state] if isinstance(state, list) else state


def _is_table(values: list[Any]) -> bool:
    """Returns whether these are many floats, in a list or in lists of one length."""
    if not values:
        return False
    if not isinstance(values[0], list):
        return len(values) >= _MANY and all(type(value) is float for value in values)
    width = len(values[0])
    return len(values) * width >= _MANY and all(
        isinstance(row, list) and len(row) == width and all(type(one) is float for one in row)
        for row in values
    )


class Positioned(Protocol):
    """Knows where the run stands; the growth callback does."""

    @property
    def position(self) -> Position:
        """The position of the next epoch."""
        ...


def stage_is_saved(position: Position, trainer: Trainer) -> bool:
    """Returns whether a checkpoint is due: growth has just begun a new stage.

    Args:
        position: The position of the next epoch.
        trainer: The trainer of the fit.
    """
    return not (position.index or trainer.should_stop)


class StageCheckpoint(Callback):
    """Saves a checkpoint at the end of each stage, after growth, and keeps only the newest.

    A checkpoint per epoch would save seconds after a kill and cost 270 MB of disk each for a
    student of 22 M parameters. Inside a stage everything follows from its start, so a resumed run
    repeats at most one stage.

    Must come after the growth callback in the Trainer's callbacks.

    Args:
        folder: The folder of the checkpoints.
        growth: The growth callback.

    Raises:
        RunError: The disk did not take the checkpoint; the previous one stays whole.
    """

    def __init__(self, folder: Path, growth: Positioned) -> None:
        self._folder = folder
        self._growth = growth

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves a checkpoint if growth has just begun a new stage."""
        if not stage_is_saved(self._growth.position, trainer):
            return
        target = self._folder / f"epoch-{trainer.current_epoch:05d}.ckpt"
        write_whole(target, trainer.save_checkpoint)
        # Only now: the newest checkpoint is complete.
        for older in self._folder.glob("epoch-*.ckpt"):
            if older != target:
                older.unlink()


def newest_checkpoint(folder: Path) -> Path | None:
    """Returns the newest complete checkpoint of a run; None if there is none.

    Args:
        folder: The folder of the checkpoints.
    """
    found = sorted(folder.glob("epoch-*.ckpt"))
    return found[-1] if found else None


def pool_at(checkpoint: Path) -> tuple[int, str]:
    """Returns length and hash of the pool at the time of a checkpoint.

    A method remembers every text of the pool, so later rows must be removed before its setup;
    Lightning restores the data module too late for that. Only the pages needed are loaded.

    Args:
        checkpoint: Path of the checkpoint.
    """
    # Memory-mapped: the weights are not read.
    state = torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)[
        GrowingDataModule.__qualname__
    ]
    return int(state["length"]), str(state["digest"])


class BestStudent:
    """Keeps the weights of the best stage on dev, for ``training.keep=best``.

    New rows can make a student worse, for instance if its teacher is no better than the student.
    The best one is then the student of the first rows, often the shots alone.

    The weights lie on disk until the end of the run. The checkpoint records which of them count, so
    a resumed run keeps the same ones as an undisturbed run.

    Args:
        folder: Folder of the weights, deleted at the end of the run.

    Attributes:
        stage: Name, stage, round and dev score of the best stage; None before the first one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._score = float("-inf")
        self._file = ""
        self.stage: dict[str, Any] | None = None

    def offer(self, score: float, position: Position, network: torch.nn.Module) -> None:
        """Keeps the weights of a stage unless an earlier stage scored higher.

        Args:
            score: Score on dev; NaN is never kept.
            position: Position at the end of the stage.
            network: The student's network.

        Raises:
            RunError: The disk did not take the weights.
        """
        # Negated, so that NaN is refused; of equal scores the later stage wins.
        if not score >= self._score:
            return
        before, self._file = self._file, f"best-{position.round:04d}-{position.stage}.pt"
        write_whole(self._folder / self._file, lambda path: torch.save(network.state_dict(), path))
        # The name of the stage in reports.
        name = {"start": "before growth", "final": "after the last passes"}.get(
            position.stage, f"after round {position.round}"
        )
        self._score, self.stage = (
            score,
            {"name": name, "stage": position.stage, "round": position.round, "dev": score},
        )
        # The previous file stays: the newest checkpoint may still name it.
        for older in self._folder.glob("best-*.pt"):
            if older.name not in (before, self._file):
                older.unlink()

    def restore(self, network: torch.nn.Module) -> None:
        """Loads the best weights into ``network``."""
        device = next(network.parameters()).device
        network.load_state_dict(
            torch.load(self._folder / self._file, map_location=device, weights_only=True)
        )

    def state_dict(self) -> dict[str, Any]:
        """Returns the score, file and stage of the best weights; the weights stay on disk."""
        return {"score": self._score, "file": self._file, "stage": self.stage}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state returned by :meth:`state_dict`."""
        self._score, self._file, self.stage = (
            float(state["score"]),
            str(state["file"]),
            state["stage"],
        )
