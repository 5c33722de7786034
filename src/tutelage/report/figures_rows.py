"""The teacher's texts: rows by kind, class and round, and reasons for rejection."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tutelage.records import Row
from tutelage.report.style import Colour, figure_style, kind_colour, new_figure, short
from tutelage.runs.read import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KINDS = ("gold", "class_name", "init", "easy", "hard", "pool")
_MOST_CLASSES = 40
_MOST_REASONS = 15
_QUOTED = re.compile(
    r"""(?<!\w)                          # an apostrophe inside a word opens nothing
    (?:'(?:[^'\\]|\\.)*(?:'|\Z)        # a name as in repr; the reason's end may cut it off
    |"(?:[^"\\]|\\.)*(?:"|\Z))         # a name with an apostrophe
    """,
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"\d+")


def row_class(run: Run, row: Row) -> str:
    """Return the class requested for a row, or else the one of its target."""
    return row.asked or run.task.classes(row.target)[0]


def reason_kind(reason: str) -> str:
    """Strip a reason of the names in quotes, so that rows with the same kind of reason count
    together.

    Numbers next to a name, or in an engine's message about a failed request, are specific to a row
    as well, and are stripped, too.
    """
    # Names first; only then do the remaining numbers show.
    kind = _QUOTED.sub("…", reason)
    if kind != reason or " failed: " in kind:
        kind = _NUMBER.sub("…", kind)
    return kind or "no reason given"


def _stack(rows: Sequence[Row]) -> list[tuple[str, Colour, list[Row]]]:
    """Split rows into layers of a stacked bar: accepted rows by kind, then rejected ones."""
    kinds = [kind for kind in _KINDS if any(row.source == kind and row.accepted for row in rows)]
    layers = [
        (kind, kind_colour(kind), [row for row in rows if row.source == kind and row.accepted])
        for kind in kinds
    ]
    if rejected := [row for row in rows if not row.accepted]:
        layers.append(("rejected", Colour.GREY, rejected))
    return layers


def rows_by_kind(run: Run) -> Figure | None:
    """Draw stacked bars of the pool by kind.

    One panel shows rounds (if there are several), the other one classes.

    Returns:
        The figure; None for an empty pool.
    """
    from matplotlib.ticker import MaxNLocator

    if not run.rows:
        return None
    # Classes in label order, then unknown ones; the most frequent if there are too many.
    totals = Counter(row_class(run, row) for row in run.rows)
    classes = [label for label in run.labels if totals[label]] + sorted(
        label for label in totals if label not in run.labels
    )
    left_out = max(0, len(classes) - _MOST_CLASSES)
    classes = (
        sorted(classes, key=lambda label: -totals[label])[:_MOST_CLASSES] if left_out else classes
    )
    rounds = range(max(row.round for row in run.rows) + 1)
    with figure_style():
        figure = new_figure(max(3.4, 0.9 + 0.27 * len(classes)))
        # A single round needs no panel of its own.
        panels = figure.subplots(1, 2 if len(rounds) > 1 else 1, squeeze=False)[0]
        by_round, by_class = panels[0] if len(rounds) > 1 else None, panels[-1]
        base, start = Counter[int](), Counter[str]()
        for name, colour, rows in _stack(run.rows):
            # Count this layer by round and by class.
            in_round, in_class = (
                Counter(row.round for row in rows),
                Counter(row_class(run, row) for row in rows),
            )
            if by_round:
                by_round.bar(
                    rounds,
                    [in_round[n] for n in rounds],
                    0.72,
                    bottom=[base[n] for n in rounds],
                    color=colour,
                )
            widths, lefts = (
                [in_class[label] for label in classes],
                [start[label] for label in classes],
            )
            by_class.barh(range(len(classes)), widths, 0.72, left=lefts, color=colour, label=name)
            # The next layer starts at the end of this one.
            base += in_round
            start += in_class
        if by_round:
            by_round.set_title("By round")
            by_round.set_xlabel("round")
            by_round.set_ylabel("rows")
            by_round.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True))
            by_round.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
            by_round.grid(axis="y")
        noun = run.task.wording.class_name
        by_class.set_title(
            f"By {noun}"
            + (
                f" (the {_MOST_CLASSES} with most rows of {_MOST_CLASSES + left_out})"
                if left_out
                else ""
            )
        )
        by_class.set_xlabel(f"rows (rejected ones under the requested {noun})")
        by_class.set_yticks(range(len(classes)), [short(label) for label in classes])
        by_class.set_ylim(len(classes) - 0.4, -0.6)
        by_class.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        by_class.grid(axis="x")
        by_class.tick_params(axis="y", length=0)
        # One legend for both panels.
        handles, names = by_class.get_legend_handles_labels()
        figure.legend(
            handles,
            names,
            loc="outside upper left",
            ncols=len(names),
            handlelength=1.0,
            handleheight=1.0,
        )
    return figure


def rejected_by_reason(run: Run) -> Figure | None:
    """Draw bars of rejected rows by reason, the most frequent first; rare reasons are combined.

    Returns:
        The figure; None if nothing was rejected.
    """
    from matplotlib.ticker import MaxNLocator

    reasons = Counter(reason_kind(row.reason) for row in run.rows if not row.accepted)
    if not reasons:
        return None
    counted = reasons.most_common()
    if len(counted) > _MOST_REASONS:
        # Leave one bar for everything else.
        rest = counted[_MOST_REASONS - 1 :]
        counted = [
            *counted[: _MOST_REASONS - 1],
            (f"{len(rest)} other reasons", sum(count for _, count in rest)),
        ]
    total = sum(reasons.values())
    with figure_style():
        figure = new_figure(0.9 + 0.3 * len(counted))
        axes = figure.subplots()
        bars = axes.barh(
            range(len(counted)), [count for _, count in counted], 0.66, color=Colour.VERMILION
        )
        axes.bar_label(
            bars,
            [f"{count:,} · {count / total:.0%}" for _, count in counted],
            padding=4,
            fontsize=8.5,
        )
        axes.set_yticks(range(len(counted)), [short(reason, 48) for reason, _ in counted])
        axes.set_ylim(len(counted) - 0.4, -0.6)
        # Leave room for the numbers at the end of each bar.
        axes.set_xlim(0, counted[0][1] * 1.12)
        axes.set_xlabel(f"rejected rows ({total:,} of {len(run.rows):,})")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    return figure
