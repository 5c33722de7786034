"""Looks for Ctrl-C between training batches."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from tutelage.interruption import Interruption


class StopWhenAsked(Callback):
    """Ends the fit between two batches once a signal came."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stop here if asked to."""
        self._interruption.check()
