"""Rows as a DataLoader sees them: tokenised once, padded batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, IterableDataset

from tutelage.errors import ConfigError
from tutelage.records import Row


class TargetEncoder(Protocol):
    """The one thing that a loader needs of a task."""

    def target_vector(self, row: Row) -> Sequence[float]:
        """The row's target over the classes, one-hot or soft."""
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """One row, ready for the student.

    Attributes:
        source: the row's source, or the split's name ("dev", "test").
        token_ids: at most the module's ``max_length``, special tokens included.
        vector: the target over the classes.
    """

    id: str
    text: str
    target: str
    source: str
    round: int
    weight: float
    token_ids: tuple[int, ...]
    vector: tuple[float, ...]


class Batch(TypedDict):
    """B items, L tokens of the longest one, C classes.

    Keys:
        input_ids, attention_mask: long, [B, L].
        targets: float, [B, C], soft or one-hot.
        weights: float, [B].
        index: long, [B]; place of each in ``loader.dataset.items``.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    index: torch.Tensor


class ItemDataset(Dataset[tuple[int, Item]]):
    """Items by place. The place travels with the item, so that hooks can find it again."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = tuple(items)

    def __len__(self) -> int:
        """The number of items."""
        return len(self.items)

    def __getitem__(self, place: int) -> tuple[int, Item]:
        """The item with its place."""
        return place, self.items[place]


class EmptyDataset(IterableDataset[tuple[int, Item]]):
    """No items. It has no length on purpose: Lightning warns of a loader of length zero, and here one is expected."""

    items: tuple[Item, ...] = ()

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        """Give nothing."""
        return iter(())


class ItemEncoder:
    """Tokenises each row once, by its id, and counts those that were cut.

    Args:
        tokenizer: a Hugging Face tokenizer with a padding token.
        max_length: tokens of the longest item, special tokens included.

    Raises:
        ConfigError: the tokenizer has no padding token, or ``max_length`` leaves no room.
    """

    def __init__(self, task: TargetEncoder, tokenizer: Any, max_length: int) -> None:
        if tokenizer.pad_token_id is None:
            raise ConfigError(f"The tokenizer of {tokenizer.name_or_path} has no padding token; choose another student.model=.")
        if max_length <= (special := tokenizer.num_special_tokens_to_add()):
            raise ConfigError(f"student.max_length={max_length} leaves no room beside {special} special tokens; give more.")
        self._task = task
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._token_ids: dict[str, tuple[int, ...]] = {}
        self._cut: set[str] = set()

    @property
    def truncated(self) -> int:
        """How many different rows were longer than ``max_length``."""
        return len(self._cut)

    def encode(self, rows: Sequence[Row], source: str | None = None) -> list[Item]:
        """Items of ``rows``, in order; ``source`` replaces the rows' own."""
        new = {row.id: row.text for row in rows if row.id not in self._token_ids}
        if new:
            # Whole first, to know which are too long; only those are tokenised again.
            whole = self._tokenizer(list(new.values()), add_special_tokens=True, truncation=False, verbose=False)["input_ids"]
            for id, text, ids in zip(new, new.values(), whole, strict=True):
                if len(ids) > self._max_length:
                    self._cut.add(id)
                    ids = self._tokenizer(text, truncation=True, max_length=self._max_length)["input_ids"]
                self._token_ids[id] = tuple(ids)
        return [
            Item(
                id=row.id,
                text=row.text,
                target=row.target,
                source=source or row.source,
                round=row.round,
                weight=row.weight,
                token_ids=self._token_ids[row.id],
                vector=tuple(self._task.target_vector(row)),
            )
            for row in rows
        ]

    def collate(self, placed: Iterable[tuple[int, Item]]) -> Batch:
        """Pad items to the longest of them."""
        places, items = zip(*placed, strict=True)
        ids = [torch.tensor(item.token_ids, dtype=torch.long) for item in items]
        return Batch(
            input_ids=pad_sequence(ids, batch_first=True, padding_value=self._tokenizer.pad_token_id),
            attention_mask=pad_sequence([torch.ones_like(row) for row in ids], batch_first=True, padding_value=0),
            targets=torch.tensor([item.vector for item in items], dtype=torch.float32),
            weights=torch.tensor([item.weight for item in items], dtype=torch.float32),
            index=torch.tensor(places, dtype=torch.long),
        )
