"""Saves a checkpoint where a stage ends, after growth, and keeps the newest only.

Every epoch would be safer by seconds and cost 270 MB of disk each for a 22 M student; inside a stage everything follows from the stage's
start, so a resumed run repeats at most one stage.
"""

from __future__ import annotations

from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer

from tutelage.callbacks.growth import GrowthCallback
from tutelage.callbacks.whole_file import write_whole
from tutelage.data.growing import GrowingDataModule


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

    state = torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)[GrowingDataModule.__qualname__]
    return int(state["length"]), str(state["digest"])
