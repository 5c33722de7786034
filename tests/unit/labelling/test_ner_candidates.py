"""Span candidates: capitalised runs, runs of words, and predictions of the student."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import ConfigError
from tutelage.labelling.ner_candidates import (
    SOURCES,
    Place,
    SpanCandidates,
    automatic_sources,
    automatic_width,
)


def found(
    text: str,
    parts: int = 0,
    sources: Sequence[str] = ("capitals",),
    width: int = 4,
    proposed: Sequence[Place] = (),
) -> list[str]:
    words = text.split(" ")
    return [
        " ".join(words[start:end])
        for start, end in SpanCandidates(parts, sources, width)(words, proposed)
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("nothing to see here .", []),
        ("", []),
        (
            "Ada Lovelace met Babbage in London .",
            ["Ada Lovelace", "Babbage", "Babbage in London", "London"],
        ),
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


@pytest.mark.parametrize(
    ("names", "sources", "width"),
    [
        (["Ada Lovelace", "Paris", "aspirin"], ("capitals",), 4),
        (["aspirin", "acute kidney injury", "Paris"], ("capitals", "chunks", "student"), 4),
        # Characters are words: the longest known name gives the width.
        (["北 京 大 学 医 院", "张 三"], ("capitals", "chunks", "student"), 6),
        ([], ("capitals",), 4),
    ],
)
def test_names_without_capitals_choose_other_sources(
    names: list[str], sources: tuple[str, ...], width: int
) -> None:
    words = [name.split(" ") for name in names]
    assert automatic_sources(words) == sources
    assert automatic_width(words, 4) == width


def test_a_stop_word_is_none_at_the_beginning_of_a_name_only() -> None:
    assert found("The The Hague Court") == ["Hague Court"]
    assert found("Court The Hague") == ["Court The Hague"]


def test_they_are_in_the_order_of_the_text() -> None:
    indices = SpanCandidates()(["Bank", "of", "England", "and", "Acme", "in", "Rome"])
    assert indices == sorted(set(indices))


def test_parts_of_a_run() -> None:
    assert found("Grace Brewster Hopper spoke") == ["Grace Brewster Hopper"]
    assert sorted(found("Grace Brewster Hopper spoke", parts=1)) == sorted(
        ["Grace Brewster Hopper", "Grace", "Brewster", "Hopper"]
    )
    assert sorted(found("Grace Brewster Hopper spoke", parts=2)) == sorted(
        [
            "Grace Brewster Hopper",
            "Grace",
            "Brewster",
            "Hopper",
            "Grace Brewster",
            "Brewster Hopper",
        ]
    )


def test_a_part_begins_and_ends_with_a_capital() -> None:
    assert sorted(found("Bank of England", parts=3)) == sorted(
        ["Bank of England", "Bank", "England"]
    )


def test_chunks_hold_no_stop_word_and_ngrams_do() -> None:
    text = "we saw lord of war , live"
    assert found(text, sources=["chunks"], width=3) == ["saw", "saw lord", "lord", "war", "live"]
    assert found(text, sources=["ngrams"], width=3) == [
        "saw",
        "saw lord",
        "lord",
        "lord of war",
        "war",
        "war , live",
        "live",
    ]
    assert found("new york city hall", sources=["chunks"], width=2) == [
        "new",
        "new york",
        "york",
        "york city",
        "city",
        "city hall",
        "hall",
    ]


def test_sources_add_up() -> None:
    both = found("rihanna and Bank of England", sources=["capitals", "ngrams"], width=2)
    assert both == ["rihanna", "Bank", "Bank of England", "England"]


@pytest.mark.parametrize(
    ("index", "names"),
    [
        # No name begins with "the" unless the student predicts it.
        ((3, 5), ["new", "new york", "new york times", "york"]),
        (
            (2, 5),
            ["left the new york", "the new", "the new york", "the new york times", "new york"],
        ),
        ((6, 8), ["today"]),  # No name ends with a full stop.
        ((3, 7), ["new york times", "new york times today", "york times today"]),
    ],
)
def test_the_students_spans_and_those_a_word_off(index: Place, names: list[str]) -> None:
    text = "they left the new york times today ."
    words = text.split(" ")
    asked = [
        " ".join(words[slice(*one)])
        for one in SpanCandidates(0, ["capitals", "student"])(words, [index])
    ]
    assert sorted(asked) == sorted(names)
    assert found(text, proposed=[index]) == []  # The student is not a source here.


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ((-1,), "labelling.candidate_parts=-1 must be 0 or more words"),
        ((0, ["ngrams"], 0), "labelling.candidate_width=0 must be 1 or more words"),
        ((0, ["ngram"]), "Unknown labelling.candidates 'ngram'. Did you mean 'ngrams'?"),
        ((0, "ngrams"), "Use labelling.candidates=[ngrams]"),
        ((0, ["student"]), "gives no candidate before there is a student"),
        ((0, []), "gives no candidate before there is a student"),
    ],
)
def test_what_cannot_work_is_refused(settings: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        SpanCandidates(*settings)


_WORDS = st.lists(
    st.sampled_from(["Ada", "of", "the", "The", "In", "went", "3M", "7", "&", ".", "É", ""]),
    max_size=12,
)


@given(_WORDS, st.integers(0, 3))
def test_every_candidate_is_words_of_the_text_from_a_capital_to_a_capital(
    words: list[str], parts: int
) -> None:
    indices = SpanCandidates(parts)(words)
    assert indices == sorted(set(indices))
    for start, end in indices:
        assert 0 <= start < end <= len(words)
        for word in (words[start], words[end - 1]):
            assert any(sign.isupper() for sign in word)


@given(_WORDS, st.integers(0, 2))
def test_more_parts_only_add(words: list[str], parts: int) -> None:
    assert set(SpanCandidates(parts)(words)) <= set(SpanCandidates(parts + 1)(words))


_SPOKEN = st.sampled_from(
    ["Ada", "of", "the", "The", "ada", "went", "7", "iphone", "&", ".", "…", "'s", ""]
)
_PROPOSED = st.lists(
    st.tuples(st.integers(0, 9), st.integers(1, 10)).map(lambda pair: (pair[0], pair[0] + pair[1])),
    max_size=3,
)


@given(
    st.lists(_SPOKEN, max_size=10),
    _PROPOSED,
    st.lists(st.sampled_from(SOURCES[1:]), min_size=1, unique=True),
    st.integers(1, 4),
)
def test_candidates_are_unique_as_wide_as_allowed_and_begin_and_end_in_no_punctuation(
    words: list[str], proposed: list[Place], sources: list[str], width: int
) -> None:
    sources = sources if set(sources) - {"student"} else [*sources, "chunks"]
    indices = SpanCandidates(0, sources, width)(words, proposed)
    assert indices == sorted(set(indices))
    for start, end in indices:
        assert 0 <= start < end <= len(words)
        assert end - start <= width
        assert all(any(sign.isalnum() for sign in word) for word in (words[start], words[end - 1]))
    both = set(SpanCandidates(1, ["capitals", *sources], width)(words, proposed))
    assert both == {*indices, *SpanCandidates(1)(words)}


@given(st.lists(_SPOKEN, max_size=10), st.integers(1, 4))
def test_ngrams_are_every_span_between_words_that_may_be_an_end(
    words: list[str], width: int
) -> None:
    ends = {"Ada", "ada", "went", "7", "iphone", "'s"}
    spans = [
        (start, end)
        for start in range(len(words))
        for end in range(start + 1, min(start + width, len(words)) + 1)
    ]
    ngrams = [
        (start, end) for start, end in spans if words[start] in ends and words[end - 1] in ends
    ]
    assert SpanCandidates(0, ["ngrams"], width)(words) == ngrams
    assert SpanCandidates(0, ["chunks"], width)(words) == [
        (start, end) for start, end in ngrams if ends.issuperset(words[start:end])
    ]
