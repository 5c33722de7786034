"""The student: an ordinary LightningModule whose validation hooks collect one outcome for every example."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from pytorch_lightning import LightningModule

from tutelage.errors import StudentError
from tutelage.records import Outcome
from tutelage.student.schedule import Position, RateSchedule
from tutelage.tasks.protocol import Task

VALIDATION_LOADERS = ("dev", "fresh")
"""The loaders of ``GrowingDataModule.val_dataloader``, in its order."""


class StudentModule(LightningModule):
    """An encoder with a head that learns from weighted, hard or soft targets.

    After each validation :attr:`outcomes` holds the outcomes of "dev" and "fresh", after each test those of "test".

    Args:
        network: a Hugging Face model whose output has ``logits``, [B, C], or [B, L, C] for words.
        loss: (logits, targets, weights) → scalar.
        learning_rate: of the encoder, at the schedule's factor 1.
        head_learning_rate: of the new head, which starts from nothing and must move faster.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        task: Task,
        loss: torch.nn.Module,
        schedule: RateSchedule,
        *,
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
        self._schedule = schedule
        self._rates = (learning_rate, head_learning_rate)
        self._weight_decay = weight_decay
        self._batches = 1

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits, [B, C], or [B, L, C] for words."""
        logits: torch.Tensor = self.network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return logits

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW with two groups: the encoder, and the head with its own rate."""
        head = [value for name, value in self.network.named_parameters() if name.startswith(("classifier", "score"))]
        known = {id(value) for value in head}
        body = [value for value in self.network.parameters() if id(value) not in known]
        groups = [{"params": body, "lr": self._rates[0]}, {"params": head, "lr": self._rates[1]}]
        # Fused is several times faster on a CPU, where the optimizer would take half of a step; on a GPU Lightning refuses to clip with it.
        return torch.optim.AdamW(groups, weight_decay=self._weight_decay, fused=self.device.type == "cpu")

    def on_train_epoch_start(self) -> None:
        """Note how many batches this epoch has; the set has grown since the last one."""
        self._batches = int(self.trainer.num_training_batches)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rates from the place in the stage: a pure function of it, so that a resumed run goes on alike."""
        factor = self._schedule.factor(self.position.progress(batch_idx, self._batches))
        for group, rate in zip(self.trainer.optimizers[0].param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """One loss.

        Raises:
            StudentError: it is not a number.
        """
        loss: torch.Tensor = self.loss(self(batch), batch["targets"], batch["weights"])
        if not torch.isfinite(loss):
            raise StudentError(
                f"The student's loss became {loss.item()} in round {self.position.round}, epoch {self.current_epoch}, batch {batch_idx}. "
                f"Lower student.learning_rate (now {self._rates[0]:g}) or student.head_learning_rate (now {self._rates[1]:g}); "
                "a new run pays for nothing that is in the teacher's cache."
            )
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["weights"]))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Begin new lists of outcomes."""
        self.outcomes.update({name: [] for name in VALIDATION_LOADERS})

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
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
        training = self.training
        self.eval()
        self.outcomes[items_of] = []
        with torch.no_grad():
            for batch in loader:
                moved = {key: value.to(self.device) for key, value in batch.items()}
                self._collect(items_of, moved)
        self.train(training)
        return self.outcomes[items_of]

    def _collect(self, name: str, batch: dict[str, torch.Tensor]) -> None:
        probabilities = self(batch).float().softmax(dim=-1).cpu()
        items = self.trainer.datamodule.items(name, batch["index"])  # type: ignore[attr-defined]
        for item, values in zip(items, probabilities, strict=True):
            rounded = [row and [round(value, 6) for value in row] for row in item.read(values)]
            predicted, kept, tags = self.task.read(rounded)
            self.outcomes[name].append(Outcome(item.id, item.text, item.target, predicted, kept, item.source, self.position.round, tags))
