"""Entities as coloured marks in a text, and what is wrong with a marking; one form for the page's template and for its script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tutelage.records import Outcome
from tutelage.tasks.span_errors import span_errors
from tutelage.tasks.spans import Span, read_spans

KINDS = ("type", "boundary", "type and boundary", "missed", "invented")
"""The kinds of :class:`~tutelage.tasks.span_errors.SpanError`, in the order they are shown."""

TINTS = 8
"""How many colours the marks have (``.t0`` … in report.css)."""


class Piece(NamedTuple):
    """A stretch of a text: plain, or an entity of ``type``; ``fault`` says what is wrong with the mark."""

    text: str
    type: str = ""
    fault: str = ""


class ComparedMarks(NamedTuple):
    """One text marked twice, and how many errors of each kind there are."""

    right: tuple[Piece, ...]
    predicted: tuple[Piece, ...]
    errors: dict[str, int]


def marked(
    text: str, spans: Iterable[Span], faults: Mapping[Span, str] | None = None
) -> tuple[Piece, ...]:
    """``text`` cut at its entities; joined, the pieces are the text again. A span beyond the text, or over another one, is left out."""
    indices = []
    start = 0
    for word in text.split(" "):
        indices.append((start, start + len(word)))
        start += len(word) + 1
    pieces: list[Piece] = []
    done = 0
    for span in sorted(spans):
        if not 0 <= span.start < span.end <= len(indices) or indices[span.start][0] < done:
            continue
        first, last = indices[span.start][0], indices[span.end - 1][1]
        if first > done:
            pieces.append(Piece(text[done:first]))
        pieces.append(Piece(text[first:last], span.type, (faults or {}).get(span, "")))
        done = last
    return (*pieces, Piece(text[done:])) if done < len(text) or not pieces else tuple(pieces)


def compared(outcome: Outcome) -> ComparedMarks:
    """The right marking, where what was missed is named, and the predicted one with what is wrong with each mark."""
    gold, predicted = read_spans(outcome.target), read_spans(outcome.predicted)
    errors = span_errors(gold, predicted)
    missed: dict[Span, str] = {
        error.gold: error.kind for error in errors if error.gold and not error.predicted
    }
    wrong: dict[Span, str] = {error.predicted: error.kind for error in errors if error.predicted}
    counts = Counter[str](error.kind for error in errors)
    return ComparedMarks(
        marked(outcome.text, gold, missed),
        marked(outcome.text, predicted, wrong),
        {kind: counts[kind] for kind in KINDS if counts[kind]},
    )


def tints(labels: Sequence[str], others: Iterable[str] = ()) -> dict[str, int]:
    """The colour of each type, below :data:`TINTS`: of the run's entity types by their place, so that those of a task differ.

    Types beyond the eighth share colours with the first ones, and ``others``, which are none of the run's, all have the last; the type is
    written beside each mark.
    """
    return {
        **dict.fromkeys(sorted(others), TINTS - 1),
        **{label: index % TINTS for index, label in enumerate(labels)},
    }


def cut(pieces: Iterable[Piece], length: int) -> tuple[Piece, ...]:
    """The pieces up to ``length`` characters, with an ellipsis where that cuts something off."""
    kept: list[Piece] = []
    for piece in pieces:
        if length <= 0:
            kept.append(Piece("…"))
            break
        kept.append(
            piece if len(piece.text) <= length else piece._replace(text=piece.text[:length] + "…")
        )
        length -= len(piece.text)
        if length < 0:
            break
    return tuple(kept)
