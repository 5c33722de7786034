"""The student: an ordinary LightningModule whose validation hooks collect one outcome for every example.

Each training step: the selector weighs the batch's rows (LLKD's gates are one), the loss gives each unit its value, and the weighted sum is
divided as the selector says. A batch of which nothing is kept makes no step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from pytorch_lightning import LightningModule

from tutelage.errors import StudentError
from tutelage.records import Outcome
from tutelage.selectors.protocol import TrainSelector
from tutelage.student.losses.protocol import Targets, UnitLoss
from tutelage.student.observing import evaluating
from tutelage.student.schedule import RateSchedule
from tutelage.student.selection import Selected, select
from tutelage.tasks.protocol import Task
from tutelage.timeline import Position

VALIDATION_LOADERS = ("dev", "fresh")
"""The loaders of ``GrowingDataModule.val_dataloader``, in its order."""


class StudentModule(LightningModule):
    """An encoder with a head that learns from weighted, hard or soft targets.

    After each validation :attr:`outcomes` holds the outcomes of "dev" and "fresh", after each test those of "test". After each training
    batch :attr:`selected` holds what the selector made of it (None where the stage had had its updates), and :attr:`learnt` the items that a
    step was made on: none where there was no step, and with ``refill`` those of the gathered batch.

    Args:
        network: a Hugging Face model whose output has ``logits``, [B, C], or [B, L, C] for words.
        loss: a value for each unit.
        selector: which rows of a batch count, and how much.
        batch_size: rows that a refilled batch must gather.
        learning_rate: of the encoder, at the schedule's factor 1.
        head_learning_rate: of the new head, which starts from nothing and must move faster.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        task: Task,
        loss: UnitLoss,
        schedule: RateSchedule,
        selector: TrainSelector,
        *,
        batch_size: int,
        learning_rate: float,
        head_learning_rate: float,
        weight_decay: float,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.task = task
        self.position = Position("start", 0, 0, 1)
        self.outcomes: dict[str, list[Outcome]] = {}
        self.selector = selector
        self.selected: Selected | None = None
        self.learnt: tuple[Any, ...] = ()
        self.updates = 0
        self._batch_size = batch_size
        self._gathered: list[tuple[int, float]] = []
        self._schedule = schedule
        self._rates = (learning_rate, head_learning_rate)
        self._weight_decay = weight_decay
        self._batches = 1

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits, [B, C], or [B, L, C] for words."""
        logits: torch.Tensor = self.network(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits
        return logits

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW with two groups: the encoder, and the head with its own rate."""
        head = [
            value
            for name, value in self.network.named_parameters()
            if name.startswith(("classifier", "score"))
        ]
        known = {id(value) for value in head}
        body = [value for value in self.network.parameters() if id(value) not in known]
        groups = [{"params": body, "lr": self._rates[0]}, {"params": head, "lr": self._rates[1]}]
        # Fused is several times faster on a CPU, where the optimizer would take half of a step; on a GPU Lightning refuses to clip with it.
        return torch.optim.AdamW(
            groups, weight_decay=self._weight_decay, fused=self.device.type == "cpu"
        )

    def on_train_epoch_start(self) -> None:
        """Note how many batches this epoch has; the set has grown since the last one."""
        self._batches = int(self.trainer.num_training_batches)
        if self.position.index == 0:
            self._gathered = []  # places of another stage's rows

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rates from the place in the stage: a pure function of it, so that a resumed run goes on alike."""
        factor = self._schedule.factor(
            self.position.progress(batch_idx, self._batches, self.updates)
        )
        for group, rate in zip(self.trainer.optimizers[0].param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor | None:
        """One loss, or None where nothing is kept, a refilled batch is not full yet, or the stage has had its updates.

        Raises:
            StudentError: it is not a number, or none of the student's outputs is.
        """
        self.selected, self.learnt = None, ()
        if self.position.spent(self.updates):
            return None
        refill = self.selector.refill
        with torch.set_grad_enabled(not refill):
            # Rows that are left out need no pass, unless the selector decides by it.
            logits = None if refill and not self.selector.watches else self(batch)
        if logits is not None and not torch.isfinite(logits).any():
            # Every loss of it is no number. A selector may leave such rows out, and a batch of which nothing is kept is no error.
            raise self._diverged(float("nan"), batch_idx)
        self.selected = select(
            self.selector, self._items("train", batch["index"]), logits, self.task
        )
        weights = torch.from_numpy(self.selected.weights)
        if logits is None or refill:
            kept = weights.nonzero().flatten().tolist()
            self._gathered += [(int(batch["index"][row]), float(weights[row])) for row in kept]
            if len(self._gathered) < self._batch_size:
                return None
            full, self._gathered = (
                self._gathered[: self._batch_size],
                self._gathered[self._batch_size :],
            )
            indices, values = zip(*full, strict=True)
            batch = self._on_device(self.trainer.datamodule.collate("train", indices))  # type: ignore[attr-defined]
            logits, weights = self(batch), torch.tensor(values)
        loss = self._mean_loss(
            batch,
            logits,
            weights.to(logits),
            self.position.progress(batch_idx, self._batches, self.updates),
        )
        if loss is None:
            return None
        if not torch.isfinite(loss):
            raise self._diverged(loss.item(), batch_idx)
        self.updates += 1
        self.learnt = tuple(
            item
            for item, weight in zip(
                self._items("train", batch["index"]), weights.tolist(), strict=True
            )
            if weight
        )
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(weights))
        return loss

    def _diverged(self, value: float, batch_idx: int) -> StudentError:
        return StudentError(
            f"The student's loss became {value} in round {self.position.round}, epoch {self.current_epoch}, batch {batch_idx}. "
            f"Lower student.learning_rate (now {self._rates[0]:g}) or student.head_learning_rate (now {self._rates[1]:g}); "
            "a new run pays for nothing that is in the teacher's cache."
        )

    def _mean_loss(
        self,
        batch: dict[str, torch.Tensor],
        logits: torch.Tensor,
        rows: torch.Tensor,
        progress: float,
    ) -> torch.Tensor | None:
        """The weighted losses of the units, divided as the selector says. None where no unit has any weight.

        Args:
            rows: the selector's weights, [B].
            progress: share of the stage that is done.
        """
        if not rows.any():
            return None
        targets = self._targets(
            batch, tuple(item.id for item in self._items("train", batch["index"])), progress
        )
        losses = self.loss(logits, targets)
        chosen = targets.weights * (rows if losses.ndim == 1 else rows.unsqueeze(-1))
        weights = chosen
        if self.loss.needs_guide:
            # Over the rows that the selector kept, so that what it left out has no part in the factors' mean.
            guide = self._on_device(self.trainer.datamodule.guide())  # type: ignore[attr-defined]
            known = replace(targets, weights=chosen)
            factors = self.loss.reweigh(
                self.network, batch, known, guide, self._targets(guide, (), progress)
            )
            weights = chosen * (factors if losses.ndim == 1 else factors.unsqueeze(-1))
        kept = self.loss.keep(losses.detach(), replace(targets, weights=weights))
        weights = weights * kept
        if not weights.any():
            return None
        divisor = {
            "weights": weights.sum().clamp(min=1e-8),
            # A row whose factor is 0 was kept all the same: the factors share its weight out among the others.
            "kept": (targets.weights * (chosen * kept > 0)).sum().clamp(min=1.0),
            "batch": targets.weights.sum().clamp(min=1.0),
        }[self.selector.normaliser]
        mean: torch.Tensor = (losses * weights).sum() / divisor
        return mean

    def _targets(
        self, batch: dict[str, torch.Tensor], ids: tuple[str, ...], progress: float
    ) -> Targets:
        return Targets(
            batch["targets"], batch["teacher"], batch["off_label"], batch["weights"], ids, progress
        )

    def _items(self, name: str, index: torch.Tensor) -> list[Any]:
        return self.trainer.datamodule.items(name, index)  # type: ignore[attr-defined,no-any-return]

    def _on_device(self, batch: Any) -> Any:
        return {key: value.to(self.device) for key, value in batch.items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The selector's state and how many steps were made; no row waits for a full batch where a stage begins."""
        checkpoint["student"] = {"selector": self.selector.state_dict(), "updates": self.updates}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up both."""
        self.selector.load_state_dict(checkpoint["student"]["selector"])
        self.updates = int(checkpoint["student"]["updates"])

    def on_validation_epoch_start(self) -> None:
        """Begin new lists of outcomes."""
        self.outcomes.update({name: [] for name in VALIDATION_LOADERS})

    def validation_step(
        self, batch: dict[str, torch.Tensor], batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Collect an outcome for each example of the batch."""
        self._collect(VALIDATION_LOADERS[dataloader_idx], batch)

    def on_test_epoch_start(self) -> None:
        """Begin a new list of outcomes."""
        self.outcomes["test"] = []

    def test_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        """Collect an outcome for each example of the batch."""
        self._collect("test", batch)

    def predict(self, loader: Iterable[Any], items_of: str) -> list[Outcome]:
        """Outcomes over ``loader`` outside Lightning's own loops, without touching the training state.

        Growth needs the student's view of new rows *before* it trains on them.
        """
        self.outcomes[items_of] = []
        with evaluating(self):
            for batch in loader:
                self._collect(items_of, self._on_device(batch))
        return self.outcomes[items_of]

    def _collect(self, name: str, batch: dict[str, torch.Tensor]) -> None:
        probabilities = self(batch).float().softmax(dim=-1).cpu()
        items = self._items(name, batch["index"])
        for item, values in zip(items, probabilities, strict=True):
            rounded = [row and [round(value, 6) for value in row] for row in item.read(values)]
            predicted, kept, tags = self.task.read(rounded)
            self.outcomes[name].append(
                Outcome(
                    item.id,
                    item.text,
                    item.target,
                    predicted,
                    kept,
                    item.source,
                    self.position.round,
                    tags,
                )
            )
