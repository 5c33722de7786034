"""Before each stage, the head is fitted to the encoder as it is then (``student.head=fitted``)."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from tutelage.student.head_fitting import fit_head, last_layers


class HeadFitting(Callback):
    """Fits the head to every row so far before the first epoch of a stage.

    It comes after the growth callback, which tells the student its position. Checkpoints lie
    between stages, so a resumed run fits the same head again.
    """

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fits the head, if a stage begins."""
        module: Any = pl_module
        if module.position.index == 0:
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            fit_head(module, data.all_rows_dataloader())
            # The optimizer's moments are of the head before.
            for head in last_layers(module.network):
                for value in head.parameters():
                    trainer.optimizers[0].state.pop(value, None)
