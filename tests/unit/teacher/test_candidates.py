"""Candidates: where a name could be, by capital letters alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import ConfigError
from tutelage.teacher.candidates import Candidates


def found(text: str, parts: int = 0) -> list[str]:
    words = text.split(" ")
    return [" ".join(words[start:end]) for start, end in Candidates(parts)(words)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("nothing to see here .", []),
        ("", []),
        ("Ada Lovelace met Babbage in London .", ["Ada Lovelace", "Babbage", "Babbage in London", "London"]),
        ("the Bank of England rose", ["Bank", "Bank of England", "England"]),
        ("the Lord of the Rings", ["Lord", "Lord of the Rings", "Rings"]),
        ("Chairman of all of the Boards", ["Chairman", "Boards"]),
        ("Sydney 's Opera House", ["Sydney", "Sydney 's Opera House", "Opera House"]),
        ("In Paris it rained", ["Paris"]),
        ("The In He", []),
        ("The Who played", []),
        ("He met The Beatles", ["The Beatles"]),
        ("He left . The Beatles stayed", ["Beatles"]),
        ("US and IT firms", ["US", "IT", "US and IT"]),
        ("a 3M plant and a 747 on 5 April", ["3M", "April"]),
        ("Smith and", ["Smith"]),
        ("von Neumann", ["Neumann"]),
        ("Émile of Ürümqi", ["Émile", "Émile of Ürümqi", "Ürümqi"]),
    ],
)
def test_runs_of_capitalised_words(text: str, names: list[str]) -> None:
    assert sorted(found(text)) == sorted(names)


def test_a_stop_word_is_none_at_the_beginning_of_a_name_only() -> None:
    assert found("The The Hague Court") == ["Hague Court"]
    assert found("Court The Hague") == ["Court The Hague"]


def test_they_are_in_the_order_of_the_text() -> None:
    places = Candidates()(["Bank", "of", "England", "and", "Acme", "in", "Rome"])
    assert places == sorted(set(places))


def test_parts_of_a_run() -> None:
    assert found("Grace Brewster Hopper spoke") == ["Grace Brewster Hopper"]
    assert sorted(found("Grace Brewster Hopper spoke", parts=1)) == sorted(["Grace Brewster Hopper", "Grace", "Brewster", "Hopper"])
    assert sorted(found("Grace Brewster Hopper spoke", parts=2)) == sorted(
        ["Grace Brewster Hopper", "Grace", "Brewster", "Hopper", "Grace Brewster", "Brewster Hopper"]
    )


def test_a_part_begins_and_ends_with_a_capital() -> None:
    assert sorted(found("Bank of England", parts=3)) == sorted(["Bank of England", "Bank", "England"])


def test_negative_parts_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"teacher.candidate_parts=-1 must be 0 or more words"):
        Candidates(-1)


_WORDS = st.lists(st.sampled_from(["Ada", "of", "the", "The", "In", "went", "3M", "7", "&", ".", "É", ""]), max_size=12)


@given(_WORDS, st.integers(0, 3))
def test_every_candidate_is_words_of_the_text_from_a_capital_to_a_capital(words: list[str], parts: int) -> None:
    places = Candidates(parts)(words)
    assert places == sorted(set(places))
    for start, end in places:
        assert 0 <= start < end <= len(words)
        for word in (words[start], words[end - 1]):
            assert any(sign.isupper() for sign in word)


@given(_WORDS, st.integers(0, 2))
def test_more_parts_only_add(words: list[str], parts: int) -> None:
    assert set(Candidates(parts)(words)) <= set(Candidates(parts + 1)(words))
