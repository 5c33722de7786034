"""A Lightning callback of a user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class BatchCounter(Callback):
    """Writes the number of training batches of each epoch to a file, one per line.

    Args:
        path: The file.
        fails_at: Epoch at whose end it fails, like a run that is killed; -1 never.
    """

    def __init__(self, path: str, fails_at: int = -1) -> None:
        self._path = Path(path)
        self._fails_at = fails_at
        self._batches = 0
        self.total = 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._batches = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches += 1
        self.total += 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{self._batches}\n")
        if trainer.current_epoch == self._fails_at:
            raise SystemExit

    def state_dict(self) -> dict[str, int]:
        return {"total": self.total}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.total = state_dict["total"]
