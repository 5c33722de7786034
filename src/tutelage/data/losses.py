"""What cleaning leaves out of each split, and when a user should see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tutelage.characters import shown
from tutelage.data.dataset import CUT, SplitSummary, counted_reason
from tutelage.data.raw import RawExample, RawSplit
from tutelage.errors import DataError
from tutelage.tasks.rows import RowReader, in_file

CONFLICT = "conflicting label"
"""Reason of a row that repeats a text with another label."""
REJECTED = "row rejected in Prodigy"
"""Reason of a row whose annotator did not accept it."""

_MUCH = 0.1
"""Share of a split, or of a class, above which a warning tells what is left out."""
_FEW = 3
"""Rows that are left out without a warning, at most one fewer than this."""
_CONFLICTS = 0.01
"""Share of labelled rows that contradict another row above which a warning shows an example."""
_CONTRADICTORY = 1 / 3
"""Share of them above which the run stops."""
_SPLITS = {"pool": "the pool", "shots": "the shots"}
"""Splits in a sentence; the others have no article."""
_SHOWN = 5
"""Classes in a message."""


class Lost(NamedTuple):
    """A row left out of a split.

    Attributes:
        split: The data set's name of the split ("pool").
        reason: For instance "near duplicate of test".
        row: The row.
        known: The row or text that it repeats, if it repeats one.
    """

    split: str
    reason: str
    row: RawExample
    known: RawExample | str | None = None


class Losses:
    """Collects the rows that are left out."""

    def __init__(self) -> None:
        self._rows: list[Lost] = []

    def add(
        self, split: str, reason: str, row: RawExample, known: RawExample | str | None = None
    ) -> None:
        """Note that ``row`` is left out of ``split``."""
        self._rows.append(Lost(split, reason, row, known))

    def of(self, split: str) -> list[Lost]:
        """Return the rows left out of a split."""
        return [lost for lost in self._rows if lost.split == split]

    @property
    def totals(self) -> dict[str, int]:
        """Number of lost rows by reason and split ("near duplicate of test in pool")."""
        return dict(
            Counter(f"{one.reason} in {one.split}" for one in self._rows if one.reason != CUT)
        )

    def by_class(self, split: str, reader: RowReader) -> dict[str, dict[str, int]]:
        """Return the number of rows left out of a split by class and reason."""
        found: dict[str, Counter[str]] = {}
        for lost in self.of(split):
            for name in _classes([lost.row], reader):
                found.setdefault(name, Counter())[lost.reason] += 1
        return {name: dict(counts) for name, counts in found.items()}


def summary(
    name: str,
    raw: RawSplit | None,
    kept: Sequence[RawExample],
    losses: Losses,
    labels: Iterable[str],
    reader: RowReader,
) -> SplitSummary:
    """Summarise a split.

    Args:
        name: The data set's name of the split.
        raw: Its rows as read; None for a dev set cut from train.
        kept: The rows that are left.
        losses: The rows that are left out.
        labels: The label space, whose order the counts keep.
        reader: The task's reader.
    """
    dropped = Counter(lost.reason for lost in losses.of(name))
    counts = _classes(kept, reader)
    return SplitSummary(
        name=name,
        where=raw.where if raw else "cut from train",
        read=len(raw.rows) + len(raw.rejected) if raw else len(kept) + dropped.total(),
        kept=len(kept),
        classes={label: counts[label] for label in labels if label in counts},
        dropped=dict(dropped),
        replaced=raw.replaced if raw else 0,
        unlabelled=sum(row.label is None for row in kept),
    )


def loss_warnings(summary: SplitSummary, losses: Losses, reader: RowReader) -> list[str]:
    """Warn if cleaning takes much of a split or of a class, and of contradicting labels.

    Raises:
        DataError: If a large share of the rows contradicts other rows.
    """
    lost = losses.of(summary.name)
    conflicts = [one for one in lost if one.reason == CONFLICT]
    others = [one for one in lost if one.reason not in (CUT, CONFLICT, REJECTED)]
    return [*_conflicts(summary, conflicts, reader), *_much_left_out(summary, others, reader)]


def _much_left_out(summary: SplitSummary, lost: Sequence[Lost], reader: RowReader) -> list[str]:
    # Classes that lose much: a whole class may be small.
    gone = _classes([one.row for one in lost], reader)
    hit = {
        name: (count, before)
        for name, count in gone.items()
        if count == (before := count + summary.classes.get(name, 0))
        or (count >= _FEW and count > _MUCH * before)
    }
    if not hit and (len(lost) < _FEW or len(lost) <= _MUCH * summary.read):
        return []
    reasons = Counter(one.reason for one in lost)
    counted = ", ".join(counted_reason(count, reason) for reason, count in reasons.most_common())
    text = (
        f"{len(lost):,} of {summary.read:,} texts of {summary.where} are left out of "
        f"{_SPLITS.get(summary.name, summary.name)}: {counted}{_example(lost)}."
    )
    if hit:
        worst = sorted(hit.items(), key=lambda item: (-item[1][0] / item[1][1], item[0]))
        named = [
            f"{count:,} of {before:,} of '{shown(name)}'"
            for name, (count, before) in worst[:_SHOWN]
        ]
        more = f", and more of {len(worst) - _SHOWN} others" if len(worst) > _SHOWN else ""
        text += f" By {reader.class_name}: {', '.join(named)}{more}."
    near = sum(count for reason, count in reasons.items() if reason.startswith("near duplicate"))
    if near:
        text += (
            f" data.near_threshold=1 keeps the {counted_reason(near, 'near duplicate')}; dev and "
            "test are then easier than new texts."
        )
    return [text]


def _example(lost: Sequence[Lost]) -> str:
    """The first row with a known counterpart, preferably a near duplicate."""
    pairs = [one for one in lost if one.known is not None]
    if not pairs:
        return f", the first in {in_file(lost[0].row.location)}"
    one = next((one for one in pairs if one.reason.startswith("near")), pairs[0])
    known = one.known.text if isinstance(one.known, RawExample) else one.known
    return (
        f", such as {one.row.text[:60]!r} ({in_file(one.row.location)}) "
        f"beside {(known or '')[:60]!r}"
    )


def _conflicts(summary: SplitSummary, conflicts: Sequence[Lost], reader: RowReader) -> list[str]:
    labelled = summary.kept - summary.unlabelled + len(conflicts)
    if len(conflicts) < 2 or len(conflicts) <= _CONFLICTS * labelled:
        return []
    first = conflicts[0]
    assert isinstance(first.known, RawExample)
    by_class = _classes([one.row for one in conflicts], reader).most_common(_SHOWN)
    one, other = (shown(str(row.label)) for row in (first.known, first.row))
    text = (
        f"{len(conflicts):,} of {labelled:,} labelled rows of {summary.where} repeat the text of "
        f"another row with another label, such as {first.row.text[:60]!r}: "
        f"{one} ({in_file(first.known.location)}) and {other} "
        f"({in_file(first.row.location)})."
    )
    if len(conflicts) >= 10 and len(conflicts) > _CONTRADICTORY * labelled:
        raise DataError(f"{text} Give every text once, with {reader.one_target}.")
    counts = ", ".join(f"'{shown(name)}' {count:,}" for name, count in by_class)
    return [f"{text} The first row counts. Left out by {reader.class_name}: {counts or 'none'}."]


def _classes(rows: Iterable[RawExample], reader: RowReader) -> Counter[str]:
    return Counter(
        name for row in rows if row.label is not None for name in reader.classes(row.label)
    )
