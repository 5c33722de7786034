"""Growth of a run: at the end of a stage the method adds rows, and the next stage trains on them.

Everything happens in ``on_train_epoch_end`` and depends only on the position in the run. Validation
has just finished, and Lightning rebuilds the training loader before the next epoch
(``reload_dataloaders_every_n_epochs=1``). The checkpoint is saved after growth, so it always holds
a complete round. One ``Trainer.fit`` is the whole run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from tutelage.callbacks.checkpoint import BestStudent, packed, unpacked
from tutelage.callbacks.feedback import FeedbackCollector
from tutelage.callbacks.round_logger import RoundLogger
from tutelage.callbacks.stage_metrics import StageMetrics
from tutelage.data.growing import GrowingDataModule
from tutelage.data.training_view import RoundView
from tutelage.errors import BudgetExhausted, ConfigError
from tutelage.methods.base import Method, fewer_texts
from tutelage.records import Feedback
from tutelage.run_warnings.rounds import RoundWatch
from tutelage.student.module import StudentModule
from tutelage.teacher.wrappers.budget import BudgetedTeacher
from tutelage.timeline import Position, Timeline


class GrowthCallback(Callback):
    """Moves a run from stage to stage.

    Args:
        method: Grows the pool.
        timeline: Lengths of the stages, and the rule for ending growth.
        view: The training view, which holds the position of the run.
        collector: Collects the feedback for the method.
        round_logger: Writes the results of each stage.
        budget: Counts the method's tokens; None without a teacher.
        best: Keeps the best student of the run; None ends the run with the last one.
        release_teacher: Called before a stage trains, so that the teacher's engine can give its
            memory back (``teacher.lifecycle``).
        watch: Tells the user of rounds that bring nothing.
        new_weights: Returns the weights of a new student, which the final stage then starts from
            (``training.final_student=new``); None continues with the trained one.
        round_weights: The same for each round (``training.round_student=new``).
        prefetch: Called before a stage trains with the number of the round that follows it, to ask
            the teacher for it meanwhile (``training.prefetch``).

    Attributes:
        best_student: The ``best`` argument.
        stopped_by: Why growth ended: "rounds", "plateau", "budget", "nothing accepted" or "nothing
            to learn"; "" before that.

    Raises:
        ConfigError: A stage length is out of range.
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
        watch: RoundWatch | None = None,
        new_weights: Callable[[], Mapping[str, Any]] | None = None,
        round_weights: Callable[[], Mapping[str, Any]] | None = None,
        prefetch: Callable[[int], None] | None = None,
    ) -> None:
        if timeline.start_epochs < 1 or timeline.round_epochs < 1 or timeline.final_epochs < 0:
            raise ConfigError(
                "training.start_epochs and training.round_epochs must be 1 or more, and "
                f"training.final_epochs 0 or more; got {timeline}."
            )
        if new_weights is not None and not timeline.final_epochs:
            raise ConfigError(
                "training.final_student=new learns in the final stage, and training.final_epochs=0 "
                "leaves it out. Give training.final_epochs=10, or training.final_student=trained."
            )
        # Parts of the run.
        self._method = method
        self._timeline = timeline
        self._view = view
        self._collector = collector
        self._round_logger = round_logger
        self._budget = budget
        self.best_student = best
        self._release_teacher = release_teacher or (lambda: None)
        self._watch = watch
        self._new_weights = new_weights
        self._round_weights = round_weights
        self._prefetch = prefetch or (lambda _: None)
        # State of the run; all but the clock is part of the checkpoint.
        self._epoch_began = 0.0
        self._best_score, self._best_round = -1.0, 0
        self._costliest_round = 0
        self._empty, self._known = 0, 0
        self._metrics = StageMetrics()
        self.stopped_by = ""
        self._move_to(Position("start", 0, 0, timeline.start_epochs, timeline.start_max_steps))

    @property
    def position(self) -> Position:
        """The position of the run."""
        return self._view.position

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives the student the position of the run, which is not the start after a resume."""
        _student(pl_module).position = self.position
        self._metrics.send_again(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepares an epoch; only the last one of a stage is validated, for its outcomes."""
        _student(pl_module).position = self.position
        # The student may need the memory of the teacher's engine.
        if self.position.index == 0:
            self._release_teacher()
            if self.position.stage != "final" and self.position.round < self._method.rounds:
                self._prefetch(self.position.round + 1)
        # On several devices the first one predicts alone, while the others wait.
        validates = self.position.last and trainer.world_size == 1
        trainer.limit_val_batches = 1.0 if validates else 0
        self._epoch_began = time.perf_counter()
        self._round_logger.training(self.position)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Moves on to the next epoch; at the end of a stage, evaluates it and grows the pool."""
        position, module, data = self.position, _student(pl_module), _data(trainer)
        self._round_logger.spend("training", time.perf_counter() - self._epoch_began)
        if not position.last and not position.spent(module.steps):
            self._move_to(replace(position, index=position.index + 1))
            return
        if not position.last or trainer.world_size > 1:
            # The stage ends early, after its optimizer steps, or several devices train. Lightning
            # has not validated this epoch, so predict here.
            self._round_logger.measured(
                "testing", lambda: module.predict(data.dev_dataloader(), "dev")
            )
            self._round_logger.measured(
                "testing", lambda: module.predict(data.fresh_dataloader(), "fresh")
            )

        # Evaluate the stage. Test counts only in reported stages; no decision ever uses it.
        dev, fresh = module.outcomes["dev"], module.outcomes["fresh"]
        reported = (
            self._timeline.test_every_round
            or position.stage != "round"
            or not self._timeline.final_epochs
        )
        test = (
            self._round_logger.measured(
                "testing", lambda: module.predict(data.test_dataloader(), "test")
            )
            if reported
            else None
        )
        # Lightning keeps the value of an earlier stage where this one made no step.
        made_steps = module.steps > position.steps_before
        loss = trainer.callback_metrics.get("train_loss") if made_steps else None
        train_loss = None if loss is None else float(loss)
        scores = self._round_logger.close_stage(
            position, trainer.current_epoch, dev, fresh, test, train_loss, self._budget
        )
        self._metrics.send(trainer, position, scores, train_loss, self._billed)
        score = float(scores[module.task.monitor])
        if self.best_student:
            self.best_student.offer(score, position, module.network)

        # Start the next stage: a grown round, the final passes, or the end of the run.
        if position.stage == "final":
            trainer.should_stop = True
            return
        if score > self._best_score:
            self._best_score, self._best_round = score, position.round
        if position.stage == "round":
            self._judge(data, position.round)
        if reason := self._stop_reason(position.round):
            self._finish(trainer, module, position.round, reason)
        else:
            self._grow(
                trainer,
                module,
                data,
                self._collector.feedback(fresh, position.round + 1, scores["per_class"], dev),
                position.round + 1,
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restores the best student, if it is not the last one, and records its test results."""
        if self.best_student is None or self.best_student.stage is None:
            return
        kept, last, module = self.best_student.stage, self.position, _student(pl_module)
        if (kept["round"], kept["stage"]) != (last.round, last.stage):
            # The reported numbers and the saved weights must belong to the same student.
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
        # Ask the method for rows. Without any generated row, the first round must fit the budget.
        billed_before = self._billed
        self._round_logger.growing(round)
        try:
            growth = self._method.next_rows(feedback, round)
        except BudgetExhausted:
            if round == 1 and not any(not row.given for row in data.pool.rows):
                raise self._budget_error(billed_before) from None
            self._finish(trainer, module, round - 1, "budget")
            return

        # A method that asked the student in between followed more than it was given.
        if growth.feedback is not None:
            feedback = growth.feedback
            self._collector.export(feedback, round)

        # Record them, and begin the stage that trains on them.
        data.pool.append(growth.rows)
        self._round_logger.write_growth(growth)
        if self._watch:
            self._watch.aimed(feedback, round)
            self._watch.grown(growth)
        self._costliest_round = max(self._costliest_round, self._billed - billed_before)
        self._move_to(
            Position(
                "round",
                round,
                0,
                self._timeline.round_epochs,
                self._timeline.round_max_steps,
                module.steps,
            )
        )

        # The student's predictions before training are the feedback for the round after this one.
        if self._collector.predict_then_train:
            self._collector.keep(
                self._round_logger.measured(
                    "predicting", lambda: module.predict(data.fresh_dataloader(), "fresh")
                )
            )
        # The old student has chosen and predicted the rows of the round; a new one learns them.
        self._start_anew(trainer, module, self._round_weights)

    def _judge(self, data: GrowingDataModule, round: int) -> None:
        """Counts the rounds in a row that taught nothing."""
        accepted = any(row.accepted for row in data.pool.of_round(round))
        self._empty = 0 if accepted else self._empty + 1
        # Predictions before training tell what the rows of a round could still teach.
        known = self._collector.before_training
        self._known = self._known + 1 if known and all(one.correct for one in known) else 0

    def _stop_reason(self, round: int) -> str:
        """Returns why growth ends after a round; "" if it continues."""
        if round >= self._method.rounds:
            return "rounds"
        # Where nothing comes of several rounds, nothing will come of the next one.
        limit = self._timeline.stop_after_empty
        if limit and self._empty >= limit:
            return "nothing accepted"
        limit = self._timeline.stop_after_known
        if limit and self._known >= limit:
            return "nothing to learn"
        # Without a better dev score for several rounds, growth has stopped helping.
        if self._timeline.patience and round - self._best_round >= self._timeline.patience:
            return "plateau"
        # A round as expensive as the costliest one so far would not be completed.
        left = self._budget.left if self._budget else None
        if left is not None and round and left < self._costliest_round:
            return "budget"
        return ""

    def _finish(self, trainer: Trainer, module: StudentModule, round: int, reason: str) -> None:
        """Ends growth after a round; the final stage follows, if there is one."""
        self.stopped_by = reason
        # A run without rounds has trained on everything already.
        if self._timeline.final_epochs and self._method.rounds:
            self._start_anew(trainer, module, self._new_weights)
            self._move_to(
                Position(
                    "final",
                    round + 1,
                    0,
                    self._timeline.final_epochs,
                    self._timeline.final_max_steps,
                    module.steps,
                )
            )
        else:
            trainer.should_stop = True

    def _start_anew(
        self,
        trainer: Trainer,
        module: StudentModule,
        weights: Callable[[], Mapping[str, Any]] | None,
    ) -> None:
        """Gives the next stage a new student, if it has one.

        The checkpoint that follows holds it, so a resumed run goes on from there.
        """
        if weights is not None:
            module.start_anew(weights())
            trainer.optimizers[0].state.clear()

    @property
    def _billed(self) -> int:
        return self._budget.usage.billed if self._budget else 0

    def _budget_error(self, billed_before: int) -> ConfigError:
        limit = self._budget.limit if self._budget else 0
        return ConfigError(
            f"budget.tokens={limit:,} is smaller than one round: "
            f"{self._billed - billed_before:,} tokens were billed before the first round was "
            f"complete, {self._billed:,} in all. Raise it, or {fewer_texts(self._method)}; "
            "`tutelage plan` estimates the cost."
        )

    def _move_to(self, position: Position) -> None:
        self._view.position = position

    def state_dict(self) -> dict[str, Any]:
        """Returns everything a resumed run needs, as plain values."""
        return {
            "position": asdict(self.position),
            "best_score": self._best_score,
            "best_round": self._best_round,
            "costliest_round": self._costliest_round,
            "empty_rounds": [self._empty, self._known],
            "stopped_by": self.stopped_by,
            "method": packed(self._method.state_dict()),
            "collector": self._collector.state_dict(),
            "best_student": self.best_student.state_dict() if self.best_student else None,
            "round_logger": self._round_logger.state_dict(),
            "budget": self._budget.state_dict() if self._budget else None,
            "metrics": self._metrics.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the state of a checkpoint."""
        self._move_to(Position(**state_dict["position"]))
        self._best_score = float(state_dict["best_score"])
        self._best_round = int(state_dict["best_round"])
        self._costliest_round = int(state_dict["costliest_round"])
        self._empty, self._known = map(int, state_dict["empty_rounds"])
        self.stopped_by = str(state_dict["stopped_by"])
        # The method was set up on the pool of this checkpoint before.
        self._method.load_state_dict(unpacked(state_dict["method"]))
        self._collector.load_state_dict(state_dict["collector"])
        self._round_logger.load_state_dict(state_dict["round_logger"])
        self._metrics.load_state_dict(state_dict["metrics"])
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
