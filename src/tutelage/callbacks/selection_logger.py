"""Records of the train selector: its choice per step in selection.jsonl, and the shares of data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer

from tutelage.data.growing import GrowingDataModule
from tutelage.data.pool import RowReader
from tutelage.records import derive_seed
from tutelage.runs.folder import RunFolder
from tutelage.student.epoch_view import DIRECTIONS, epoch_view, moments_of
from tutelage.student.held_out import HeldOut
from tutelage.student.module import StudentModule
from tutelage.student.selection import Selected


class SelectionLogger(Callback):
    """Shows the train selector the rows of each epoch, and records its choices.

    LLKD's "share of data" has two readings, and both are kept: (a) distinct pool texts ever trained
    on, as a share of the pool; (b) rows selected, as a share of the rows seen in all steps. A text
    counts as trained on after an optimizer step: with ``refill``, a row is selected earlier and may
    never reach its step. Without a pool the texts are generated ones, and (a) relates to all texts
    seen in a batch ("used_of_offered", also recorded with a pool). Gold rows count in neither.

    Must come after the growth callback in the Trainer's callbacks.

    Args:
        folder: The run folder.
        pool_size: Number of texts the method may draw from; 0 without a pool.
        gold: Gold target by pool id, for the report only; no selector sees it.
        held_out: Scores rows for selectors that need it.
    """

    def __init__(
        self,
        folder: RunFolder,
        pool_size: int,
        gold: Mapping[str, str],
        held_out: HeldOut | None = None,
    ) -> None:
        self._folder = folder
        self._pool_size = pool_size
        self._gold = gold
        self._held_out = held_out
        self._sources: dict[str, str] = {}
        self._reader = RowReader()
        self._used: set[str] = set()
        self._offered: set[str] = set()
        self._passed = self._kept = self._lines = 0

    @property
    def shares(self) -> dict[str, Any]:
        """The shares of data, and the counts behind them.

        Returns:
            "unique": reading (a), None without a pool. "selections": reading (b).
            "used_of_offered": (a) without a pool. "unique_rows": distinct texts trained on.
            "offered": distinct texts seen in a batch. "pool": texts of the pool. "kept" and
            "passed": rows selected and seen in all steps. Shares are None before the first row.
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
        """Shows the selector the rows of the epoch, if it needs them."""
        module, data = _student_and_data(trainer, pl_module)
        # Map new rows of the pool to their texts, once per growth.
        new, anew = self._reader.read(data.pool)
        if anew:
            self._sources = {}
        self._sources |= {row.id: row.parents[0] for row in new if row.source == "pool"}
        # Most selectors decide batch by batch and need no view of the epoch.
        if module.selector.needs:
            encoder, needs = data.encoder, module.selector.needs
            module.selector.begin(
                epoch_view(
                    module,
                    data.train_items,
                    encoder.collate,
                    needs=needs,
                    blank=encoder.blank,
                    held_out=self._held_out,
                    moments=(
                        moments_of(module, trainer.optimizers[0]) if "updates" in needs else None
                    ),
                    rate=module.epoch_rate,
                    directions=getattr(module.selector, "directions", DIRECTIONS),
                    seed=derive_seed("projection", data.seed, bits=31),
                )
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Writes the line of a step.

        It holds weight and score of each row, counts by class, the number of correct labels, and
        the selector's own report.
        """
        # Count the rows; gold ones are no choice.
        module, _ = _student_and_data(trainer, pl_module)
        if (selected := module.selected) is None:
            return
        asked = [index for index, item in enumerate(selected.items) if not item.gold]
        kept = [index for index in asked if selected.weights[index] > 0]
        self._passed += len(asked)
        self._kept += len(kept)
        self._offered.update(self._text_of(selected.items[index].id) for index in asked)
        self._used.update(self._text_of(item.id) for item in module.learnt if not item.gold)
        if not selected.report:
            return  # a selector that keeps everything has nothing to report

        # Write the line.
        line = {
            **selected.report,
            "epoch": trainer.current_epoch,
            "steps": module.steps,
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
        # Not every selector scores rows, and NaN is not valid JSON.
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
        """Returns the id of a row's pool text (FreeAL relabels texts), or of a generated row."""
        return self._sources.get(id, id)

    def _right(self, selected: Selected, indices: list[int]) -> list[int]:
        """Returns the number of rows with their gold target, and of those with a known one."""
        # Generated rows have no gold target.
        items = [selected.items[index] for index in indices]
        sources = [self._sources.get(item.id, "") for item in items]
        known = [
            (item.target, self._gold[source])
            for item, source in zip(items, sources, strict=True)
            if source in self._gold
        ]
        return [sum(target == gold for target, gold in known), len(known)]

    def state_dict(self) -> dict[str, Any]:
        """Returns the counts, and the number of lines."""
        return {
            "used": sorted(self._used),
            "offered": sorted(self._offered),
            "passed": self._passed,
            "kept": self._kept,
            "lines": self._lines,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the state of a checkpoint; lines written after it are removed."""
        self._used, self._offered = (
            set(state_dict["used"]),
            set(state_dict.get("offered", state_dict["used"])),
        )
        self._passed, self._kept, self._lines = (
            int(state_dict[name]) for name in ("passed", "kept", "lines")
        )
        self._folder.keep_lines("selection.jsonl", self._lines)


def _by_class(selected: Selected, indices: list[int]) -> dict[str, int]:
    """Returns the number of rows by group (class index)."""
    return {
        str(key): count
        for key, count in sorted(Counter(int(selected.groups[index]) for index in indices).items())
    }


def _student_and_data(
    trainer: Trainer, module: LightningModule
) -> tuple[StudentModule, GrowingDataModule]:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(module, StudentModule)
    assert isinstance(data, GrowingDataModule)
    return module, data
