"""Seeds torch anew at each epoch from (seed, epoch), so that a resumed run draws the same dropout as an undisturbed one."""

from __future__ import annotations

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from tutelage.records import record_id


class Reseed(Callback):
    """Makes randomness inside an epoch a function of ``seed`` and the epoch's number alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed torch."""
        torch.manual_seed(int(record_id("epoch", self._seed, trainer.current_epoch), 16) % 2**63)
