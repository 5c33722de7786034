"""Errors of an annotation by kind: type, boundary, both, missed, invented (after MUC-5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from tutelage.tasks.spans import Span

ErrorKind = Literal["type", "boundary", "type and boundary", "missed", "invented"]

KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)
"""The kinds of errors, in display order."""


@dataclass(frozen=True, slots=True)
class SpanError:
    """One error of an annotation.

    Attributes:
        kind: "type", "boundary", "type and boundary", "missed" or "invented".
        gold: The correct entity; None for an invented one.
        predicted: The predicted entity; None for a missed one.
    """

    kind: ErrorKind
    gold: Span | None
    predicted: Span | None


def span_errors(gold: Iterable[Span], predicted: Iterable[Span]) -> list[SpanError]:
    """Errors of a predicted annotation, in text order.

    Each wrong prediction is paired with the unmatched gold entity sharing the most words, the same
    type first among ties; spans without a partner are missed or invented.

    Without spans overlapping two spans of the other annotation, these counts are MUC-5's as in
    nervaluate (a test compares them): strict's incorrect are type, boundary and both; exact's
    incorrect and partial's partial are boundary and both; type's incorrect are type and both.
    Otherwise the totals still agree, and so do the correct ones except for type alone. The pairs
    differ on purpose: nervaluate lets each prediction in turn take the first free entity it
    touches, and pairs again for the type. Here the words decide, as for a reader of the errors, and
    all kinds share the same pairs. This can leave more spans without a partner.

    Args:
        gold: The correct entities.
        predicted: The predicted entities.
    """
    wanted, found = set(gold), set(predicted)
    open_gold, open_predicted = sorted(wanted - found), sorted(found - wanted)
    # Candidate pairs, best first: most shared words, then equal types, then text order.
    pairs = sorted(
        (-shared, one.type != other.type, one, other)
        for one in open_gold
        for other in open_predicted
        if (shared := min(one.end, other.end) - max(one.start, other.start)) > 0
    )
    errors: list[SpanError] = []
    # Match greedily; each span takes part in one error only.
    for _, _, one, other in pairs:
        if one in open_gold and other in open_predicted:
            open_gold.remove(one)
            open_predicted.remove(other)
            errors.append(SpanError(_kind(one, other), one, other))
    # Spans left over have no partner.
    errors += [SpanError("missed", span, None) for span in open_gold] + [
        SpanError("invented", None, span) for span in open_predicted
    ]
    return sorted(errors, key=lambda error: error.gold or error.predicted or Span(0, 0, ""))


def _kind(gold: Span, predicted: Span) -> ErrorKind:
    # Equal words but unequal spans: only the type can differ.
    if gold[:2] == predicted[:2]:
        return "type"
    return "boundary" if gold.type == predicted.type else "type and boundary"
