"""What is wrong with a marking, entity by entity: type, boundary, both, missed, invented (after MUC-5's categories)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tutelage.tasks.spans import Span

ErrorKind = Literal["type", "boundary", "type and boundary", "missed", "invented"]


@dataclass(frozen=True, slots=True)
class SpanError:
    """One error: the right entity, what was predicted in its place, or one of them alone."""

    kind: ErrorKind
    gold: Span | None
    predicted: Span | None


def span_errors(gold: Iterable[Span], predicted: Iterable[Span]) -> list[SpanError]:
    """The errors in the order of the text.

    Each wrong prediction is paired with the wrong gold entity that it shares the most words with, the same type first of equals;
    what finds no partner is missed or invented.

    Where no span overlaps two of the other marking, these are the counts of MUC-5 as nervaluate has them (a test compares them): strict's
    incorrect are type, boundary and both; exact's incorrect and partial's partial are boundary and both; of the type alone, incorrect
    are type and both. Elsewhere the totals are still the same, and the correct ones but for those of the type alone. The pairs are not,
    on purpose: nervaluate lets each prediction in turn take the first free entity that it touches, and pairs anew for the type; here the
    words decide, as for a reader of the errors, and every kind has the same pairs. That can leave more spans without a partner.
    """
    wanted, found = set(gold), set(predicted)
    open_gold, open_predicted = sorted(wanted - found), sorted(found - wanted)
    pairs = sorted(
        (-shared, one.type != other.type, one, other)
        for one in open_gold
        for other in open_predicted
        if (shared := min(one.end, other.end) - max(one.start, other.start)) > 0
    )
    errors: list[SpanError] = []
    for _, _, one, other in pairs:
        if one in open_gold and other in open_predicted:
            open_gold.remove(one)
            open_predicted.remove(other)
            errors.append(SpanError(_kind(one, other), one, other))
    errors += [SpanError("missed", span, None) for span in open_gold] + [
        SpanError("invented", None, span) for span in open_predicted
    ]
    return sorted(errors, key=lambda error: error.gold or error.predicted or Span(0, 0, ""))


def _kind(gold: Span, predicted: Span) -> ErrorKind:
    if gold[:2] == predicted[:2]:
        return "type"
    return "boundary" if gold.type == predicted.type else "type and boundary"
