"""The student of the stage that did best on dev, kept on disk until the run ends (``method.training.keep=best``).

For a run whose rows make the student worse, as a teacher's do who is no better than it: then the student of the first rows, which mostly are
the shots, is the one to have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tutelage.callbacks.whole_file import write_whole
from tutelage.student.schedule import Position


class BestStudent:
    """Weights on disk; which of them count is part of the checkpoint, so that a resumed run keeps what a whole one would.

    Args:
        folder: where the weights lie; it goes when the run ends.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._score = float("-inf")
        self._file = ""
        self.stage: dict[str, Any] | None = None

    def offer(self, score: float, position: Position, network: torch.nn.Module) -> None:
        """A stage ended with this score on dev; of equal ones the later is kept.

        Raises:
            RunError: the disk did not take the weights.
        """
        if not score >= self._score:
            return
        before, self._file = self._file, f"best-{position.round:04d}-{position.stage}.pt"
        write_whole(self._folder / self._file, lambda path: torch.save(network.state_dict(), path))
        name = {"start": "before growth", "final": "after the last passes"}.get(position.stage, f"after round {position.round}")
        self._score, self.stage = score, {"name": name, "stage": position.stage, "round": position.round, "dev": score}
        # The one before stays: a checkpoint that is resumed from may still name it.
        for older in self._folder.glob("best-*.pt"):
            if older.name not in (before, self._file):
                older.unlink()

    def restore(self, network: torch.nn.Module) -> None:
        """Give ``network`` the best weights."""
        device = next(network.parameters()).device
        network.load_state_dict(torch.load(self._folder / self._file, map_location=device, weights_only=True))

    def state_dict(self) -> dict[str, Any]:
        """Plain values; the weights stay where they are."""
        return {"score": self._score, "file": self._file, "stage": self.stage}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._score, self._file, self.stage = float(state["score"]), str(state["file"]), state["stage"]
