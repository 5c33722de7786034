"""A fit on several devices: rank 0 decides between the stages, the other ranks follow.

Both callbacks exchange messages in the same hooks. At the end of an epoch rank 0 tells which rows
are new and how the run goes on; at the beginning of one, what a new student starts from. All else
on rank 0 (the teacher, predictions on dev and pool, the head's fit) happens while the others wait
for such a message.
"""

from __future__ import annotations

import signal
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from tutelage.callbacks.checkpoint import Positioned, stage_is_saved
from tutelage.data.pool import Pool
from tutelage.data.training_view import RoundView
from tutelage.ranks import Ranks


class _Messages(Callback):
    """The hooks that both sides share."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._handler: Any = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the group of the messages, when Lightning has opened that of the gradients."""
        self._ranks.connect()
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes SIGTERM back from Lightning.

        Its handler sends a message to the other ranks at any moment, also where they expect another
        one; the run's own stops between two batches.
        """
        signal.signal(signal.SIGTERM, self._handler)

    def _copy_student(self, trainer: Trainer, module: LightningModule) -> None:
        """Copies rank 0's student to all ranks; optimizer states that it dropped are dropped."""
        optimizer = trainer.optimizers[0]
        values = [value for group in optimizer.param_groups for value in group["params"]]
        known = self._ranks.told([value in optimizer.state for value in values])
        for value, stays in zip(values, known, strict=True):
            if not stays:
                optimizer.state.pop(value, None)
        self._ranks.copy([*module.parameters(), *module.buffers()])


class LeadDevices(_Messages):
    """Sends the decisions of rank 0 to the others, after the callbacks that change the student.

    It comes before the :class:`~tutelage.callbacks.checkpoint.StageCheckpoint`, whose file all
    ranks wait for.

    Args:
        ranks: The processes of the fit.
        growth: The growth callback.
        pool: The pool.
    """

    def __init__(self, ranks: Ranks, growth: Positioned, pool: Pool) -> None:
        super().__init__(ranks)
        self._growth = growth
        self._pool = pool
        self._told = len(pool)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tells the position, which is not the start after a resume."""
        super().on_fit_start(trainer, pl_module)
        self._told = len(self._pool)
        self._ranks.told(self._growth.position)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tells that the epoch begins, with the student of a new stage."""
        begins = self._ranks.told(self._growth.position.index == 0)
        if begins:
            self._copy_student(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tells the new rows, and how the run goes on."""
        rows = list(self._pool.since(self._told))
        self._told = len(self._pool)
        self._ranks.told((rows, self._growth.position, trainer.should_stop))


class FollowDevices(_Messages):
    """Applies on another rank the decisions that :class:`LeadDevices` sends.

    Args:
        ranks: The processes of the fit.
        view: The training view, which holds the position of the run.
        pool: The copy of the pool.
    """

    def __init__(self, ranks: Ranks, view: RoundView, pool: Pool) -> None:
        super().__init__(ranks)
        self._view = view
        self._pool = pool

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the position that rank 0 goes on from."""
        super().on_fit_start(trainer, pl_module)
        self._view.position = self._ranks.told()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Waits for the epoch, and takes the student of a new stage."""
        module: Any = pl_module
        module.position = self._view.position
        if self._ranks.told():
            self._copy_student(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Waits for rank 0 to end the stage, and takes its rows and its decision."""
        rows, position, stops = self._ranks.told()
        self._pool.append(rows)
        self._view.position = position
        trainer.should_stop = stops
        if stage_is_saved(position, trainer):
            # Lightning's save_checkpoint ends with all ranks.
            trainer.strategy.barrier("Trainer.save_checkpoint")
