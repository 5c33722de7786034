"""Labels by their words: in lists of tokens, in answers, and as shares of answers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.teacher.engines.server_replies import LEAST, TopToken
from tutelage.teacher.engines.server_words import find_words, named, shares

WORDS = ("credit", "credit card", "Großes café", "日本")
word_lists = st.lists(
    st.text("abcdefgé日 ", min_size=1, max_size=8).map(str.strip).filter(bool),
    min_size=1,
    max_size=6,
    unique=True,
)


def found(*tokens: tuple[str, float]) -> tuple[float, ...]:
    listed = [TopToken(name, math.log(chance)) for name, chance in tokens]
    return tuple(math.exp(one) for one in find_words(listed, WORDS).logprobs)


def test_tokens_count_for_the_words_that_they_begin():
    # "cre" begins two words, "credit" is one of them; "Ġgro" is a byte-level spelling.
    chances = found(("cre", 0.4), ("credit", 0.2), ("Ġgro", 0.1), ("\u2581GRO", 0.1), ("no", 0.1))
    assert chances == pytest.approx((0.4, 0.2, 0.2, 0.1))
    tokens = [TopToken("x", -1.0), TopToken("y", LEAST)]
    assert find_words(tokens, WORDS) == find_words([*tokens, TopToken(" ", -0.1)], WORDS)
    assert find_words(tokens, WORDS).missing == len(WORDS)


@given(word_lists, st.lists(st.floats(-50, 0), min_size=1, max_size=6), st.data())
def test_no_probability_is_counted_twice(words, values, data):
    names = [data.draw(st.sampled_from(words))[: data.draw(st.integers(1, 8))] for _ in values]
    listed = [TopToken(name, value) for name, value in zip(names, values, strict=True)]
    got = find_words(listed, words)
    begun = sum(math.exp(one) for one in got.logprobs if one > min(values))
    assert begun <= sum(map(math.exp, values)) + 1e-9
    assert all(one <= 0 for one in got.logprobs)


@pytest.mark.parametrize(
    ("reply", "index"),
    [
        ("credit", 0),
        (" **Credit card**.", 1),
        ('{"label": "credit card"}', 1),
        ("<think>credit? no</think>The answer is: grosses café!", 2),
        ("日本", 3),
        ("credit or 日本", None),
        ("creditworthy", None),
        ("<think>credit", None),
        ("", None),
        ("[" * 5000, None),
    ],
)
def test_the_label_that_an_answer_names(reply, index):
    assert named(reply, WORDS) == index


@given(word_lists.filter(lambda words: len({word.casefold() for word in words}) == len(words)))
def test_every_word_names_itself(words):
    assert [named(f'"{word}".', words) for word in words] == list(range(len(words)))


def test_shares_are_smoothed_and_answers_without_a_label_count():
    assert shares([0, 0, None, 1], 3) == pytest.approx([math.log(n / 7) for n in (3, 2, 1)])
