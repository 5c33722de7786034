"""Rows as a DataLoader sees them: tokenised once, padded batch by batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, IterableDataset

from tutelage.errors import ConfigError
from tutelage.records import Row
from tutelage.tasks.spans import first_pieces


class TargetEncoder(Protocol):
    """What a loader needs of a task."""

    @property
    def is_token_level(self) -> bool:
        """What is decided about: a whole text, or each of its words."""
        ...

    def target_vectors(self, row: Row) -> Sequence[Sequence[float]]:
        """The row's target over the classes, one-hot: one distribution for the text, or for each word."""
        ...

    def teacher_vectors(self, row: Row) -> Sequence[Sequence[float]]:
        """The teacher's distribution over the classes, as many as ``target_vectors`` gives, which it is where the teacher said nothing."""
        ...

    def unit_weights(self, row: Row) -> Sequence[float]:
        """Weights in the loss, one for each of ``target_vectors``."""
        ...

    def classes(self, target: str) -> tuple[str, ...]:
        """The classes that a target holds."""
        ...

    def group_of(self, row: Row, counts: Mapping[str, int]) -> int:
        """Place among the labels of the class that the row is counted under, the rarest by ``counts``; their number where it has none."""
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """One row, ready for the student.

    Attributes:
        source: the row's source, or the split's name ("dev", "test").
        token_ids: at most the module's ``max_length``, special tokens included.
        vectors: the target over the classes: one for the text, or one for each word.
        weights: in the loss, as many.
        teacher: the teacher's distributions, as many.
        confidence: the teacher's; for words the mean over the entities.
        least_confidence: the same; for words of the least certain entity.
        off_label: share of the teacher's probability that fell on no label.
        key: the class that the row is counted under, by place; the number of labels for a text without entities.
        places: for words the token of each (its first sub-token; -1 where it has none); empty where a text is decided about.
    """

    id: str
    text: str
    target: str
    source: str
    round: int
    token_ids: tuple[int, ...]
    vectors: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    indices: tuple[int, ...] = ()
    teacher: tuple[tuple[float, ...], ...] = ()
    confidence: float = 1.0
    least_confidence: float = 1.0
    off_label: float = 0.0
    key: int = 0

    @property
    def gold(self) -> bool:
        """True where the target is a gold label."""
        return self.source == "gold"

    def read(self, values: torch.Tensor) -> list[list[float] | None]:
        """The student's distributions of what is decided about, from its output for this item, [C] or [L, C]."""
        if not self.indices:
            return [values.tolist()]
        rows = values.tolist()
        return [rows[index] if index >= 0 else None for index in self.indices]


class Batch(TypedDict):
    """B items, L tokens of the longest one, C classes.

    Keys:
        input_ids, attention_mask: long, [B, L].
        targets: float, [B, C], one-hot; for words [B, L, C], at the first sub-token of each.
        teacher: the teacher's distributions, of the same shape.
        off_label: float, [B]; share of the teacher's probability that fell on no label.
        weights: float, [B]; for words [B, L], 0 at every other token.
        index: long, [B]; place of each in ``loader.dataset.items``.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    targets: torch.Tensor
    teacher: torch.Tensor
    off_label: torch.Tensor
    weights: torch.Tensor
    index: torch.Tensor


class ItemDataset(Dataset[tuple[int, Item]]):
    """Items by place. The place travels with the item, so that hooks can find it again."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = tuple(items)

    def __len__(self) -> int:
        """The number of items."""
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[int, Item]:
        """The item with its place."""
        return index, self.items[index]


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
            raise ConfigError(
                f"The tokenizer of {tokenizer.name_or_path} has no padding token; choose another student.model=."
            )
        if max_length <= (special := tokenizer.num_special_tokens_to_add()):
            raise ConfigError(
                f"student.max_length={max_length} leaves no room beside {special} special tokens; give more."
            )
        self._task = task
        self._tokenizer = tokenizer
        self._max_length = max_length
        if task.is_token_level and not tokenizer.is_fast:
            raise ConfigError(
                f"The tokenizer of {tokenizer.name_or_path} cannot tell which word a token belongs to (it is not a fast one); "
                "choose another student.model=."
            )
        self._token_ids: dict[str, tuple[int, ...]] = {}
        self._indices: dict[str, tuple[int, ...]] = {}
        self._cut: set[str] = set()

    @property
    def truncated(self) -> int:
        """How many different rows were longer than ``max_length``."""
        return len(self._cut)

    @property
    def blank(self) -> tuple[int, ...]:
        """Token ids of the empty text, special tokens included."""
        return tuple(self._tokenizer("")["input_ids"])

    def encode(self, rows: Sequence[Row], source: str | None = None) -> list[Item]:
        """Items of ``rows``, in order; ``source`` replaces the rows' own."""
        self._tokenize({row.id: row.text for row in rows if row.id not in self._token_ids})
        # Over the rows that stand in it together: what is rare in an epoch.
        counts = Counter(name for row in rows for name in self._task.classes(row.target))
        return [
            Item(
                id=row.id,
                text=row.text,
                target=row.target,
                source=source or row.source,
                round=row.round,
                token_ids=self._token_ids[row.id],
                vectors=tuple(map(tuple, self._task.target_vectors(row))),
                weights=tuple(self._task.unit_weights(row)),
                indices=self._indices.get(row.id, ()),
                teacher=tuple(map(tuple, self._task.teacher_vectors(row))),
                confidence=row.mean_confidence,
                least_confidence=row.confidence,
                off_label=row.distribution.off_label_mass if row.distribution else 0.0,
                key=self._task.group_of(row, counts),
            )
            for row in rows
        ]

    def _tokenize(self, texts: Mapping[str, str]) -> None:
        if not texts:
            return
        by_word = self._task.is_token_level
        given: list[Any] = [text.split(" ") if by_word else text for text in texts.values()]
        # Whole first, to know which are too long; only those are tokenised again.
        whole = self._tokenizer(
            given,
            add_special_tokens=True,
            truncation=False,
            verbose=False,
            is_split_into_words=by_word,
        )
        for number, id in enumerate(texts):
            encoded, index = whole, number
            if len(whole["input_ids"][number]) > self._max_length:
                self._cut.add(id)
                encoded, index = (
                    self._tokenizer(
                        given[number : number + 1],
                        truncation=True,
                        max_length=self._max_length,
                        is_split_into_words=by_word,
                    ),
                    0,
                )
            self._token_ids[id] = tuple(encoded["input_ids"][index])
            if by_word:
                self._indices[id] = first_pieces(encoded.word_ids(index), len(given[number]))

    def collate(self, placed: Iterable[tuple[int, Item]]) -> Batch:
        """Pad items to the longest of them."""
        indices, items = zip(*placed, strict=True)
        ids = [torch.tensor(item.token_ids, dtype=torch.long) for item in items]
        targets, teacher, weights = (
            self._by_word(items)
            if self._task.is_token_level
            else (
                torch.tensor([item.vectors[0] for item in items], dtype=torch.float32),
                torch.tensor([item.teacher[0] for item in items], dtype=torch.float32),
                torch.tensor([item.weights[0] for item in items], dtype=torch.float32),
            )
        )
        return Batch(
            input_ids=pad_sequence(
                ids, batch_first=True, padding_value=self._tokenizer.pad_token_id
            ),
            attention_mask=pad_sequence(
                [torch.ones_like(row) for row in ids], batch_first=True, padding_value=0
            ),
            targets=targets,
            teacher=teacher,
            off_label=torch.tensor([item.off_label for item in items], dtype=torch.float32),
            weights=weights,
            index=torch.tensor(indices, dtype=torch.long),
        )

    @staticmethod
    def _by_word(items: Sequence[Item]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Targets, the teacher's distributions and weights at the first sub-token of each word, 0 elsewhere."""
        length, classes = max(len(item.token_ids) for item in items), len(items[0].vectors[0])
        targets, weights = torch.zeros(len(items), length, classes), torch.zeros(len(items), length)
        teacher = torch.zeros_like(targets)
        for row, item in enumerate(items):
            seen = [
                found
                for found in zip(
                    item.indices, item.vectors, item.teacher, item.weights, strict=True
                )
                if found[0] >= 0
            ]
            if seen:
                columns, own, said, weighed = (
                    torch.tensor(part) for part in zip(*seen, strict=True)
                )
                targets[row, columns] = own
                teacher[row, columns] = said
                weights[row, columns] = weighed
        return targets, teacher, weights
