"""A Lightning callback that notes how much memory the teacher's engine has, and when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
from pytorch_lightning import Callback


def engine_bytes() -> int:
    """Resident memory of the engine processes that this process has started."""
    found = 0
    for child in psutil.Process().children(recursive=True):
        try:
            if any("vllm_child" in word for word in child.cmdline()):
                found += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return found


class EngineWatch(Callback):
    """Appends ["training" or "grown", bytes] to a file: at each batch, and after each epoch's end.

    Args:
        path: the file, of JSON lines.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self._note("training")

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._note("grown")  # the growth callback comes before the user's own

    def _note(self, when: str) -> None:
        with self._path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps([when, engine_bytes()]) + "\n")
