"""The LightningDataModule over a pool that grows while the student trains.

Lightning asks for loaders more than once an epoch, also when it resumes, so nothing here counts calls: what is trained on, and in
which order, follows from ``trainer.current_epoch``, the seed and the pool alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import Any, Protocol

import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from tutelage.data.batching import BucketBatchSampler
from tutelage.data.items import Batch, EmptyDataset, Item, ItemDataset, ItemEncoder, TargetEncoder
from tutelage.data.pool import Pool
from tutelage.errors import ConfigError, DataError, RunError, did_you_mean
from tutelage.records import Example, Row

LOADERS = ("train", "dev", "fresh", "test")
"""Names of the loaders; ``val_dataloader`` gives the second and third, in this order."""


NO_GUIDE = (
    "loss=meta weighs rows by what they do to the shots, and this run has none: give shots=1 or more and method.training.gold=shots "
    "(gold=none keeps them from the run), or choose another loss=."
)


class TrainingView(Protocol):
    """Decides which rows of the pool an epoch trains on (all accepted ones, the newest with a review of older ones, …)."""

    @property
    def seed_source(self) -> str:
        """Where the first rows come from, as a user would set it ("method.shots=1"), for the error when there are none."""
        ...

    def rows(self, pool: Pool, epoch: int) -> list[Row]:
        """The rows of ``epoch``; a row may stand more than once. A pure function of the pool and the epoch."""
        ...


class GrowingDataModule(LightningDataModule):
    """Train, dev, fresh and test loaders over ``pool`` and two labelled splits; batches are :class:`tutelage.data.items.Batch`.

    Args:
        task: turns a row into its target vector.
        tokenizer: the student's.
        trusted: labelled examples (the shots) that a reweighting loss looks at; see :meth:`guide`.
        view: which rows an epoch trains on.
        max_length: longer texts are cut and counted in :attr:`truncated`.
        seed: with the epoch, decides the order of the batches.

    Raises:
        DataError: a dev or test example has no label.
        ConfigError: a batch size, ``max_length`` or the tokenizer is not usable.
    """

    def __init__(
        self,
        pool: Pool,
        task: TargetEncoder,
        tokenizer: Any,
        dev: Sequence[Example],
        test: Sequence[Example],
        trusted: Sequence[Example] = (),
        *,
        batch_size: int,
        eval_batch_size: int = 64,
        max_length: int = 128,
        seed: int,
        view: TrainingView,
    ) -> None:
        super().__init__()
        self.pool = pool
        self.view = view
        self.seed = seed
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self._task = task
        self._encoder = ItemEncoder(task, tokenizer, max_length)
        self._trusted = tuple(trusted)
        self._items: dict[str, tuple[Item, ...]] = {
            "dev": tuple(self._encoder.encode(_gold_rows("dev", dev), source="dev")),
            "test": tuple(self._encoder.encode(_gold_rows("test", test), source="test")),
        }

    @property
    def truncated(self) -> int:
        """How many different texts were longer than ``max_length`` so far."""
        return self._encoder.truncated

    def items(self, loader: str, indices: torch.Tensor | Iterable[int]) -> list[Item]:
        """The items at ``indices`` (a batch's ``index``) of the loader of that name, as it was last built.

        Raises:
            ConfigError: there is no loader of that name, or it was not built yet.
        """
        if loader not in self._items:
            raise ConfigError(
                f"{did_you_mean('loader', loader, LOADERS)} Built so far: {', '.join(sorted(self._items))}."
            )
        positions = indices.tolist() if isinstance(indices, torch.Tensor) else indices
        return [self._items[loader][position] for position in positions]

    @property
    def train_items(self) -> tuple[Item, ...]:
        """The items of the training loader as it was last built."""
        return self._items.get("train", ())

    @property
    def encoder(self) -> ItemEncoder:
        """What turns rows into items and items into batches."""
        return self._encoder

    def collate(self, loader: str, positions: Iterable[int]) -> Batch:
        """A batch of the items at ``positions`` of a loader."""
        positions = list(positions)
        return self._encoder.collate(zip(positions, self.items(loader, positions), strict=True))

    def guide(self) -> Batch:
        """The trusted examples as one batch, at most one evaluation batch of them: then of each class as many as of any other, or all.

        The class is the one that an example is counted under, for NER the rarest that it holds. Of a class the first ones are taken.

        Raises:
            ConfigError: there are none.
        """
        if not self._trusted:
            raise ConfigError(NO_GUIDE)
        if "guide" not in self._items:
            rows = _gold_rows("shots", self._trusted)
            if len(rows) > self.eval_batch_size:
                rows = self._class_by_class(rows)[: self.eval_batch_size]
            self._items["guide"] = tuple(self._encoder.encode(rows))
        return self.collate("guide", range(len(self._items["guide"])))

    def _class_by_class(self, rows: list[Row]) -> list[Row]:
        """The first of every class, then the second of every class, and so on; shots come class after class."""
        counts = Counter(name for row in rows for name in self._task.classes(row.target))
        members: dict[int, list[Row]] = {}
        for row in rows:
            members.setdefault(self._task.group_of(row, counts), []).append(row)
        return [
            row for row in chain.from_iterable(zip_longest(*members.values())) if row is not None
        ]

    def dev_dataloader(self) -> DataLoader[tuple[int, Item]]:
        """The dev split, from short to long."""
        return self._evaluation("dev")

    def setup(self, stage: str) -> None:
        """Refuse a Trainer that would go on training on the first rows only.

        Raises:
            ConfigError: ``reload_dataloaders_every_n_epochs`` is not 1.
        """
        if stage != "fit" or self.trainer is None:
            return
        every = getattr(
            self.trainer, "reload_dataloaders_every_n_epochs", 0
        )  # set at run time, unknown to type checkers
        if every != 1:
            raise ConfigError(
                f"The Trainer has reload_dataloaders_every_n_epochs={every}: rows that come later would never be trained on. Set it to 1."
            )

    def train_dataloader(self) -> DataLoader[tuple[int, Item]]:
        """Batches of the rows that the view gives for the current epoch.

        Raises:
            DataError: there are none.
        """
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        rows = self.view.rows(self.pool, epoch)
        if not rows:
            if not self.pool.accepted():
                rejected = f" ({len(self.pool)} rows were rejected)" if len(self.pool) else ""
                raise DataError(
                    f"There are no accepted rows to train on: {self.view.seed_source} gave none{rejected}. "
                    "Give more shots, or a pool with labels."
                )
            raise DataError(
                f"The training view {type(self.view).__name__} gave no rows for epoch {epoch}, though the pool has "
                f"{len(self.pool.accepted())} accepted ones. Loosen its selection."
            )
        self._items["train"] = tuple(self._encoder.encode(rows))
        lengths = [len(item.token_ids) for item in self._items["train"]]
        sampler = BucketBatchSampler(lengths, self.batch_size, seed=self.seed, epoch=epoch)
        return DataLoader(
            ItemDataset(self._items["train"]),
            batch_sampler=sampler,
            collate_fn=self._encoder.collate,
            num_workers=0,
        )

    def val_dataloader(self) -> list[DataLoader[tuple[int, Item]]]:
        """Two loaders: dev, and the accepted rows of the newest round that has rows; the second may be empty."""
        return [self.dev_dataloader(), self.fresh_dataloader()]

    def fresh_dataloader(self) -> DataLoader[tuple[int, Item]]:
        """The accepted rows of the newest round that has rows, from short to long."""
        newest = max((row.round for row in self.pool.rows), default=0)
        fresh = [row for row in self.pool.of_round(newest) if row.accepted]
        self._items["fresh"] = tuple(self._encoder.encode(fresh))
        return self._evaluation("fresh")

    def test_dataloader(self) -> DataLoader[tuple[int, Item]]:
        """The test split, from short to long."""
        return self._evaluation("test")

    def state_dict(self) -> dict[str, Any]:
        """The pool's length and hash; the rows themselves are in its file."""
        return {"length": len(self.pool), "digest": self.pool.digest()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Cut the pool back to what it was at the checkpoint.

        Raises:
            RunError: the pool is not the checkpoint's, or the checkpoint is not of this module.
        """
        if not {"length", "digest"} <= state_dict.keys():
            raise RunError(
                "The checkpoint holds no pool length and hash, so it is not of a tutelage run. Start the run anew."
            )
        self.pool.truncate(int(state_dict["length"]), str(state_dict["digest"]))

    def _evaluation(self, name: str) -> DataLoader[tuple[int, Item]]:
        items = self._items[name]
        if not items:
            return DataLoader(EmptyDataset(), collate_fn=self._encoder.collate, num_workers=0)
        sampler = BucketBatchSampler(
            [len(item.token_ids) for item in items], self.eval_batch_size, shuffle=False
        )
        return DataLoader(
            ItemDataset(items),
            batch_sampler=sampler,
            collate_fn=self._encoder.collate,
            num_workers=0,
        )


def _gold_rows(split: str, examples: Sequence[Example]) -> list[Row]:
    rows = []
    for example in examples:
        if example.label is None:
            raise DataError(
                f"The {split} example '{example.id}' ({example.text[:60]!r}) has no label, and evaluation needs one. "
                "Label it, or take it out."
            )
        rows.append(
            Row(
                id=example.id,
                text=example.text,
                target=example.label,
                source="gold",
                round=0,
                accepted=True,
            )
        )
    return rows
