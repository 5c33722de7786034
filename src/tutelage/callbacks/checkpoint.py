"""FOLD: callbacks.checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

if TYPE_CHECKING:
    from tutelage.callbacks.growth import GrowthCallback
from tutelage.data.growing import GrowingDataModule
from tutelage.errors import RunError
from tutelage.timeline import Position


# FOLD: Large files that a kill or a full disk must not leave half written.
def write_whole(target: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` make ``target``, which is there whole or not at all.

    Raises:
        RunError: the disk did not take it.
    """
    scratch = target.with_suffix(".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(scratch)
        scratch.replace(target)
    except (OSError, RuntimeError) as error:
        scratch.unlink(missing_ok=True)
        raise RunError(
            f"{target} could not be written: {error}. Free some space and go on with resume=true."
        ) from error


# FOLD: Saves a checkpoint where a stage ends, after growth, and keeps the newest only.
# FOLD:
# FOLD: Every epoch would be safer by seconds and cost 270 MB of disk each for a 22 M student; inside a stage everything follows from the stage's
# FOLD: start, so a resumed run repeats at most one stage.
class StageCheckpoint(Callback):
    """Must come after ``growth`` in the Trainer's callbacks.

    Raises:
        RunError: the disk did not take the checkpoint; the one before is still whole.
    """

    def __init__(self, folder: Path, growth: GrowthCallback) -> None:
        self._folder = folder
        self._growth = growth

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save when growth has just begun a new stage."""
        if self._growth.position.index or trainer.should_stop:
            return
        target = self._folder / f"epoch-{trainer.current_epoch:05d}.ckpt"
        write_whole(target, trainer.save_checkpoint)
        for older in self._folder.glob("epoch-*.ckpt"):
            if older != target:
                older.unlink()


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run, or None."""
    found = sorted(folder.glob("epoch-*.ckpt"))
    return found[-1] if found else None


def pool_at(checkpoint: Path) -> tuple[int, str]:
    """Length and hash of the pool when ``checkpoint`` was saved.

    A method remembers every text of the pool, so the rows that came after the checkpoint must be gone before it does: Lightning restores
    the data module too late for that. Only the pages that are read are loaded.
    """
    import torch

    state = torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)[
        GrowingDataModule.__qualname__
    ]
    return int(state["length"]), str(state["digest"])


# FOLD: The student of the stage that did best on dev, kept on disk until the run ends (``training.keep=best``).
# FOLD:
# FOLD: For a run whose rows make the student worse, as a teacher's do who is no better than it: then the student of the first rows, which mostly are
# FOLD: the shots, is the one to have.
class BestStudent:
    """Weights on disk; which of them count is part of the checkpoint, so that a resumed run keeps what a whole one would.

    Args:
        folder: where the weights lie; it goes when the run ends.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._score = float("-inf")
        self._file = ""
        self.stage: dict[str, Any] | None = None

    def offer(self, score: float, position: Position, network: torch.nn.Module) -> None:
        """A stage ended with this score on dev; of equal ones the later is kept.

        Raises:
            RunError: the disk did not take the weights.
        """
        if not score >= self._score:
            return
        before, self._file = self._file, f"best-{position.round:04d}-{position.stage}.pt"
        write_whole(self._folder / self._file, lambda path: torch.save(network.state_dict(), path))
        name = {"start": "before growth", "final": "after the last passes"}.get(
            position.stage, f"after round {position.round}"
        )
        self._score, self.stage = (
            score,
            {"name": name, "stage": position.stage, "round": position.round, "dev": score},
        )
        # The one before stays: a checkpoint that is resumed from may still name it.
        for older in self._folder.glob("best-*.pt"):
            if older.name not in (before, self._file):
                older.unlink()

    def restore(self, network: torch.nn.Module) -> None:
        """Give ``network`` the best weights."""
        device = next(network.parameters()).device
        network.load_state_dict(
            torch.load(self._folder / self._file, map_location=device, weights_only=True)
        )

    def state_dict(self) -> dict[str, Any]:
        """Plain values; the weights stay where they are."""
        return {"score": self._score, "file": self._file, "stage": self.stage}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._score, self._file, self.stage = (
            float(state["score"]),
            str(state["file"]),
            state["stage"],
        )
