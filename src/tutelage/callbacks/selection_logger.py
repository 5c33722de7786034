"""Shows the train selector the epoch's rows, and writes down what it chose: selection.jsonl and the shares of data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer

from tutelage.data.growing import GrowingDataModule
from tutelage.runs.folder import RunFolder
from tutelage.student.epoch_view import epoch_view
from tutelage.student.module import StudentModule
from tutelage.student.selection import Selected


class SelectionLogger(Callback):
    """Must come after the growth callback in the Trainer's callbacks.

    LLKD's two readings of "share of data" are both kept: (a) different pool texts ever trained on, of the pool; (b) rows selected, of the
    rows that passed by in all steps (papers in the README). A text counts as trained on when a step was made on it: with ``refill`` a row is
    selected before that, and may never see its step. Where there is no pool the texts are the method's own, and (a) is told of those that
    stood in a batch ("used_of_offered"), which a method with a pool has beside it. Gold rows count in neither.

    Args:
        pool_size: texts that the method may draw from; 0 where it draws from no pool.
        gold: gold target by pool id, for the report only; no selector sees it.
    """

    def __init__(self, folder: RunFolder, pool_size: int, gold: Mapping[str, str]) -> None:
        self._folder = folder
        self._pool_size = pool_size
        self._gold = gold
        self._sources: dict[str, str] = {}
        self._read = 0
        self._used: set[str] = set()
        self._offered: set[str] = set()
        self._passed = self._kept = self._lines = 0

    @property
    def shares(self) -> dict[str, Any]:
        """The shares of data with what they are made of; "unique" is None without a pool, the others before any row passed by.

        "unique_rows": different texts trained on; "offered": those that stood in a batch; "kept" and "passed": rows of all steps.
        """
        return {
            "unique": len(self._used) / self._pool_size if self._pool_size else None,
            "selections": self._kept / self._passed if self._passed else None,
            "used_of_offered": len(self._used) / len(self._offered) if self._offered else None,
            "unique_rows": len(self._used),
            "offered": len(self._offered),
            "pool": self._pool_size,
            "kept": self._kept,
            "passed": self._passed,
        }

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the selector the rows of the epoch, where it asks for them."""
        module, data = _parts(trainer, pl_module)
        if len(data.pool) != self._read:
            self._sources = {
                row.id: row.parents[0] for row in data.pool.rows if row.source == "pool"
            }
            self._read = len(data.pool)
        if module.selector.needs:
            encoder = data.encoder
            module.selector.begin(
                epoch_view(
                    module,
                    data.train_items,
                    encoder.collate,
                    needs=module.selector.needs,
                    blank=encoder.blank,
                )
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the step's line: each row's weight and score, counts by class, what is reported, and how many kept labels are right."""
        module, _ = _parts(trainer, pl_module)
        if (selected := module.selected) is None:
            return
        asked = [index for index, item in enumerate(selected.items) if not item.gold]
        kept = [index for index in asked if selected.weights[index] > 0]
        self._passed += len(asked)
        self._kept += len(kept)
        self._offered.update(self._text_of(selected.items[index].id) for index in asked)
        self._used.update(self._text_of(item.id) for item in module.learnt if not item.gold)
        if not selected.report:
            return  # a selector that keeps everything has nothing to tell
        line = {
            **selected.report,
            "epoch": trainer.current_epoch,
            "updates": module.updates,
            "seen": _by_class(selected, asked),
            "kept": _by_class(selected, kept),
            "right_of_seen": self._right(selected, asked),
            "right_of_kept": self._right(selected, kept),
            "weight": round(float(np.mean(selected.weights[kept])), 4) if kept else None,
            "unique_rows": len(self._used),
            "rows": {
                selected.items[index].id: round(float(selected.weights[index]), 6)
                for index in asked
            },
        }
        if (scores := selected.scores) is not None:
            line["scores"] = {
                selected.items[index].id: round(float(scores[index]), 6)
                if np.isfinite(scores[index])
                else None
                for index in asked
            }
        self._folder.append_line("selection.jsonl", line)
        self._lines += 1

    def _text_of(self, id: str) -> str:
        """The pool text of a row, which may have several (FreeAL's); a generated row is its own."""
        return self._sources.get(id, id)

    def _right(self, selected: Selected, indices: list[int]) -> list[int]:
        """How many of the rows carry their gold target, and of how many it is known."""
        items = [selected.items[index] for index in indices]
        sources = [self._sources.get(item.id, "") for item in items]
        known = [
            (item.target, self._gold[source])
            for item, source in zip(items, sources, strict=True)
            if source in self._gold
        ]
        return [sum(said == gold for said, gold in known), len(known)]

    def state_dict(self) -> dict[str, Any]:
        """Counts, and how many lines were written."""
        return {
            "used": sorted(self._used),
            "offered": sorted(self._offered),
            "passed": self._passed,
            "kept": self._kept,
            "lines": self._lines,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint; lines written after it are taken back."""
        self._used, self._offered = (
            set(state_dict["used"]),
            set(state_dict.get("offered", state_dict["used"])),
        )
        self._passed, self._kept, self._lines = (
            int(state_dict[name]) for name in ("passed", "kept", "lines")
        )
        self._folder.keep_lines("selection.jsonl", self._lines)


def _by_class(selected: Selected, indices: list[int]) -> dict[str, int]:
    """Rows by the place of their class."""
    return {
        str(key): count
        for key, count in sorted(Counter(int(selected.groups[index]) for index in indices).items())
    }


def _parts(trainer: Trainer, module: LightningModule) -> tuple[StudentModule, GrowingDataModule]:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(module, StudentModule)
    assert isinstance(data, GrowingDataModule)
    return module, data
