"""The LightningDataModule over a pool that grows while the student trains.

Lightning requests loaders more than once per epoch, and again when it resumes, so nothing here
counts calls: the rows of an epoch and their order follow from ``trainer.current_epoch``, the seed
and the pool alone.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, zip_longest
from typing import Any, Protocol

import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from tutelage.data.batching import BucketBatchSampler
from tutelage.data.items import (
    Batch,
    EmptyDataset,
    Item,
    ItemDataset,
    ItemEncoder,
    Items,
    TargetEncoder,
)
from tutelage.data.pool import Pool
from tutelage.errors import ConfigError, DataError, RunError, did_you_mean
from tutelage.ranks import Ranks
from tutelage.records import Example, Row, derive_seed, evenly

LOADERS = ("train", "dev", "fresh", "test", "asked")
"""Names of the loaders; ``val_dataloader`` returns the second and the third, in this order."""

NO_GUIDE = (
    "loss=meta weights rows by their effect on the shots and class names, and this run has none: "
    "set shots=1 or more and training.gold=shots (training.gold=none hides the shots "
    "from the run), student.class_names=true (for classes), or choose another loss=."
)


class TrainingView(Protocol):
    """Chooses the rows of the pool that an epoch trains on.

    Examples are all accepted rows, or the newest rows with a review of older ones.
    """

    @property
    def seed_source(self) -> str:
        """The setting behind the first rows ("shots=1"), named in the error if there are none."""
        ...

    def rows(self, pool: Pool, epoch: int) -> list[Row]:
        """Return the rows of an epoch; a row may occur more than once.

        Must be a pure function of the pool and the epoch.
        """
        ...

    def all_rows(self, pool: Pool) -> list[Row]:
        """Return every row that any epoch could train on by now."""
        ...


class GrowingDataModule(LightningDataModule):
    """Train, dev, fresh and test loaders over a growing pool and two labelled splits.

    Batches are :class:`tutelage.data.items.Batch`.

    Args:
        pool: The ledger of rows; grown by others between epochs.
        task: Turns a row into its target vectors.
        tokenizer: The student's Hugging Face tokenizer.
        dev: Labelled validation examples.
        test: Labelled test examples.
        trusted: Labelled examples (shots and class names) for a reweighting loss; see
            :meth:`guide`.
        unlabelled: Texts of the unlabelled pool that the run may use, for a loss that learns from
            texts alone; see :meth:`unlabelled`.
        batch_size: Rows per training batch.
        eval_batch_size: Rows per batch of dev, fresh and test.
        max_length: Tokens per text, special tokens included; longer texts are cut and counted in
            :attr:`truncated`.
        seed: Together with the epoch determines the order of the training batches.
        view: Chooses the rows of an epoch.
        ranks: The processes that train together; each training batch is divided among them.

    Raises:
        DataError: If a dev or test example has no label.
        ConfigError: If a batch size, ``max_length`` or the tokenizer is unusable.
    """

    def __init__(
        self,
        pool: Pool,
        task: TargetEncoder,
        tokenizer: Any,
        dev: Sequence[Example],
        test: Sequence[Example],
        trusted: Sequence[Example] = (),
        unlabelled: Sequence[str] = (),
        *,
        batch_size: int,
        eval_batch_size: int = 64,
        max_length: int = 128,
        seed: int,
        view: TrainingView,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__()
        self._ranks = ranks or Ranks()
        self.pool = pool
        self.view = view
        self.seed = seed
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self._task = task
        self._encoder = ItemEncoder(task, tokenizer, max_length)
        self._trusted = tuple(trusted)
        self._unlabelled = tuple(unlabelled)
        self._items: dict[str, Items] = {
            "dev": self._encoder.encode(_gold_rows("dev", dev), source="dev"),
            "test": self._encoder.encode(_gold_rows("test", test), source="test"),
        }

    @property
    def truncated(self) -> int:
        """Number of distinct texts longer than ``max_length`` so far."""
        return self._encoder.truncated

    def items(self, loader: str, indices: torch.Tensor | Iterable[int]) -> list[Item]:
        """Return items of a loader as last built.

        Args:
            loader: One of :data:`LOADERS`.
            indices: Their indices, for instance a batch's ``index``, long, [B].

        Raises:
            ConfigError: If there is no such loader, or it has not been built yet.
        """
        if loader not in self._items:
            raise ConfigError(
                f"{did_you_mean('loader', loader, LOADERS)} "
                f"Built so far: {', '.join(sorted(self._items))}."
            )
        positions = indices.tolist() if isinstance(indices, torch.Tensor) else indices
        return [self._items[loader][position] for position in positions]

    @property
    def train_items(self) -> Sequence[Item]:
        """Items of the training loader as last built."""
        return self._items.get("train", ())

    @property
    def encoder(self) -> ItemEncoder:
        """The encoder from rows to items and from items to batches."""
        return self._encoder

    def collate(self, loader: str, positions: Iterable[int]) -> Batch:
        """Return the items at ``positions`` of a loader as one batch."""
        positions = list(positions)
        return self._encoder.collate(zip(positions, self.items(loader, positions), strict=True))

    def guide(self) -> Batch:
        """Return the trusted examples as one batch of at most ``eval_batch_size``.

        If there are more, each class contributes the same number of examples, or all of its own,
        the first ones of a class first. An example counts under a single class, for NER under the
        rarest of its entity types.

        Raises:
            ConfigError: If there are no trusted examples.
        """
        if not self._trusted:
            raise ConfigError(NO_GUIDE)
        if "guide" not in self._items:
            # More shots than fit into a batch are balanced over classes, then cut.
            rows = _gold_rows("shots", self._trusted)
            if len(rows) > self.eval_batch_size:
                rows = self._class_by_class(rows)[: self.eval_batch_size]
            self._items["guide"] = self._encoder.encode(rows)
        return self.collate("guide", range(len(self._items["guide"])))

    def other_rows(self, batch: Batch, step: int) -> Batch:
        """Return random training rows that a batch does not have, as many as it has at most.

        Args:
            batch: A batch of the training loader as last built. If it has every row, they are its
                own.
            step: Number of the step; with the seed it determines the choice.
        """
        rows, own = self._items["train"].rows, batch["index"].tolist()
        # A row may occur more than once in an epoch.
        ids = {rows[position].id for position in own}
        others = [position for position, row in enumerate(rows) if row.id not in ids] or own
        rng = random.Random(derive_seed("other rows", self.seed, step))
        return self.collate("train", rng.sample(others, min(len(own), len(others))))

    def unlabelled(self, count: int, step: int) -> dict[str, torch.Tensor] | None:
        """Return random texts of the unlabelled pool; None if there are none.

        Args:
            count: Number of texts; all if there are fewer.
            step: Number of the step; with the seed it determines the choice.

        Returns:
            "input_ids" and "attention_mask", long, [B, L].
        """
        if not self._unlabelled:
            return None
        rng = random.Random(derive_seed("unlabelled", self.seed, step))
        return self._encoder.inputs(rng.sample(self._unlabelled, min(count, len(self._unlabelled))))

    def _class_by_class(self, rows: list[Row]) -> list[Row]:
        """Take turns: the first row of every class, then the second of every class, and so on."""
        # Shots come class after class, so taking turns needs the class of each.
        counts = Counter(name for row in rows for name in self._task.classes(row.target))
        members: dict[int, list[Row]] = {}
        for row in rows:
            members.setdefault(self._task.group_of(row, counts), []).append(row)
        return [
            row for row in chain.from_iterable(zip_longest(*members.values())) if row is not None
        ]

    def dev_dataloader(self) -> DataLoader[tuple[int, Item]]:
        """Return the dev split, from short to long."""
        return self._evaluation("dev")

    def setup(self, stage: str) -> None:
        """Refuse a Trainer that would keep training on the first rows only.

        Raises:
            ConfigError: If ``reload_dataloaders_every_n_epochs`` is not 1.
        """
        if stage != "fit" or self.trainer is None:
            return
        # The attribute is set at run time, unknown to type checkers.
        every = getattr(self.trainer, "reload_dataloaders_every_n_epochs", 0)
        if every != 1:
            raise ConfigError(
                f"The Trainer has reload_dataloaders_every_n_epochs={every}: "
                "later rows would never be trained on. Set it to 1."
            )

    def train_dataloader(self) -> DataLoader[tuple[int, Item]]:
        """Return batches of the rows that the view chooses for the current epoch.

        On several devices all ranks draw the same batches of ``batch_size`` rows, and each computes
        its share of every one.

        Raises:
            DataError: If it chooses none.
        """
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        rows = self.view.rows(self.pool, epoch)
        if not rows:
            if not self.pool.accepted():
                rejected = len(self.pool)
                why = f" ({rejected} were rejected; pool/rows.jsonl says why)" if rejected else ""
                raise DataError(
                    f"There are no accepted rows to train on: {self.view.seed_source} gave "
                    f"none{why}. Set shots=1 or more with training.gold=shots, or take data or a "
                    "method that gives some."
                )
            raise DataError(
                f"The training view {type(self.view).__name__} chose no rows for epoch {epoch}, "
                f"although the pool has {len(self.pool.accepted())} accepted ones. "
                "Loosen its selection."
            )
        self._items["train"] = self._encoder.encode(rows)
        # Seed and epoch determine the order, so that a resumed epoch is identical.
        sampler = BucketBatchSampler(
            self._items["train"].lengths, self.batch_size, seed=self.seed, epoch=epoch
        )
        return DataLoader(
            ItemDataset(self._items["train"]),
            batch_sampler=sampler,
            collate_fn=self._own_share if self._ranks.several else self._encoder.collate,
            num_workers=0,
        )

    def _own_share(self, rows: Iterable[tuple[int, Item]]) -> Batch:
        """Return this rank's share of a batch, with the indices of the whole one."""
        rows = list(rows)
        batch = self._encoder.collate(rows[position] for position in self._ranks.share(len(rows)))
        batch["whole"] = torch.tensor([index for index, _ in rows])
        # With fewer rows than ranks, a rank computes the first row once more, at weight 0.
        if self._ranks.rank >= len(rows):
            batch["weights"] = torch.zeros_like(batch["weights"])
        return batch

    def val_dataloader(self) -> list[DataLoader[tuple[int, Item]]]:
        """Return two loaders: dev, and the possibly empty :meth:`fresh_dataloader`."""
        return [self.dev_dataloader(), self.fresh_dataloader()]

    def fresh_dataloader(self) -> DataLoader[tuple[int, Item]]:
        """Return the accepted rows of the newest round with rows, short to long."""
        # Rejected rows count here: a round may have produced nothing else.
        fresh = [row for row in self.pool.of_round(self.pool.newest_round) if row.accepted]
        self._items["fresh"] = self._encoder.encode(fresh)
        return self._evaluation("fresh")

    def asked_dataloader(self, rows: Sequence[Row]) -> DataLoader[tuple[int, Item]]:
        """Return rows that a method asks the student about, short to long.

        Args:
            rows: The rows, which need not be in the pool.
        """
        self._items["asked"] = self._encoder.encode(rows)
        return self._evaluation("asked")

    def all_rows_dataloader(
        self, leaves_out: Callable[[str], bool] | None = None, most: int | None = None
    ) -> DataLoader[tuple[int, Item]]:
        """Return every row that can be trained on by now, short to long.

        Args:
            leaves_out: Tells by its id whether a row with a teacher's label stays away.
            most: Of more rows with a teacher's label, take this number at even distances.
        """
        rows = self.view.all_rows(self.pool)
        if leaves_out is not None:
            rows = [row for row in rows if row.given or not leaves_out(row.id)]
        labelled = [row for row in rows if not row.given]
        if most is not None and len(labelled) > most:
            rows = [*(row for row in rows if row.given), *evenly(labelled, most)]
        return self.asked_dataloader(rows)

    def test_dataloader(self) -> DataLoader[tuple[int, Item]]:
        """Return the test split, from short to long."""
        return self._evaluation("test")

    def state_dict(self) -> dict[str, Any]:
        """Return length and hash of the pool; the rows themselves are in its file."""
        return {"length": len(self.pool), "digest": self.pool.digest()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Cut the pool back to its state at the checkpoint.

        Raises:
            RunError: If the pool does not match the checkpoint, or the checkpoint is not from this
                module.
        """
        if not {"length", "digest"} <= state_dict.keys():
            raise RunError(
                "The checkpoint contains no pool length and hash, "
                "so it is not from a tutelage run. Start the run again from the beginning."
            )
        # The pool itself verifies that it matches the checkpoint.
        self.pool.truncate(int(state_dict["length"]), str(state_dict["digest"]))

    def _evaluation(self, name: str) -> DataLoader[tuple[int, Item]]:
        items = self._items[name]
        if not items:
            return DataLoader(EmptyDataset(), collate_fn=self._encoder.collate, num_workers=0)
        sampler = BucketBatchSampler(items.lengths, self.eval_batch_size, shuffle=False)
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
                f"The {split} example '{example.id}' ({example.text[:60]!r}) has no label, "
                "but evaluation needs one. Label it, or remove it."
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
