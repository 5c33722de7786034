"""Growth: after the last epoch of a stage the method is asked for new rows, and the next epoch trains on them.

It happens in ``on_train_epoch_end``, keyed on the position alone: validation has just run, and Lightning builds the training loader
anew before the next epoch (``reload_dataloaders_every_n_epochs=1``). The checkpoint is saved after it, so it always holds a whole
round. One ``Trainer.fit`` is the whole run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from tutelage.callbacks.checkpoint import BestStudent
from tutelage.callbacks.feedback import FeedbackCollector
from tutelage.callbacks.round_logger import RoundLogger
from tutelage.data.growing import GrowingDataModule
from tutelage.data.training_view import RoundView
from tutelage.errors import BudgetExhausted, ConfigError
from tutelage.methods.base import Method
from tutelage.records import Feedback
from tutelage.student.module import StudentModule
from tutelage.teacher.wrappers.budget import BudgetedTeacher
from tutelage.timeline import Position, Timeline


class GrowthCallback(Callback):
    """Moves a run from stage to stage.

    Args:
        budget: counts the method's tokens; None where no teacher is asked.
        release_teacher: called before a stage trains, so that the teacher's engine can give its
            memory back (``teacher.lifecycle``).
        best: keeps the student that the run ends with; None: it is the last one.
    """

    def __init__(
        self,
        method: Method,
        timeline: Timeline,
        view: RoundView,
        collector: FeedbackCollector,
        round_logger: RoundLogger,
        budget: BudgetedTeacher | None,
        best: BestStudent | None = None,
        release_teacher: Callable[[], None] | None = None,
    ) -> None:
        if timeline.start_epochs < 1 or timeline.round_epochs < 1 or timeline.final_epochs < 0:
            raise ConfigError(
                f"method epochs must be 1 or more (final_epochs 0 or more); got {timeline}."
            )
        self._method = method
        self._timeline = timeline
        self._view = view
        self._collector = collector
        self._round_logger = round_logger
        self._budget = budget
        self.best_student = best
        self._release_teacher = release_teacher or (lambda: None)
        self._epoch_began = 0.0
        self._best: tuple[float, int] = (-1.0, 0)
        self._dearest_round = 0
        self.stopped_by = ""
        self._move(Position("start", 0, 0, timeline.start_epochs, timeline.start_max_steps))

    @property
    def position(self) -> Position:
        """Where the run stands."""
        return self._view.position

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the student where it stands; after a resume that is not the start."""
        _student(pl_module).position = self.position

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the student where it stands, and validate only where the outcomes are used: at the stage's end."""
        _student(pl_module).position = self.position
        if self.position.index == 0:
            self._release_teacher()
        trainer.limit_val_batches = 1.0 if self.position.last else 0
        self._epoch_began = time.perf_counter()
        self._round_logger.training(self.position)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go to the next epoch of the stage; at its end measure, grow, and begin the next stage."""
        position, module, data = self.position, _student(pl_module), _data(trainer)
        self._round_logger.spend("training", time.perf_counter() - self._epoch_began)
        if not position.last:
            if not position.spent(module.updates):
                self._move(replace(position, index=position.index + 1))
                return
            # The stage's updates are made and Lightning was told not to validate in this epoch.
            self._round_logger.measured(
                "testing", lambda: module.predict(data.dev_dataloader(), "dev")
            )
            self._round_logger.measured(
                "testing", lambda: module.predict(data.fresh_dataloader(), "fresh")
            )
        dev, fresh = module.outcomes["dev"], module.outcomes["fresh"]
        # The test set is looked at where its numbers are quoted; no decision ever reads it.
        quoted = (
            self._timeline.test_every_round
            or position.stage != "round"
            or not self._timeline.final_epochs
        )
        test = (
            self._round_logger.measured(
                "testing", lambda: module.predict(data.test_dataloader(), "test")
            )
            if quoted
            else None
        )
        loss = trainer.callback_metrics.get("train_loss")
        train_loss = None if loss is None else float(loss)
        scores = self._round_logger.close_stage(
            position, trainer.current_epoch, dev, fresh, test, train_loss, self._budget
        )
        score = float(scores[module.task.monitor])
        if self.best_student:
            self.best_student.offer(score, position, module.network)
        if position.stage == "final":
            trainer.should_stop = True
        elif reason := self._reason_to_stop(position.round, score):
            self._finish(trainer, module, position.round, reason)
        else:
            self._grow(
                trainer,
                module,
                data,
                self._collector.feedback(fresh, position.round + 1, scores["per_class"]),
                position.round + 1,
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go back to the best student where it is not the last one, and quote its numbers."""
        if self.best_student is None or self.best_student.stage is None:
            return
        kept, last, module = self.best_student.stage, self.position, _student(pl_module)
        if (kept["round"], kept["stage"]) != (last.round, last.stage):
            self.best_student.restore(module.network)
            module.position = replace(last, stage=kept["stage"], round=kept["round"])
            test = self._round_logger.measured(
                "testing", lambda: module.predict(_data(trainer).test_dataloader(), "test")
            )
            self._round_logger.keep(test, module.task.metrics(test))

    def _grow(
        self,
        trainer: Trainer,
        module: StudentModule,
        data: GrowingDataModule,
        feedback: Feedback,
        round: int,
    ) -> None:
        billed = self._budget.usage.billed if self._budget else 0
        self._round_logger.growing(round)
        try:
            growth = self._method.next_rows(feedback, round)
        except BudgetExhausted:
            if round == 1 and not any(row.source != "gold" for row in data.pool.rows):
                raise self._too_small(billed) from None
            self._finish(trainer, module, round - 1, "budget")
            return
        data.pool.append(growth.rows)
        self._round_logger.write_growth(growth)
        self._dearest_round = max(
            self._dearest_round, (self._budget.usage.billed if self._budget else 0) - billed
        )
        self._move(
            Position(
                "round",
                round,
                0,
                self._timeline.round_epochs,
                self._timeline.round_max_steps,
                module.updates,
            )
        )
        if self._collector.predict_then_train:
            self._collector.keep(
                self._round_logger.measured(
                    "predicting", lambda: module.predict(data.fresh_dataloader(), "fresh")
                )
            )

    def _reason_to_stop(self, round: int, score: float) -> str:
        if score > self._best[0]:
            self._best = (score, round)
        if round >= self._method.rounds:
            return "rounds"
        if self._timeline.patience and round - self._best[1] >= self._timeline.patience:
            return "plateau"
        left = self._budget.left if self._budget else None
        if left is not None and round and left < self._dearest_round:
            return "budget"
        return ""

    def _finish(self, trainer: Trainer, module: StudentModule, round: int, reason: str) -> None:
        self.stopped_by = reason
        if self._timeline.final_epochs and self._method.rounds:
            self._move(
                Position(
                    "final",
                    round + 1,
                    0,
                    self._timeline.final_epochs,
                    self._timeline.final_max_steps,
                    module.updates,
                )
            )
        else:
            trainer.should_stop = True

    def _too_small(self, billed_before: int) -> ConfigError:
        budget = self._budget
        limit, billed = (budget.limit, budget.usage.billed) if budget else (0, 0)
        return ConfigError(
            f"budget.tokens={limit:,} is smaller than one round: {billed - billed_before:,} tokens were billed in the first one before it was "
            f"whole, {billed:,} in all. Raise it, or ask for fewer texts a round (method.n_hard, method.n_easy); `tutelage plan` tells the cost."
        )

    def _move(self, position: Position) -> None:
        self._view.position = position

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs, as plain values."""
        return {
            "position": asdict(self.position),
            "best": list(self._best),
            "dearest_round": self._dearest_round,
            "stopped_by": self.stopped_by,
            "method": self._method.state_dict(),
            "desk": self._collector.state_dict(),
            "best_student": self.best_student.state_dict() if self.best_student else None,
            "ledger": self._round_logger.state_dict(),
            "budget": self._budget.state_dict() if self._budget else None,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._move(Position(**state_dict["position"]))
        self._best = (float(state_dict["best"][0]), int(state_dict["best"][1]))
        self._dearest_round = int(state_dict["dearest_round"])
        self.stopped_by = str(state_dict["stopped_by"])
        self._method.load_state_dict(state_dict["method"])
        self._collector.load_state_dict(state_dict["desk"])
        self._round_logger.load_state_dict(state_dict["ledger"])
        if self.best_student:
            self.best_student.load_state_dict(state_dict["best_student"])
        if self._budget and state_dict["budget"]:
            self._budget.load_state_dict(state_dict["budget"])


def _student(module: LightningModule) -> StudentModule:
    assert isinstance(module, StudentModule)
    return module


def _data(trainer: Trainer) -> GrowingDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, GrowingDataModule)
    return data
