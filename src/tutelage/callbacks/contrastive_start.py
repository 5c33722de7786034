"""Where a new student starts, its encoder is tuned on pairs of rows
(``student.contrastive_start``)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from tutelage.records import derive_seed
from tutelage.selectors.per_epoch import OncePerEpoch
from tutelage.selectors.protocol import WITHOUT_STUDENT
from tutelage.student.contrastive_start import PairTraining, start_by_pairs


class ContrastiveStart(Callback):
    """Tunes the encoder of a new student before the first epoch of its first stage.

    It comes after the growth callback, which tells the student its position, and before the head is
    fitted. Checkpoints lie between stages, so a resumed run draws the same pairs again.

    Args:
        training: Steps, rates and batches.
        seed: The seed of the run.
        stages: Stages that a new student starts in: "start", and "round" or "final" with
            ``training.round_student=new`` or ``training.final_student=new``.
        kept: Take the rows that the train selector keeps in the epoch, if it chooses once per epoch
            without the student; this callback then comes after the selector has chosen. False takes
            every row, for all other selectors.
    """

    def __init__(
        self, training: PairTraining, seed: int, stages: Collection[str], *, kept: bool
    ) -> None:
        self._training = training
        self._seed = seed
        self._stages = frozenset(stages)
        self._kept = kept

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tunes the encoder, if a new student starts."""
        module: Any = pl_module
        selector, position = module.selector, module.position
        blind = isinstance(selector, OncePerEpoch) and selector.needs <= WITHOUT_STUDENT
        if position.index or position.stage not in self._stages or blind != self._kept:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        rows = data.all_rows_dataloader(selector.leaves_out if self._kept else None)
        seed = derive_seed(self._seed, position.stage, position.round, bits=63)
        with torch.enable_grad(), trainer.precision_plugin.forward_context():
            start_by_pairs(module, rows.dataset.items, data.encoder.collate, self._training, seed)
