"""Entities as pieces of a text."""

from __future__ import annotations

import pytest

from tutelage.records import Outcome
from tutelage.report.markings import TINTS, Piece, compared, cut, marked, tints
from tutelage.tasks.spans import Span, write_spans

TEXT = "Ada  met 🦊 Lena Curie ."


def test_pieces_joined_are_the_text() -> None:
    pieces = marked(
        "Ada met Lena Curie .", [Span(2, 4, "PER"), Span(0, 1, "LOC")], {Span(0, 1, "LOC"): "type"}
    )
    assert pieces == (
        Piece("Ada", "LOC", "type"),
        Piece(" met "),
        Piece("Lena Curie", "PER"),
        Piece(" ."),
    )


@pytest.mark.parametrize(
    "spans",
    [
        [],
        [Span(0, 6, "PER")],
        [Span(0, 99, "PER")],
        [Span(2, 4, "A"), Span(3, 5, "B")],
        [Span(3, 3, "A")],
        [Span(-1, 2, "A")],
    ],
)
@pytest.mark.parametrize("text", [TEXT, "", " ", "one", " two words "])
def test_no_marking_loses_a_character(text: str, spans: list[Span]) -> None:
    pieces = marked(text, spans)
    assert pieces
    assert "".join(piece.text for piece in pieces) == text


def test_both_markings_say_what_is_wrong() -> None:
    gold = [Span(0, 1, "PER"), Span(2, 4, "LOC"), Span(5, 6, "ORG"), Span(7, 8, "PER")]
    said = [Span(0, 1, "PER"), Span(2, 3, "LOC"), Span(5, 6, "LOC"), Span(8, 9, "ORG")]
    marks = compared(
        Outcome("1", "a b c d e f g h i", write_spans(gold), write_spans(said), (0.5,), "easy", 1)
    )
    assert [(piece.type, piece.fault) for piece in marks.right if piece.type] == [
        ("PER", ""),
        ("LOC", ""),
        ("ORG", ""),
        ("PER", "missed"),
    ]
    assert [(piece.type, piece.fault) for piece in marks.predicted if piece.type] == [
        ("PER", ""),
        ("LOC", "boundary"),
        ("LOC", "type"),
        ("ORG", "invented"),
    ]
    assert marks.errors == {"type": 1, "boundary": 1, "missed": 1, "invented": 1}


def test_a_cut_says_so_and_keeps_the_types() -> None:
    pieces = (Piece("Ada", "PER"), Piece(" met "), Piece("Lena Curie", "PER"))
    assert cut(pieces, 99) == pieces
    assert cut(pieces, 18) == pieces
    assert cut(pieces, 12) == (Piece("Ada", "PER"), Piece(" met "), Piece("Lena…", "PER"))
    assert cut(pieces, 8) == (Piece("Ada", "PER"), Piece(" met "), Piece("…"))
    assert cut(pieces, 5) == (Piece("Ada", "PER"), Piece(" m…"))


def test_types_of_a_task_differ_in_colour_and_others_share_the_last() -> None:
    labels = [f"type {number}" for number in range(TINTS + 2)]
    found = tints(labels, ["stray", "other", labels[0]])
    assert [found[label] for label in labels] == [*range(TINTS), 0, 1]
    assert (found["stray"], found["other"]) == (TINTS - 1, TINTS - 1)
    assert set(found) == {*labels, "stray", "other"}
