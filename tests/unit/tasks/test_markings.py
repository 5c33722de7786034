"""Words with tags and texts with character spans give the same targets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.tasks.test_spans import TEXTS

from tutelage.errors import DataError
from tutelage.tasks.markings import checked_word, from_spans, from_words
from tutelage.tasks.spans import Span, read_spans, to_tags, write_spans


def test_words_and_spans_give_the_same_marking() -> None:
    by_overrides = from_words(
        "a:1", ["Anna", "Lee", "left", "Köln", "."], ["B-PER", "I-PER", "O", "B-LOC", "O"]
    )
    assert by_overrides == (
        "Anna Lee left Köln .",
        write_spans([Span(0, 2, "PER"), Span(3, 4, "LOC")]),
    )
    text = "Anna Lee left  Köln."
    assert from_spans("a:1", text, [[15, 19, "LOC"], (0, 8, "PER")]) == by_overrides
    named = [
        {"start": 0, "end": 8, "label": "PER"},
        {"start": 15, "end": 19, "type": "LOC", "text": "Köln"},
    ]
    assert from_spans("a:1", text, named) == by_overrides


def test_a_type_may_stand_under_the_second_key_where_the_first_is_null() -> None:
    rows = [
        {"start": 0, "end": 4, "label": None, "type": "PER"},
        {"start": 9, "end": 13, "label": "LOC", "type": None},
    ]
    assert from_spans("a:1", "Anna saw Köln", rows)[1] == write_spans(
        [Span(0, 1, "PER"), Span(2, 3, "LOC")]
    )


def test_a_span_that_is_there_twice_counts_once() -> None:
    once = from_spans("a:1", "in Ulm on", [[3, 6, "LOC"]])
    assert (
        from_spans(
            "a:1",
            "in Ulm on",
            [[3, 6, "LOC"], {"start": 3, "end": 6, "label": "LOC"}, [2, 7, "LOC"]],
        )
        == once
    )


def test_a_long_span_is_cut_in_the_message() -> None:
    with pytest.raises(DataError, match="overlap") as raised:
        from_spans("a:1", "long " * 500, [[0, 2499, "A"], [5, 2000, "B"]])
    assert len(str(raised.value)) < 300


def test_numbers_have_the_names_that_the_data_set_gives() -> None:
    assert from_words("a:1", ["Anna", "Lee"], [1, 2], ["O", "B-PER", "I-PER"])[1] == write_spans(
        [Span(0, 2, "PER")]
    )
    assert from_words("a:1", ["Anna", "Lee"], [-1, -1], ["O", "B-PER", "I-PER"]) == (
        "Anna Lee",
        None,
    )
    assert from_spans("a:1", "Anna Lee", [[0, 8, 1]], ["LOC", "PER"])[1] == write_spans(
        [Span(0, 2, "PER")]
    )
    assert from_spans("a:1", "Anna Lee", [[0, 4, 0], [5, 8, -1]], ["LOC", "PER"]) == (
        "Anna Lee",
        None,
    )
    with pytest.raises(DataError, match=r"^a:1: there is no class 2; the data set names 2 classes"):
        from_spans("a:1", "Anna Lee", [[0, 8, 2]], ["LOC", "PER"])
    # The names made up by datasets.ClassLabel(num_classes=2).
    with pytest.raises(DataError, match=r"^a:1: the type 1 of the span \[0, 8\) is an integer"):
        from_spans("a:1", "Anna Lee", [[0, 8, 1]], ["0", "1"])


def test_without_marks_there_is_no_target_and_with_none_an_empty_one() -> None:
    assert from_words("a:1", ["a", "b"], None) == ("a b", None)
    assert from_words("a:1", ["a", 1999], ["O", "O"]) == ("a 1999", "[]")
    assert from_spans("a:1", "a, b", None) == ("a , b", None)
    assert from_spans("a:1", "a, b", []) == ("a , b", "[]")
    assert from_words("a:1", [], []) == ("", "[]")


def test_a_span_inside_a_word_cuts_it() -> None:
    assert from_spans(
        "a:1", "a Berlin-based XY", [[2, 8, "LOC"], [15, 16, "A"], [16, 17, "A"]]
    ) == (
        "a Berlin -based X Y",
        write_spans([Span(1, 2, "LOC"), Span(3, 4, "A"), Span(4, 5, "A")]),
    )


def test_white_space_at_the_ends_of_a_span_does_not_matter() -> None:
    for index in ([3, 6], [2, 6], [3, 7], [2, 7]):
        assert from_spans("a:1", "in Ulm on", [[*index, "LOC"]]) == (
            "in Ulm on",
            write_spans([Span(1, 2, "LOC")]),
        )


@given(TEXTS, st.data())
def test_every_span_over_something_is_kept(text: str, data: st.DataObject) -> None:
    edges = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    spans = [
        (start, end, "X")
        for start, end in zip(edges[::2], edges[1::2], strict=False)
        if text[start:end].strip()
    ]
    inside, target = from_spans("a:1", text, spans)
    assert target is not None
    words, read = inside.split(" "), read_spans(target)
    assert ["".join(words[span.start : span.end]) for span in read] == [
        "".join(text[start:end].split()) for start, end, _ in spans
    ]
    if inside:
        assert from_words("a:1", words, to_tags(read, len(words))) == (inside, target)


@pytest.mark.parametrize(
    "word", ["", " ", "New York", "a\tb", "a\n", "a\u2028b", "\u00a0", None, ["a"], {"a": 1}]
)
def test_what_is_not_a_word_is_named(word: Any) -> None:
    with pytest.raises(DataError, match=r"^a:1: .* is not a word: it is empty or contains a space"):
        from_words("a:1", ["a", word], ["O", "O"])


def test_a_word_may_hold_a_hard_space() -> None:
    assert checked_word("a:1", "1\u00a0000") == "1\u00a0000"


@pytest.mark.parametrize(
    ("words", "tags", "message"),
    [
        (["a", "b"], ["O"], "a:1: 2 words but 1 tags"),
        (["a"], ["PER"], "a:1: 'PER' is not a tag of IOB1"),
        (["a"], [3], "a:1: the tag 3 is an integer, not a string such as B-PER"),
        (["a"], [None], "a:1: the tag None is a NoneType"),
    ],
)
def test_tags_that_do_not_fit(words: list[str], tags: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_words("a:1", words, tags)


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([[0, 4]], r"\[0, 4\] is not a span"),
        (["0-4"], "'0-4' is not a span"),
        ([[0.5, 4, "PER"]], "is not a span"),
        ([[0, 4, "Anna", "PER"]], "is not a span"),
        ([[True, 4, "PER"]], "is not a span"),
        ([{"start": 0, "end": 4}], "is not a span. Give"),
        ([[0, 4, ""]], "is not a span"),
        ([[0, 40, "PER"]], r"the span \[0, 40\) is not a valid range of its text of 8 characters"),
        ([[-4, 2, "PER"]], "not a valid range"),
        ([[4, 4, "PER"]], "not a valid range"),
        ([[4, 5, "PER"]], r"the span \[4, 5\) contains no word: ' '"),
        ([[0, 4, " "]], "is not a span"),
        ([[0, 4, None]], "is not a span"),
        ([[0, 4, ["PER", "LOC"]]], "is not a span"),
        ([[0, 4, True]], "is not a span"),
        ([[0, 4, 1.5]], "is not a span"),
        ([{"start": 0, "end": 4, "label": None, "type": None}], "is not a span"),
        (
            [[0, 4, 1]],
            r"the type 1 of the span \[0, 4\) is an integer, but the data "
            r"set has no names for its types. Write the types by name",
        ),
        ([{"start": 0, "end": 4, "label": 0}], r"the type 0 of the span \[0, 4\) is an integer"),
        (
            [[0, 8, "PER"], [5, 8, "LOC"]],
            r"the spans \[0, 8\) 'Anna Lee' \(PER\) and \[5, "
            r"8\) 'Lee' \(LOC\) overlap; nested .*Keep one",
        ),
        (
            [[5, 8, "LOC"], [0, 8, "LOC"]],
            r"the spans \[0, 8\) 'Anna Lee' \(LOC\) and \[5, 8\) 'Lee' \(LOC\) overlap; nested",
        ),
        (
            [[5, 8, "PER"], [0, 4, "PER"], [5, 8, "LOC"]],
            r"the span \[5, 8\) 'Lee' has two types, LOC and PER. Keep one",
        ),
    ],
)
def test_spans_that_make_no_sense(spans: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"^a:1: .*{message}"):
        from_spans("a:1", "Anna Lee", spans)


@pytest.mark.parametrize(
    "span",
    [
        [0.0, 4.0, "PER"],
        [0, 4, ["PER"]],
        [0, 4, "PER", "Anna"],
        [0, 4, "PER", 0.93],
        [0, 4, "PER", None],
        {"start_offset": 0, "end_offset": 4, "label": "PER", "id": 7},
        {"start": 0.0, "end": 4, "text": "Anna", "labels": ["PER"]},
        {"start": 0, "start_offset": None, "end": 4, "label": None, "type": "PER"},
    ],
)
def test_spans_in_the_forms_of_other_tools(span: Any) -> None:
    expected = from_spans("a:1", "Anna Lee", [[0, 4, "PER"]])
    assert from_spans("a:1", "Anna Lee", [span]) == expected
