"""Texts are tokenised as the task reads them, and read where its head predicts."""

from __future__ import annotations

from typing import Any

import pytest
from tests.helpers.ner import TYPES
from tests.helpers.tiny_student import tiny_tokenizer

from tutelage.data.tokens import check_tokenizer, tokenize
from tutelage.errors import ConfigError
from tutelage.tasks.registry import TASKS, new_task

TOKENIZER = tiny_tokenizer(["anna", "left"])
TEXTS = ["anna xyz left", "left"]


@pytest.mark.parametrize("name", TASKS)
def test_a_text_has_the_same_tokens_in_every_task(name: str) -> None:
    tokens = tokenize(TOKENIZER, new_task(name, TYPES), TEXTS)
    assert tokens.ids == TOKENIZER(TEXTS)["input_ids"]


def test_a_text_is_read_once_and_words_at_their_first_tokens() -> None:
    whole = tokenize(TOKENIZER, new_task("classification", TYPES), TEXTS)
    assert [whole.positions(index) for index in range(2)] == [(0,), (0,)]
    words = tokenize(TOKENIZER, new_task("ner", TYPES), TEXTS)
    assert [words.positions(index) for index in range(2)] == [(1, 2, 5), (1,)]
    # A word that was cut off has no position.
    cut = tokenize(TOKENIZER, new_task("ner", TYPES), TEXTS, truncation=True, max_length=4)
    assert cut.positions(0) == (1, 2, -1)


class Broken:
    """A tokenizer that lacks something."""

    name_or_path = "some/model"

    def __init__(self, pad_token_id: int | None, is_fast: bool) -> None:
        self.pad_token_id, self.is_fast = pad_token_id, is_fast


def test_a_tokenizer_that_does_not_suit_the_head_is_refused() -> None:
    slow: Any = Broken(0, is_fast=False)
    check_tokenizer(slow, new_task("classification", TYPES))
    with pytest.raises(ConfigError, match="some/model is not a fast one"):
        check_tokenizer(slow, new_task("ner", TYPES))
    for name in TASKS:
        with pytest.raises(ConfigError, match="no padding token"):
            check_tokenizer(Broken(None, is_fast=True), new_task(name, TYPES))
