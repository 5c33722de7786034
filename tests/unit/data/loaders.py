"""A growing data module over texts of made-up words."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from tutelage.data.growing import GrowingDataModule
from tutelage.data.pool import Pool
from tutelage.records import Example, Row
from tutelage.tasks.protocol import Head

LABELS = ("A", "B", "C")
WORDS = [f"w{number}" for number in range(40)]


class OneLabelTask:
    """One-hot targets, and the teacher's distribution of rows that have one."""

    head: Head = "sequence"

    def model_input(self, text: str) -> str:
        return text

    def target_vectors(self, row: Row) -> Sequence[Sequence[float]]:
        return [[float(name == row.target) for name in LABELS]]

    def teacher_vectors(self, row: Row) -> Sequence[Sequence[float]]:
        return (
            [row.distribution.probabilities]
            if row.distribution is not None
            else self.target_vectors(row)
        )

    def unit_weights(self, row: Row) -> Sequence[float]:
        return [row.weight]

    def classes(self, target: str) -> tuple[str, ...]:
        return (target,)

    def group_of(self, row: Row, counts: Mapping[str, int]) -> int:
        return LABELS.index(row.target)


class AllAccepted:
    seed_source = "shots=0"

    def rows(self, pool: Pool, epoch: int) -> list[Row]:
        return list(pool.accepted())


def make_tokenizer(**settings: Any) -> PreTrainedTokenizerFast:
    vocabulary = {
        word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])
    }
    inner = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = Whitespace()
    inner.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        **settings,
    }
    return PreTrainedTokenizerFast(tokenizer_object=inner, **special)


def text(number: int) -> str:
    draw = random.Random(number)
    return " ".join(draw.choices(WORDS, k=draw.randint(2, 12)))


def rows(count: int, round: int = 0, **changes: Any) -> list[Row]:
    made = (
        Row(
            f"{round}-{n}",
            text(100 * round + n),
            LABELS[n % 3],
            "gold" if round == 0 else "hard",
            round,
            True,
        )
        for n in range(count)
    )
    return [replace(row, **changes) for row in made]


def examples(split: str, count: int) -> list[Example]:
    return [
        Example(f"{split}-{n}", text(5000 + n + len(split)), LABELS[n % 3]) for n in range(count)
    ]


def module(pool: Pool, **settings: Any) -> GrowingDataModule:
    given: dict[str, Any] = {
        "batch_size": 4,
        "eval_batch_size": 3,
        "seed": 0,
        "view": AllAccepted(),
        "max_length": 16,
        **settings,
    }
    return GrowingDataModule(
        pool, OneLabelTask(), make_tokenizer(), examples("dev", 7), examples("test", 5), **given
    )
