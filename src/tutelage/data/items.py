"""Rows as a DataLoader sees them: tokenised once, padded batch by batch."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NotRequired, Protocol, TypedDict, overload

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, IterableDataset

from tutelage.data.tokens import TextForm, Tokens, check_tokenizer, tokenize
from tutelage.errors import ConfigError
from tutelage.records import GIVEN, Row
from tutelage.tasks.protocol import Head

_AT_ONCE = 10_000
"""Texts that are tokenised together."""


class TargetEncoder(TextForm, Protocol):
    """The part of a task used by the loaders."""

    def target_vectors(self, row: Row) -> Sequence[Sequence[float]]:
        """Return the row's one-hot target: one distribution for the text, or one per word."""
        ...

    def teacher_vectors(self, row: Row) -> Sequence[Sequence[float]]:
        """Return the teacher's distributions, in the shape of ``target_vectors``.

        Without a teacher distribution, these are the target vectors themselves.
        """
        ...

    def unit_weights(self, row: Row) -> Sequence[float]:
        """Return the loss weight of each of the ``target_vectors``."""
        ...

    def classes(self, target: str) -> tuple[str, ...]:
        """Return the classes in a target."""
        ...

    def group_of(self, row: Row, counts: Mapping[str, int]) -> int:
        """Return the index of the class under which the row is counted: its rarest by ``counts``.

        A row without any class gets the number of labels.
        """
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """One row, ready for the student.

    Attributes:
        id: The row's id.
        text: Its text.
        target: Its target.
        source: The row's source, or the name of the split ("dev", "test").
        round: The row's round.
        token_ids: At most ``max_length`` of the data module, special tokens included.
        vectors: Target distributions over the classes: one for the text, or one per word.
        weights: Loss weight of each vector.
        indices: Position of each vector in the student's output: for a token head the first token
            of each word (-1 if it was cut off); for a sequence head 0, its only prediction.
        teacher: The teacher's distribution for each vector.
        confidence: The teacher's confidence in [0, 1]; at token level the mean over the entities.
        least_confidence: The same; at token level that of the least certain entity.
        off_label: Share of the teacher's probability that fell on no label.
        disagreement: Disagreement of a teacher ensemble in [0, 1]; NaN without an ensemble.
        group: Index of the class under which the row is counted; the number of labels for a text
            without entities.
    """

    id: str
    text: str
    target: str
    source: str
    round: int
    token_ids: tuple[int, ...]
    vectors: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    indices: tuple[int, ...] = (0,)
    teacher: tuple[tuple[float, ...], ...] = ()
    confidence: float = 1.0
    least_confidence: float = 1.0
    off_label: float = 0.0
    disagreement: float = math.nan
    group: int = 0

    @property
    def gold(self) -> bool:
        """True if the user gave the label, as a gold one or with the name of the class."""
        return self.source in GIVEN

    def read(self, values: torch.Tensor) -> list[list[float] | None]:
        """Extract the student's distributions over the text, or over each word.

        Args:
            values: The student's output for this item, [C] or [L, C].

        Returns:
            One list of C probabilities per vector; None for a word beyond ``max_length``.
        """
        # The output of a sequence head is a single row.
        rows = values.reshape(-1, values.shape[-1]).tolist()
        return [rows[index] if index >= 0 else None for index in self.indices]


class Batch(TypedDict):
    """A padded batch of B items, with L tokens in the longest one and C classes.

    Keys:
        input_ids: long, [B, L].
        attention_mask: long, [B, L].
        targets: float, [B, C], one-hot; at token level [B, L, C], set at the first token of each
            word.
        teacher: float, the teacher's distributions in the shape of ``targets``.
        off_label: float, [B]; share of the teacher's probability that fell on no label.
        weights: float, [B]; at token level [B, L], 0 except at the first token of each word.
        index: long, [B]; index of each item in ``loader.dataset.items``.
        whole: The same for the batch that several devices divide among them; absent on one device.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    targets: torch.Tensor
    teacher: torch.Tensor
    off_label: torch.Tensor
    weights: torch.Tensor
    index: torch.Tensor
    whole: NotRequired[torch.Tensor]


class Items(Sequence[Item]):
    """The items of some rows, each built when it is read, so that a million fit into memory.

    Args:
        rows: The rows.
        lengths: Number of tokens of each one.
        build: Returns the item of a row.
    """

    def __init__(
        self, rows: Sequence[Row], lengths: Sequence[int], build: Callable[[Row], Item]
    ) -> None:
        self.rows = rows
        self.lengths = lengths
        self._build = build

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        """Return an item, or a list of several."""
        if isinstance(index, slice):
            return [self._build(row) for row in self.rows[index]]
        return self._build(self.rows[index])


class ItemDataset(Dataset[tuple[int, Item]]):
    """Items by index. The index travels with its item, so that hooks can find it again."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[int, Item]:
        """Return the index and its item."""
        return index, self.items[index]


class EmptyDataset(IterableDataset[tuple[int, Item]]):
    """A data set without items.

    It has no length on purpose: Lightning warns about loaders of length zero, and here an empty one
    is expected.
    """

    items: tuple[Item, ...] = ()

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        """Yield nothing."""
        return iter(())


class ItemEncoder:
    """Turns rows into items and items into batches; each row id is tokenised only once.

    Args:
        task: Turns a row into its target vectors.
        tokenizer: A Hugging Face tokenizer with a padding token; a fast one for a token head.
        max_length: Maximal number of tokens per item, special tokens included.

    Raises:
        ConfigError: If the tokenizer is unsuitable, or ``max_length`` leaves no room for text.
    """

    def __init__(self, task: TargetEncoder, tokenizer: Any, max_length: int) -> None:
        check_tokenizer(tokenizer, task)
        # Some room for text must remain next to the special tokens.
        if max_length <= (special := tokenizer.num_special_tokens_to_add()):
            raise ConfigError(
                f"student.max_length={max_length} leaves no room for text besides "
                f"{special} special tokens; increase it."
            )
        self._task = task
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._token_ids: dict[str, array[int]] = {}
        self._indices: dict[str, tuple[int, ...]] = {}
        self._cut: set[str] = set()

    @property
    def max_length(self) -> int:
        """Maximal number of tokens per item, special tokens included."""
        return self._max_length

    @property
    def truncated(self) -> int:
        """Number of distinct rows longer than ``max_length``."""
        return len(self._cut)

    @property
    def blank(self) -> tuple[int, ...] | None:
        """Token ids of the empty text, special tokens included; None for a token head.

        A token head predicts words only, and an empty text has none.
        """
        return tuple(self._tokenizer("")["input_ids"]) if self._task.head == "sequence" else None

    def encode(self, rows: Sequence[Row], source: str | None = None) -> Items:
        """Encode ``rows`` in order.

        Args:
            rows: The rows; together they determine the rarest class of each.
            source: Replaces the rows' own source.
        """
        self._tokenize({row.id: row.text for row in rows if row.id not in self._token_ids})
        # Rarity is counted within these rows, that is, within one epoch.
        counts = Counter(name for row in rows for name in self._task.classes(row.target))
        lengths = array("i", [len(self._token_ids[row.id]) for row in rows])
        return Items(tuple(rows), lengths, partial(self._item, source=source, counts=counts))

    def _item(self, row: Row, source: str | None, counts: Mapping[str, int]) -> Item:
        return Item(
            id=row.id,
            text=row.text,
            target=row.target,
            source=source or row.source,
            round=row.round,
            token_ids=tuple(self._token_ids[row.id]),
            vectors=tuple(map(tuple, self._task.target_vectors(row))),
            weights=tuple(self._task.unit_weights(row)),
            indices=self._indices[row.id],
            teacher=tuple(map(tuple, self._task.teacher_vectors(row))),
            confidence=row.mean_confidence,
            least_confidence=row.confidence,
            off_label=row.distribution.off_label_mass if row.distribution else 0.0,
            disagreement=_disagreement(row),
            group=self._task.group_of(row, counts),
        )

    def _tokenize(self, texts: Mapping[str, str]) -> None:
        every = list(texts.items())
        for start in range(0, len(every), _AT_ONCE):
            self._tokenize_some(every[start : start + _AT_ONCE])

    def _tokenize_some(self, texts: Sequence[tuple[str, str]]) -> None:
        # Tokenise all texts in full to find the ones that are too long, then cut only those.
        whole = self._whole([text for _, text in texts])
        for number, (id, text) in enumerate(texts):
            tokens, index = whole, number
            if len(whole.ids[number]) > self._max_length:
                self._cut.add(id)
                tokens = tokenize(
                    self._tokenizer,
                    self._task,
                    [text],
                    truncation=True,
                    max_length=self._max_length,
                )
                index = 0
            self._token_ids[id] = array("i", tokens.ids[index])
            # Words are aligned with their first tokens after the cut.
            self._indices[id] = tokens.positions(index)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text, special tokens included, before any cut."""
        return [len(ids) for ids in self._whole(texts).ids] if texts else []

    def inputs(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return the student's inputs for texts without rows, cut and padded.

        The cuts are not counted in :attr:`truncated`.

        Args:
            texts: One or more texts.

        Returns:
            "input_ids" and "attention_mask", long, [B, L].
        """
        tokens = tokenize(
            self._tokenizer, self._task, texts, truncation=True, max_length=self._max_length
        )
        return self._padded(tokens.ids)

    def _padded(self, ids: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        """Pad token ids; the attention mask tells padding from text."""
        rows = [torch.tensor(own, dtype=torch.long) for own in ids]
        padding = self._tokenizer.pad_token_id
        return {
            "input_ids": pad_sequence(rows, batch_first=True, padding_value=padding),
            "attention_mask": pad_sequence(
                [torch.ones_like(row) for row in rows], batch_first=True, padding_value=0
            ),
        }

    def _whole(self, texts: Sequence[str]) -> Tokens:
        return tokenize(
            self._tokenizer,
            self._task,
            texts,
            add_special_tokens=True,
            truncation=False,
            verbose=False,
        )

    def collate(self, placed: Iterable[tuple[int, Item]]) -> Batch:
        """Pad items, given with their indices, to the longest one and stack them."""
        indices, items = zip(*placed, strict=True)
        inputs = self._padded([item.token_ids for item in items])
        targets, teacher, weights = _STACKED[self._task.head](items)
        return Batch(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            targets=targets,
            teacher=teacher,
            off_label=torch.tensor([item.off_label for item in items], dtype=torch.float32),
            weights=weights,
            index=torch.tensor(indices, dtype=torch.long),
        )


def _disagreement(row: Row) -> float:
    found = None if row.distribution is None else row.distribution.disagreement
    return math.nan if found is None else found


def _per_text(items: Sequence[Item]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Stack targets and teacher distributions, [B, C] each, and weights, [B]."""
    return (
        torch.tensor([item.vectors[0] for item in items], dtype=torch.float32),
        torch.tensor([item.teacher[0] for item in items], dtype=torch.float32),
        torch.tensor([item.weights[0] for item in items], dtype=torch.float32),
    )


def _per_token(items: Sequence[Item]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scatter targets, teacher distributions and weights to the first token of each word.

    Returns:
        Two tensors [B, L, C] and one [B, L], 0 at all other tokens.
    """
    # Zeros everywhere: tokens other than first ones have no target and no weight.
    length, classes = max(len(item.token_ids) for item in items), len(items[0].vectors[0])
    targets, weights = torch.zeros(len(items), length, classes), torch.zeros(len(items), length)
    teacher = torch.zeros_like(targets)
    for row, item in enumerate(items):
        # Words beyond the length limit have no token.
        seen = [
            found
            for found in zip(item.indices, item.vectors, item.teacher, item.weights, strict=True)
            if found[0] >= 0
        ]
        if seen:
            columns, own, teacher_own, weighed = (
                torch.tensor(part) for part in zip(*seen, strict=True)
            )
            targets[row, columns] = own
            teacher[row, columns] = teacher_own
            weights[row, columns] = weighed
    return targets, teacher, weights


_Stacked = Callable[[Sequence[Item]], tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
_STACKED: dict[Head, _Stacked] = {"sequence": _per_text, "token": _per_token}
"""Targets, teacher distributions and weights of a batch, in the shape of each head's output."""
