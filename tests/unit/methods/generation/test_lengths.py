"""Lengths of new texts: from examples in any script, or fixed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.helpers.classification import WordTeacher, context, obliging

from tutelage.errors import ConfigError
from tutelage.methods.generation.lengths import examples_of, text_lengths, usual_length
from tutelage.records import Example
from tutelage.teacher.base import Prompt

EXAMPLES = [" ".join(["word"] * count) for count in (4, *[10] * 18, 40)]


class Refusing(WordTeacher):
    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        raise AssertionError(texts)


def test_lengths_follow_the_examples() -> None:
    found = text_lengths(WordTeacher(obliging), EXAMPLES, None, None, None)
    # Nearest rank: of 20 examples the shortest one, and the longest but one.
    assert (found.min_tokens, found.max_tokens, found.most_tokens) == (2, 31, 31)
    assert found.wanted == "about 10 words"
    assert found.fault_in_tokens(1) == "under 2 tokens"
    assert found.fault_in_tokens(32) == "over 31 tokens"
    assert not found.fault_in_tokens(31)
    assert not found.fault_in_words("")


def test_fixed_lengths_need_no_tokenizer() -> None:
    found = text_lengths(Refusing(obliging), EXAMPLES, 40, 3, 60)
    assert (found.max_tokens, found.counts_tokens) == (40, False)
    assert found.fault_in_words("two words") == "under 3 words"
    assert found.fault_in_words("word " * 61) == "over 60 words"


def test_one_fixed_length_leaves_the_others_to_the_examples() -> None:
    found = text_lengths(WordTeacher(obliging), EXAMPLES, None, 5, None)
    assert (found.min_words, found.min_tokens, found.most_tokens) == (5, 0, 31)


def test_without_examples_a_text_may_be_short() -> None:
    found = text_lengths(WordTeacher(obliging), (), None, None, None)
    assert (found.min_tokens, found.max_tokens, found.wanted) == (3, 64, "")


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["明天会下雨吗？", "播放一首爵士乐。"], "about 8 characters"),
        (["Wird es morgen regnen?"], "about 4 words"),
        (["word " * 233], "about 230 words"),
        (["Stop"], "about 1 word"),
        ([], ""),
    ],
)
def test_a_length_is_said_in_the_unit_of_the_script(texts: list[str], said: str) -> None:
    assert usual_length(texts) == said


def test_the_pool_gives_a_sample_of_its_lengths(tmp_path: Path) -> None:
    pool = tuple(Example(f"p{number}", f"text {number}") for number in range(500))
    found = examples_of(context(tmp_path, None, unlabelled=pool))
    assert found == examples_of(context(tmp_path, None, unlabelled=pool))
    assert len(found) == len(set(found)) == 206


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ((None, 9, 3), "min_words=9 and method.max_words=3"),
        ((None, 0, None), "min_words=0"),
        ((0, None, None), "method.max_tokens=0 allows no text"),
    ],
)
def test_limits_that_allow_no_text(
    limits: tuple[int | None, int | None, int | None], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        text_lengths(None, (), *limits)
