"""The numbers of each stage for Lightning's loggers (conf/logger: csv, tensorboard, mlflow, …)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytorch_lightning import Trainer

from tutelage.timeline import Position


class StageMetrics:
    """Sends ``dev/<metric>``, ``train_loss``, ``round`` and ``billed_tokens`` as a stage ends.

    A logger of a resumed run begins afresh (CSVLogger removes its file), so the lines sent so far
    are part of the checkpoint and are sent again.
    """

    def __init__(self) -> None:
        self._lines: list[dict[str, float]] = []

    def send(
        self,
        trainer: Trainer,
        position: Position,
        dev: Mapping[str, Any],
        train_loss: float | None,
        billed_tokens: int,
    ) -> None:
        """Sends one line to every logger; its step is the number of optimizer steps.

        Args:
            trainer: The trainer with its loggers.
            position: Position at the end of the stage.
            dev: Metrics on dev; only its numbers are sent.
            train_loss: Training loss of the last epoch; None if unknown.
            billed_tokens: Tokens billed so far.
        """
        if not trainer.loggers:
            return
        line = {f"dev/{key}": value for key, value in dev.items() if isinstance(value, float)}
        if train_loss is not None:
            line["train_loss"] = train_loss
        line |= {"round": position.round, "billed_tokens": billed_tokens}
        self._lines.append({**line, "step": trainer.global_step})
        self._log(trainer, self._lines[-1:])

    def send_again(self, trainer: Trainer) -> None:
        """Sends the lines of the stages before a resume."""
        self._log(trainer, self._lines)

    def _log(self, trainer: Trainer, lines: Sequence[Mapping[str, float]]) -> None:
        for logger in trainer.loggers:
            for line in lines:
                numbers = {key: value for key, value in line.items() if key != "step"}
                logger.log_metrics(numbers, step=int(line["step"]))
            logger.save()  # a killed run keeps its lines

    def state_dict(self) -> list[dict[str, float]]:
        """Returns the lines sent so far."""
        return list(self._lines)

    def load_state_dict(self, state: Sequence[Mapping[str, float]]) -> None:
        """Restores the lines of a checkpoint."""
        self._lines = [dict(line) for line in state]
