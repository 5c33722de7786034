"""FOLD: callbacks.housekeeping."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from tutelage.interruption import Interruption
from tutelage.records import derive_seed


# FOLD: Seeds torch anew at each batch from (seed, epoch, batch), so that a resumed run draws the same dropout as an undisturbed one.
# FOLD:
# FOLD: Once an epoch would not do: Lightning makes the training iterator after ``on_train_epoch_start``, twice in most epochs and once in the
# FOLD: first one after a resume, and each draws from torch's generator.
class Reseed(Callback):
    """Makes randomness inside a training batch a function of ``seed`` and the numbers of its epoch and batch alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed torch."""
        torch.manual_seed(
            derive_seed("batch", self._seed, trainer.current_epoch, batch_idx, bits=63)
        )


# FOLD: Looks for Ctrl-C between training batches.
class StopWhenAsked(Callback):
    """Ends the fit between two batches once a signal came."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop here if asked to."""
        self._interruption.check()
