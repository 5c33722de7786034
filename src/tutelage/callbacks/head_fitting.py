"""Before each stage, the head is fitted to the encoder as it is then (``student.head=fitted``)."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from tutelage.selectors.per_epoch import OncePerEpoch
from tutelage.selectors.protocol import WITHOUT_STUDENT
from tutelage.student.head_fitting import MOST_ROWS, fit_head, last_layers


class HeadFitting(Callback):
    """Fits the head to the rows so far before the first epoch of a stage.

    It comes after the growth callback, which tells the student its position. Checkpoints lie
    between stages, so a resumed run fits the same head again.

    Args:
        kept: Fit to the rows that the train selector keeps in the epoch, if it chooses once per
            epoch; this callback then comes after the selector has chosen. False fits to every row,
            for selectors that look at the student.
    """

    def __init__(self, *, kept: bool) -> None:
        self._kept = kept

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fits the head, if a stage begins."""
        module: Any = pl_module
        selector = module.selector
        chooses = isinstance(selector, OncePerEpoch)
        # A selector that chooses without the student needs no head before.
        blind = chooses and selector.needs <= WITHOUT_STUDENT
        if module.position.index or (blind if not self._kept else not chooses):
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        kept = selector.leaves_out if self._kept else None
        fit_head(module, data.all_rows_dataloader(kept, most=MOST_ROWS))
        # The optimizer's moments are of the head before.
        for head in last_layers(module.network):
            for value in head.parameters():
                trainer.optimizers[0].state.pop(value, None)
