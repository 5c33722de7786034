"""Small callbacks: reproducible randomness per batch, and a clean stop after Ctrl-C."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from tutelage.interruption import Interruption
from tutelage.records import derive_seed


class Reseed(Callback):
    """Seeds torch before each batch from the run's seed, the epoch and the batch index.

    A resumed run then draws the same dropout masks as an undisturbed one. Seeding per epoch is not
    enough: Lightning creates the training iterator after ``on_train_epoch_start``, twice in most
    epochs and once in the first one after a resume, and each time it draws from torch's generator.

    Args:
        seed: The seed of the run.
        rank: Number of this process among those that train together; each draws its own masks.
    """

    def __init__(self, seed: int, rank: int = 0) -> None:
        self._seed = seed
        self._rank = (rank,) if rank else ()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seeds torch for the batch."""
        torch.manual_seed(
            derive_seed("batch", self._seed, trainer.current_epoch, batch_idx, *self._rank, bits=63)
        )


class StopWhenAsked(Callback):
    """Stops the fit between two batches after Ctrl-C.

    Args:
        interruption: Records the signal.
    """

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stops if a signal has arrived.

        Raises:
            Interrupted: A signal has arrived.
        """
        self._interruption.check()
