"""The student as a LightningModule, collecting one outcome per validation and test example.

In each training step the selector weights the rows of the batch (LLKD's gates are one selector),
the loss values each unit, and the weighted sum is divided by the selector's normaliser. A batch
without any kept row makes no optimizer step.

With ``student.peers=2`` two networks make each step on the same rows, each with its own weights if
the selector gives them. The student's prediction is the mean of both distributions; this is what
selectors, feedback and evaluation see.

On several devices each rank computes its share of a batch (:mod:`tutelage.ranks`). Rank 0 sees the
predictions for the whole batch and lets the selector weight its rows, so thresholds and counts are
those of one device. The loss is divided by the divisor of the whole batch, so the gradients'
average over ranks is the gradient of the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from pytorch_lightning import LightningModule

from tutelage.errors import ConfigError, StudentError
from tutelage.ranks import Ranks
from tutelage.records import Outcome
from tutelage.selectors.protocol import TrainSelector
from tutelage.student.losses.protocol import Targets, UnitLoss
from tutelage.student.observing import HEADS, evaluating, mean_state, network_and_states
from tutelage.student.peers import mean_logits, networks_of
from tutelage.student.schedule import RateSchedule
from tutelage.student.selection import Selected, select
from tutelage.tasks.protocol import Task
from tutelage.timeline import Position

VALIDATION_LOADERS = ("dev", "fresh")
"""Loaders of ``GrowingDataModule.val_dataloader``, in order."""

Pass = tuple[torch.Tensor, torch.Tensor | None]
"""Logits of a network, and the states of its encoder or None."""


def outcomes_of(
    task: Task, items: Iterable[Any], probabilities: torch.Tensor, of_round: int
) -> list[Outcome]:
    """Decodes a batch of predictions.

    Args:
        task: The task.
        items: The items of the batch, B.
        probabilities: Their distributions, [B, C], or [B, L, C] for NER.
        of_round: Round that the outcomes belong to.
    """
    found = []
    for item, values in zip(items, probabilities, strict=True):
        # Rounded to 6 digits first, so decoding agrees with the recorded numbers.
        rounded = [row and [round(value, 6) for value in row] for row in item.read(values)]
        # The task decodes; an outcome keeps the distribution it was decoded from.
        predicted, kept, tags = task.read(rounded)
        found.append(
            Outcome(item.id, item.text, item.target, predicted, kept, item.source, of_round, tags)
        )
    return found


class StudentModule(LightningModule):
    """An encoder with a head, trained on weighted hard or soft targets.

    Args:
        network: A Hugging Face model whose output has ``logits``: [B, C], or [B, L, C] for NER; or
            :class:`~tutelage.student.peers.PeerNetworks` of two.
        task: The task, for its outputs and decoding.
        loss: The loss per unit; a second network has a copy.
        schedule: Factor on both learning rates.
        selector: The train selector, which weights the rows of each batch.
        batch_size: Number of rows a refilled batch must gather.
        learning_rate: Learning rate of the encoder, at a schedule factor of 1.
        head_learning_rate: Learning rate of the new head, which starts from scratch and must move
            faster.
        weight_decay: Weight decay of AdamW.
        ranks: The processes that train the student; None for this one alone.

    Raises:
        ConfigError: The selector gathers kept rows, and the loss learns from those left out.

    Attributes:
        outcomes: Outcomes of "dev" and "fresh" after validation, and of "test" after testing.
        selected: The selector's decision about the last training batch; None once the stage has
            used up its optimizer steps, and on all ranks but the first.
        learnt: Items of the last optimizer step: empty without a step; with ``refill``, those of
            the gathered batch.
        position: Position of the current epoch in the run.
        steps: Number of optimizer steps so far.
        ranks: The ``ranks`` argument.
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
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__()
        if selector.refill and loss.sees_left_out:
            raise ConfigError(
                "select.refill=true gathers kept rows alone, and this loss also learns from the "
                "rows that are left out. Give select.refill=false, or another loss=."
            )
        self.network = network
        self.loss = loss
        # A loss may remember rows, so a peer needs its own.
        self._peer_losses = torch.nn.ModuleList(deepcopy(loss) for _ in networks_of(network)[1:])
        self.task = task
        self.position = Position("start", 0, 0, 1)
        self.outcomes: dict[str, list[Outcome]] = {}
        self.selector = selector
        self.selected: Selected | None = None
        self.learnt: tuple[Any, ...] = ()
        self.steps = 0
        self.ranks = ranks or Ranks()
        self._batch_size = batch_size
        self._gathered: list[tuple[int, list[float]]] = []
        self._schedule = schedule
        self._rates = (learning_rate, head_learning_rate)
        self._weight_decay = weight_decay
        self._batches = 1
        self._taught = False

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits of a batch, [B, C], or [B, L, C] for NER."""
        return mean_logits(self.each(batch))

    def each(self, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """Logits of a batch by each of the student's networks."""
        return [
            one(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            for one in networks_of(self.network)
        ]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW with two parameter groups: the encoder, and the head with its own rate."""
        head = [
            value
            for network in networks_of(self.network)
            for name, value in network.named_parameters()
            if name.startswith(HEADS)
        ]
        # What a loss learns besides starts from scratch, too.
        head += [value for one in (self.loss, *self._peer_losses) for value in one.parameters()]
        # The head's parameters by name; everything else is the encoder, which may be frozen.
        known = {id(value) for value in head}
        body = [
            value
            for value in self.network.parameters()
            if id(value) not in known and value.requires_grad
        ]
        groups = [{"params": body, "lr": self._rates[0]}, {"params": head, "lr": self._rates[1]}]
        # Fused AdamW is several times faster on a CPU, where it would take half of each step. On a
        # GPU Lightning refuses to clip gradients with it.
        return torch.optim.AdamW(
            groups, weight_decay=self._weight_decay, fused=self.device.type == "cpu"
        )

    def on_train_epoch_start(self) -> None:
        """Notes the number of batches, which grows with the training set."""
        self._batches = int(self.trainer.num_training_batches)
        if self.position.index == 0:
            # Rows gathered in the previous stage have other indices now.
            self._gathered = []

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Sets the learning rates from the progress of the stage.

        A pure function of the position, so a resumed run continues identically.
        """
        # Progress counts optimizer steps if these limit the stage, else batches.
        factor = self._schedule.factor(self.position.progress(batch_idx, self._batches, self.steps))
        for group, rate in zip(self.trainer.optimizers[0].param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    @property
    def epoch_rate(self) -> float:
        """Learning rate of the head in the middle of the coming epoch."""
        return self._rates[1] * self._schedule.factor(self.position.progress(1, 2, self.steps))

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor | None:
        """Loss of one step, or None for no step.

        There is no step if no row is kept, if a refilled batch is not full yet, or if the stage has
        used up its optimizer steps.

        Args:
            batch: A :class:`tutelage.data.items.Batch` on the training device.
            batch_idx: Index of the batch in the epoch.

        Raises:
            StudentError: The loss, or every student output, is NaN or infinite.
        """
        self.selected, self.learnt = None, ()
        if self.position.spent(self.steps):
            return self._no_step()
        refill = self.selector.refill
        # Phase 1: the student's view of the batch. With refill the training pass comes later, on
        # gathered rows, and only a selector reading probabilities needs this one.
        with torch.set_grad_enabled(not refill):
            each = None if refill and not self.selector.watches else self._passes(batch)
        logits = None if each is None else mean_logits([one for one, _ in each])
        # On several devices these are the rank's rows; the selector sees the whole batch.
        rows = batch.get("whole", batch["index"])
        if self.selector.watches and logits is not None:
            logits = self.ranks.whole(logits, len(rows))
        if logits is not None and self.ranks.leads and not torch.isfinite(logits).any():
            # Checked here, since a selector may leave such rows out, and a batch without kept rows
            # raises no error.
            raise self._diverged("loss became nan", f", batch {batch_idx}")
        # Phase 2: the selector weights the rows.
        weights = self._decided(rows, logits)
        # Phase 3: with refill, gather kept rows; the step waits for a full batch.
        if each is None or refill:
            kept = weights.any(dim=1).nonzero().flatten().tolist()
            self._gathered += [(int(rows[row]), weights[row].tolist()) for row in kept]
            if len(self._gathered) < self._batch_size:
                return self._no_step()
            full, self._gathered = (
                self._gathered[: self._batch_size],
                self._gathered[self._batch_size :],
            )
            indices, values = zip(*full, strict=True)
            rows, weights = torch.tensor(indices), torch.tensor(values)
            own = [indices[position] for position in self.ranks.share(len(indices))]
            batch = self.trainer.datamodule.collate("train", own)  # type: ignore[attr-defined]
            batch = self._on_device(batch)
            each = self._passes(batch)
        # Phase 4: the loss of the step.
        progress = self.position.progress(batch_idx, self._batches, self.steps)
        loss = self._step_loss(batch, each, self.ranks.own(weights), progress)
        if loss is None:
            return self._no_step()
        shown = self.ranks.total(loss.detach()) / self.ranks.size
        if not torch.isfinite(shown) and self.ranks.leads:
            raise self._diverged(f"loss became {shown.item()}", f", batch {batch_idx}")
        # Phase 5: count the step and remember its items.
        self.steps += 1
        self._taught = True
        self.learnt = tuple(
            item
            for item, weight in zip(
                self._items("train", rows), weights.any(dim=1).tolist(), strict=True
            )
            if weight
        )
        self.log(
            "train_loss", shown / len(each), on_step=False, on_epoch=True, batch_size=len(weights)
        )
        return loss

    def _decided(self, rows: torch.Tensor, logits: torch.Tensor | None) -> torch.Tensor:
        """Weights of the whole batch's rows for each network, [B, networks], by rank 0's selector.

        Args:
            rows: Indices of the rows.
            logits: Their logits; of this rank's rows alone where the selector does not watch.
        """
        decided = None
        if self.ranks.leads:
            seen = None if self.ranks.several and not self.selector.watches else logits
            self.selected = select(self.selector, self._items("train", rows), seen, self.task)
            decided = self.selected.by_network(len(networks_of(self.network)))
        return torch.from_numpy(self.ranks.told(decided))

    def _no_step(self) -> torch.Tensor | None:
        """What a batch without a step returns.

        Lightning takes no None on several devices, so there it is a loss without any influence:
        :meth:`on_before_optimizer_step` forgets its gradient.
        """
        if not self.ranks.several:
            return None
        return 0.0 * next(value for value in self.parameters() if value.requires_grad).sum()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Forgets the gradients of a step whose batches taught nothing, on several devices."""
        if self.ranks.several and not self._taught:
            optimizer.zero_grad(set_to_none=True)
        self._taught = False

    def _passes(self, batch: dict[str, torch.Tensor]) -> list[Pass]:
        """Logits of a batch by each network, with the states that the loss compares, if it does."""
        if not self.loss.needs_features:
            return [(logits, None) for logits in self.each(batch)]
        by_word, mask = self.task.is_token_level, batch["attention_mask"]
        return [
            (logits, states if by_word else mean_state(states, mask))
            for logits, states in (
                network_and_states(network, batch) for network in networks_of(self.network)
            )
        ]

    def _diverged(self, what: str, where: str = "") -> StudentError:
        return StudentError(
            f"The student's {what} in round {self.position.round}, epoch "
            f"{self.current_epoch}{where}. Lower student.learning_rate (now "
            f"{self._rates[0]:g}) or student.head_learning_rate (now {self._rates[1]:g}). A new "
            "run reuses every reply in the teacher's cache at no cost."
        )

    def _step_loss(
        self,
        batch: dict[str, torch.Tensor],
        each: list[Pass],
        weights: torch.Tensor,
        progress: float,
    ) -> torch.Tensor | None:
        """Sum of the networks' losses; None if no network has a unit with weight.

        The networks share no parameter, so each gets the gradient of its own loss.

        Args:
            batch: The batch.
            each: Logits of each network, and the states that its loss compares.
            weights: Row weights of each network, [B, networks].
            progress: Completed share of the stage.
        """
        parts = zip(
            networks_of(self.network), (self.loss, *self._peer_losses), each, weights.T, strict=True
        )
        losses = [
            self._mean_loss(network, loss, batch, logits, features, rows.to(logits), progress)
            for network, loss, (logits, features), rows in parts
        ]
        found = [loss for loss in losses if loss is not None]
        return torch.stack(found).sum() if found else None

    def _mean_loss(
        self,
        network: torch.nn.Module,
        loss: Any,
        batch: dict[str, torch.Tensor],
        logits: torch.Tensor,
        features: torch.Tensor | None,
        rows: torch.Tensor,
        progress: float,
    ) -> torch.Tensor | None:
        """Weighted loss of a batch over the selector's divisor; None if no unit teaches anything.

        Args:
            network: One of the student's networks.
            loss: Its loss per unit.
            batch: The batch.
            logits: The network's logits, [B, C], or [B, L, C] for NER.
            features: The encoder's states, for a loss that compares them.
            rows: The selector's row weights for the network, [B].
            progress: Completed share of the stage.
        """
        # On several devices all ranks decide together, below.
        if not (rows.any() or loss.sees_left_out or self.ranks.several):
            return None
        # Unit weights: the task's, times the selector's row weights.
        targets = self._targets(
            batch, tuple(item.id for item in self._items("train", batch["index"])), progress
        )
        losses = loss(logits, targets)
        chosen = targets.weights * (rows if losses.ndim == 1 else rows.unsqueeze(-1))
        weights = chosen
        if features is not None:
            taught = replace(targets, weights=chosen)
            losses = losses + loss.contrast(network, batch, features, taught)
        if loss.needs_guide:
            # Normalised over the kept rows, so rows left out do not enter the mean of the factors.
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            given = self.loss.guide_from == "given"
            guide = self._on_device(data.guide() if given else data.other_rows(batch, self.steps))
            known = replace(targets, weights=chosen)
            factors = loss.reweigh(network, batch, known, guide, self._targets(guide, (), progress))
            weights = chosen * (factors if losses.ndim == 1 else factors.unsqueeze(-1))
        # The loss may leave out units of its own.
        kept = loss.keep(losses.detach(), replace(targets, weights=weights))
        weights = weights * kept
        further: torch.Tensor | None = loss.beside(
            network, batch, logits, replace(targets, weights=weights)
        )
        if loss.needs_texts:
            own = loss.on_texts(network, self._texts(batch))
            further = own if further is None else further + own
        if not weights.any() and not self.ranks.several:
            return further
        divisor = {
            "weights": weights.sum(),
            # A row with factor 0 still counts as kept: the other factors absorb its weight.
            "kept": (targets.weights * (chosen * kept > 0)).sum(),
            "batch": targets.weights.sum(),
        }[self.selector.normaliser]
        least = 1e-8 if self.selector.normaliser == "weights" else 1.0
        total = (losses * weights).sum()
        if self.ranks.several:
            # The ranks' gradients are averaged, hence their number.
            divisor, taught_units = self.ranks.total(
                torch.stack([divisor, (weights != 0).sum().to(divisor)])
            )
            if not taught_units:
                return None
            total = total * self.ranks.size
        mean: torch.Tensor = total / divisor.clamp(min=least)
        return mean if further is None else mean + further

    def _targets(
        self, batch: dict[str, torch.Tensor], ids: tuple[str, ...], progress: float
    ) -> Targets:
        return Targets(
            batch["targets"], batch["teacher"], batch["off_label"], batch["weights"], ids, progress
        )

    def _texts(self, batch: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        """Inputs of the batch, and of as many unlabelled texts, if there are any."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        others = data.unlabelled(len(batch["input_ids"]), self.steps)
        return [batch] if others is None else [batch, self._on_device(others)]

    def _items(self, name: str, index: torch.Tensor) -> list[Any]:
        items: list[Any] = self.trainer.datamodule.items(name, index)  # type: ignore[attr-defined]
        return items

    def _on_device(self, batch: Any) -> Any:
        return {key: value.to(self.device) for key, value in batch.items()}

    def start_anew(self, weights: Mapping[str, Any]) -> None:
        """Continues with the weights of a new student.

        Args:
            weights: The weights of the network, as its ``state_dict``.
        """
        self.network.load_state_dict(weights)
        # A loss may have followed the student so far.
        for loss in (self.loss, *self._peer_losses):
            loss.start_anew()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Saves the selector's state and the number of optimizer steps.

        Checkpoints lie between stages, when no row waits for a full batch.
        """
        checkpoint["student"] = {"selector": self.selector.state_dict(), "steps": self.steps}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the selector's state and the number of optimizer steps."""
        self.selector.load_state_dict(checkpoint["student"]["selector"])
        self.steps = int(checkpoint["student"]["steps"])

    def on_validation_epoch_start(self) -> None:
        """Starts new lists of outcomes."""
        self.outcomes.update({name: [] for name in VALIDATION_LOADERS})

    def validation_step(
        self, batch: dict[str, torch.Tensor], batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Collects one outcome per example of the batch."""
        self._collect(VALIDATION_LOADERS[dataloader_idx], batch)

    def on_test_epoch_start(self) -> None:
        """Starts a new list of outcomes."""
        self.outcomes["test"] = []

    def test_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        """Collects one outcome per example of the batch."""
        self._collect("test", batch)

    def predict(self, loader: Iterable[Any], items_of: str) -> list[Outcome]:
        """Outcomes over a loader, outside Lightning's loops and without side effects on training.

        Growth needs the student's predictions on new rows *before* training on them.

        Args:
            loader: Batches to predict.
            items_of: Name of the loader whose items the batches index.
        """
        self.outcomes[items_of] = []
        with evaluating(self):
            for batch in loader:
                self._collect(items_of, self._on_device(batch))
        return self.outcomes[items_of]

    def _collect(self, name: str, batch: dict[str, torch.Tensor]) -> None:
        probabilities = self(batch).float().softmax(dim=-1).cpu()
        if not torch.isfinite(probabilities).any():  # the last step of a stage has no loss after it
            raise self._diverged("predictions are no numbers")
        items = self._items(name, batch["index"])
        self.outcomes[name] += outcomes_of(self.task, items, probabilities, self.position.round)
