"""Entities as coloured marks in a text, with their errors, for the page and its script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tutelage.records import Outcome
from tutelage.tasks.span_errors import KINDS, span_errors
from tutelage.tasks.spans import Span, read_spans

TINTS = 8
"""Number of colours for marks (``.t0`` … in report.css)."""


class Piece(NamedTuple):
    """A stretch of a text.

    Attributes:
        text: Its characters.
        type: Entity type of a mark; "" for plain text.
        fault: Kind of error of the mark; "" if it is correct.
    """

    text: str
    type: str = ""
    fault: str = ""


class ComparedMarks(NamedTuple):
    """One text with its gold and its predicted marks.

    Attributes:
        right: The text with gold marks; a missed entity has a fault.
        predicted: The text with predicted marks, and the fault of each.
        errors: Number of errors of each kind.
    """

    right: tuple[Piece, ...]
    predicted: tuple[Piece, ...]
    errors: dict[str, int]


def marked(
    text: str, spans: Iterable[Span], faults: Mapping[Span, str] | None = None
) -> tuple[Piece, ...]:
    """Cut ``text`` at its entities.

    Args:
        text: Words separated by spaces.
        spans: Entities; a span outside the text, or overlapping an earlier one, is left out.
        faults: Kind of error of each wrong span.

    Returns:
        Pieces whose concatenation is ``text``.
    """
    # Start and end of each word, in characters.
    offsets = []
    start = 0
    for word in text.split(" "):
        offsets.append((start, start + len(word)))
        start += len(word) + 1
    pieces: list[Piece] = []
    done = 0
    for span in sorted(spans):
        if not 0 <= span.start < span.end <= len(offsets) or offsets[span.start][0] < done:
            continue
        first, last = offsets[span.start][0], offsets[span.end - 1][1]
        if first > done:
            pieces.append(Piece(text[done:first]))
        pieces.append(Piece(text[first:last], span.type, (faults or {}).get(span, "")))
        done = last
    return (*pieces, Piece(text[done:])) if done < len(text) or not pieces else tuple(pieces)


def compared(outcome: Outcome) -> ComparedMarks:
    """Compare the gold and the predicted marks of an outcome."""
    gold, predicted = read_spans(outcome.target), read_spans(outcome.predicted)
    errors = span_errors(gold, predicted)
    # A missed entity is an error of the gold side; every other error belongs to a prediction.
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
    """Assign a colour, an index below :data:`TINTS`, to each entity type.

    The run's own types are coloured by their index, so the first eight differ; later ones reuse the
    colours. The type is written next to each mark as well.

    Args:
        labels: The run's entity types, in order.
        others: Types outside the label space; they share the last colour.
    """
    return {
        # The run's own types come second and override the others.
        **dict.fromkeys(sorted(others), TINTS - 1),
        **{label: index % TINTS for index, label in enumerate(labels)},
    }


def cut(pieces: Iterable[Piece], length: int) -> tuple[Piece, ...]:
    """Cut pieces to ``length`` characters in total, with an ellipsis if something is cut off."""
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
