"""Conversions between characters, words, tags and sub-tokens, there and back, for any text."""

from __future__ import annotations

import json
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.tiny_student import tiny_tokenizer

from tutelage.errors import DataError
from tutelage.tasks.spans import (
    Span,
    cut_at,
    first_pieces,
    from_characters,
    from_tags,
    joined,
    read_spans,
    split_words,
    strict_tags,
    to_characters,
    to_tags,
    write_spans,
)

ODD = (
    " \t\n\u00a0\u2003\u3000_.'’-#€你界né\u0301\u0928\u092e\u0938\u094d\u0924\u0947"
    "\u0e01\u0e33\u200b\u200d\u200e\u00ad\ufeff\ufe0f\x00\x7f😀👍🏽🇩🇪"
)
TEXTS = st.text(
    st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=["Cs"])), max_size=40
)
TYPES = ("PER", "LOC", "work-of_art")


def words_of(text: str) -> list[str]:
    return [text[start:end] for start, end in split_words(text)]


@st.composite
def markings(draw: st.DrawFn, longest: int = 12) -> tuple[list[Span], int]:
    """Spans without overlap, often adjacent or one word long, and the number of words."""
    length = draw(st.integers(1, longest))
    edges = sorted(draw(st.sets(st.integers(0, length), max_size=6)))
    return [
        Span(*pair, draw(st.sampled_from(TYPES))) for pair in pairwise(edges) if draw(st.booleans())
    ], length


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Anna lives in Köln.", ["Anna", "lives", "in", "Köln", "."]),
        ("U.S. e-mail O’Neil's #1_a", ["U.S", ".", "e-mail", "O’Neil", "'s", "#", "1_a"]),
        ("cafe\u0301s नमस्ते", ["cafe\u0301s", "नमस्ते"]),
        ("❤\ufe0f👍🏽!", ["❤\ufe0f", "👍🏽", "!"]),
        ("soft\u00adhyphen \u200eleft", ["soft\u00adhyphen", "\u200eleft"]),
        ("New\u200bYork Berlin.\u200b", ["New\u200b", "York", "Berlin", ".\u200b"]),
        ("a\u00a0b\u3000c\td\ne", ["a", "b", "c", "d", "e"]),
        ("_ __x", ["_", "__x"]),
        ("\u0301 \u200b \x00", ["\u0301", "\u200b", "\x00"]),
        ("half\ufffd an \ufffdemoji", ["half\ufffd", "an", "\ufffdemoji"]),
        ("你好,iPhone", ["你", "好", ",", "iPhone"]),
        ("  ", []),
        ("", []),
    ],
)
def test_a_text_is_split_into_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(TEXTS)
def test_every_character_but_white_space_is_in_exactly_one_word(text: str) -> None:
    words = split_words(text)
    covered = [index for start, end in words for index in range(start, end)]
    assert covered == [index for index, sign in enumerate(text) if not sign.isspace()]
    assert all(start < end for start, end in words)


@given(TEXTS)
def test_words_joined_by_spaces_are_the_same_words_again(text: str) -> None:
    inside = joined(text, split_words(text))
    assert inside.split(" ") == (words_of(text) or [""])
    assert words_of(inside) == words_of(text)


@given(TEXTS)
def test_a_word_that_shows_nothing_stands_alone_between_white_space(text: str) -> None:
    for start, end in split_words(text):
        if all(
            unicodedata.category(sign) in ("Mn", "Mc", "Me", "Cf", "Cc") for sign in text[start:end]
        ):
            assert text[start - 1 : start].strip() == "" or start == 0
            assert text[end : end + 1].strip() == ""


@given(TEXTS, st.data())
def test_spans_go_from_characters_to_words_and_back(text: str, data: st.DataObject) -> None:
    edges = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    given_spans = list(pairwise(edges))
    words = cut_at(split_words(text), edges)
    assert [index for word in words for index in range(*word)] == [
        index for word in split_words(text) for index in range(*word)
    ]
    marked = []
    for start, end in given_spans:
        span = from_characters(words, start, end, "PER")
        if span is None:
            assert not text[start:end].strip()
            continue
        first, last = to_characters(words, span)
        # Only the white space at the ends belongs to no word.
        assert text[first:last] == text[start:end].strip()
        assert from_characters(words, first, last, "PER") == span
        marked.append(span)
    assert read_spans(write_spans(marked)) == tuple(marked)
    inside = joined(text, words).split(" ") if words else []
    for span, (start, end) in zip(
        marked, [pair for pair in given_spans if text[slice(*pair)].strip()], strict=True
    ):
        assert "".join(inside[span.start : span.end]) == "".join(text[start:end].split())


@pytest.mark.parametrize(("start", "end"), [(4, 10), (3, 10), (3, 12), (4, 11)])
def test_an_edge_in_white_space_is_moved_to_the_word(start: int, end: int) -> None:
    text = "in  Berlin, he"
    assert from_characters(split_words(text), start, end, "LOC") == (
        Span(1, 2, "LOC") if end < 11 else Span(1, 3, "LOC")
    )
    assert from_characters(split_words(text), 2, 4, "LOC") is None


def test_an_edge_inside_a_word_cuts_it() -> None:
    text = "the Berlin-based firm"
    words = cut_at(split_words(text), (4, 10))
    assert [text[start:end] for start, end in words] == ["the", "Berlin", "-based", "firm"]
    assert from_characters(words, 4, 10, "LOC") == Span(1, 2, "LOC")
    assert from_characters(split_words(text), 4, 10, "LOC") is None


def test_repeated_adjacent_and_one_character_mentions_stay_apart() -> None:
    text = "X X, X saw XX"
    words = split_words(text)
    indices = [(0, 1), (2, 3), (5, 6), (11, 13)]
    spans = [from_characters(words, *index, "PER") for index in indices]
    assert spans == [Span(0, 1, "PER"), Span(1, 2, "PER"), Span(3, 4, "PER"), Span(5, 6, "PER")]
    assert [to_characters(words, span) for span in spans if span] == indices
    halves = cut_at(words, (11, 12, 13))
    assert [from_characters(halves, 11, 12, "PER"), from_characters(halves, 12, 13, "LOC")] == [
        Span(5, 6, "PER"),
        Span(6, 7, "LOC"),
    ]


@given(markings())
def test_targets_are_canonical(marking: tuple[list[Span], int]) -> None:
    spans, _ = marking
    target = write_spans(reversed(spans))
    assert target == write_spans(spans)
    assert read_spans(target) == tuple(spans)
    assert json.loads(target) == [list(span) for span in spans]


def test_a_target_keeps_any_type_as_it_is() -> None:
    assert write_spans([]) == "[]"
    assert write_spans([Span(0, 1, 'é"')]) == '[[0, 1, "é\\""]]'


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([Span(0, 2, "A"), Span(1, 3, "B")], r"\(0, 2, 'A'\) and \(1, 3, 'B'\) overlap; nested"),
        ([Span(0, 5, "A"), Span(1, 2, "A")], "overlap"),
        ([Span(0, 1, "A"), Span(0, 1, "B")], "overlap"),
        ([Span(0, 1, "A"), Span(0, 1, "A")], "overlap"),
        ([Span(2, 2, "A")], r"\(2, 2, 'A'\) has no words"),
        ([Span(-1, 2, "A")], "has no words"),
    ],
)
def test_overlapping_and_empty_entities_are_errors(spans: list[Span], message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_spans(spans)


def iob1(spans: list[Span], length: int) -> list[str]:
    """IOB1: B- only for an entity directly after another one of its type."""
    tags = [tag.replace("B-", "I-", 1) for tag in to_tags(spans, length)]
    for before, after in pairwise(spans):
        if before.end == after.start and before.type == after.type:
            tags[after.start] = f"B-{after.type}"
    return tags


def with_ends(spans: list[Span], length: int, end: str, single: str) -> list[str]:
    tags = to_tags(spans, length)
    for span in spans:
        tags[span.end - 1] = f"{single if span.end - span.start == 1 else end}-{span.type}"
    return tags


@given(markings())
def test_each_scheme_is_read_as_what_was_written(marking: tuple[list[Span], int]) -> None:
    spans, length = marking
    for tags in (
        to_tags(spans, length),
        iob1(spans, length),
        with_ends(spans, length, "E", "S"),
        with_ends(spans, length, "L", "U"),
    ):
        assert len(tags) == length
        assert from_tags(tags) == spans


@given(
    st.lists(
        st.sampled_from(["O", *(f"{mark}-{type}" for mark in "BIESLU" for type in TYPES)]),
        max_size=10,
    )
)
def test_any_sequence_of_tags_gives_spans_over_exactly_its_entity_words(tags: list[str]) -> None:
    spans = from_tags(tags)
    assert {index for span in spans for index in range(span.start, span.end)} == {
        index for index, tag in enumerate(tags) if tag != "O"
    }
    assert all({tag[2:] for tag in tags[span.start : span.end]} == {span.type} for span in spans)
    assert from_tags(to_tags(read_spans(write_spans(spans)), len(tags))) == spans


@pytest.mark.parametrize("tag", ["", "B", "B-", "O-PER", "X-PER", "b-PER", "PER", "NN", "-PER"])
def test_what_is_no_tag_is_named(tag: str) -> None:
    with pytest.raises(DataError, match=f"'{tag}' is not a tag of IOB1, IOB2 or BIOES"):
        from_tags(["O", tag])


def test_strict_reading_drops_what_nothing_begins() -> None:
    assert strict_tags(["I-A", "B-A", "I-A", "I-B", "I-B", "O", "I-A", "B-B", "B-B", "I-B"]) == [
        "O", "B-A", "I-A", "O", "O", "O", "O", "B-B", "B-B", "I-B",
    ]  # fmt: skip
    assert strict_tags([]) == []


@given(markings(), st.integers(0, 12))
def test_tags_of_fewer_words_are_cut_off(marking: tuple[list[Span], int], fewer: int) -> None:
    spans, length = marking
    assert to_tags(spans, min(fewer, length)) == to_tags(spans, length)[:fewer]


@given(
    st.lists(
        st.sampled_from(
            ["anna", "xyz", "…", "\u200b", "\u200e", "你", "don't", "e\u0301", "a-b-c", "😀"]
        ),
        min_size=1,
        max_size=9,
    )
)
def test_sub_tokens_lead_back_to_their_words(words: list[str]) -> None:
    encoded = tiny_tokenizer(["anna"])([words], is_split_into_words=True)
    of_piece = encoded.word_ids(0)
    indices = first_pieces(of_piece, len(words))
    assert len(indices) == len(words)
    for word, index in enumerate(indices):
        pieces = [piece for piece, one in enumerate(of_piece) if one == word]
        assert index == (pieces[0] if pieces else -1)
    kept = [index for index in indices if index >= 0]
    assert kept == sorted(set(kept))
    # The tokenizer drops invisible characters.
    assert all(
        (index < 0) == (word == "\u200b" or word == "\u200e")
        for word, index in zip(words, indices, strict=True)
    )


@pytest.mark.parametrize(
    ("longest", "indices"),
    [(9, (1, 4, 7)), (8, (1, 4, -1)), (7, (1, 4, -1)), (6, (1, 4, -1)), (5, (1, -1, -1))],
)
def test_a_text_cut_inside_an_entity_keeps_the_words_whose_first_piece_is_left(
    longest: int, indices: tuple[int, ...]
) -> None:
    encoded = tiny_tokenizer([])(
        [["abc", "def", "g"]], is_split_into_words=True, truncation=True, max_length=longest
    )
    assert first_pieces(encoded.word_ids(0), 3) == indices


def test_words_without_a_piece() -> None:
    assert first_pieces([None, 0, 0, 2, 2, None], 4) == (1, -1, 3, -1)
    assert first_pieces([], 0) == ()
