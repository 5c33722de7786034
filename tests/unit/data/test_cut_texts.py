"""Texts that are longer than the student reads."""

from __future__ import annotations

import re

import pytest
from tests.unit.data.loaders import LABELS, OneLabelTask, make_tokenizer

from tutelage.data.cut_texts import cut_texts
from tutelage.data.dataset import Dataset
from tutelage.data.items import ItemEncoder
from tutelage.records import Example, Label

NAMES = tuple(Label(name, name, name) for name in LABELS)


def dataset(pool: list[int], dev: list[int], test: list[int]) -> Dataset:
    """Texts of as many words as given; each has two special tokens more."""
    texts, held, last = (
        tuple(Example(f"{split}-{n}", " ".join(["w1"] * size), "A") for n, size in enumerate(sizes))
        for split, sizes in (("pool", pool), ("dev", dev), ("test", test))
    )
    return Dataset("x", NAMES, texts, held, last)


def said(data: Dataset, max_length: int = 16, limit: int = 512) -> tuple[str, bool]:
    return cut_texts(ItemEncoder(OneLabelTask(), make_tokenizer(), max_length), data, limit)


def test_many_cut_texts_are_a_warning_whose_advice_works() -> None:
    data = dataset([10] * 12 + [30] * 8, [10] * 4, [10] * 3 + [46])
    text, many = said(data)
    assert many
    assert text == (
        "student.max_length=16 cuts 8 of 20 pool texts, 1 of 4 test texts; they lose 53% of their "
        "tokens. student.max_length=48 is enough for most."
    )
    advised = int(re.findall(r"student.max_length=(\d+)", text)[-1])
    assert said(data, advised) == ("", False)


def test_few_cut_texts_are_a_notice() -> None:
    text, many = said(dataset([10] * 30 + [30], [10], [10]))
    assert (many, text) == (
        False,
        "student.max_length=16 cuts 1 of 31 pool texts; they lose 50% of their tokens.",
    )
    assert said(dataset([14], [14], [14])) == ("", False)


@pytest.mark.parametrize(
    ("limit", "advice"),
    [
        (20, "The student reads more, up to student.max_length=20."),
        (16, "The student reads no more: use shorter texts, or a student.model= that reads longer"),
        (0, "student.max_length=32 is enough for most."),
    ],
)
def test_the_advice_knows_the_student_s_own_limit(limit: int, advice: str) -> None:
    assert advice in said(dataset([30] * 5, [3], [3]), limit=limit)[0]


def test_of_a_large_pool_an_even_sample_is_measured() -> None:
    text, many = said(dataset([3, 30] * 1500, [3], [3]))
    assert many
    assert text.startswith("student.max_length=16 cuts 500 of 1,000 pool texts measured; ")
