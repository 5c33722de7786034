"""Learning curves, and the F1 of each class by round."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from tutelage.report.style import Colour, figure_style, label_right, new_figure, short
from tutelage.report.summary import reference_scores
from tutelage.runs.read import Run
from tutelage.runs.records import RoundMetrics, Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_CLASSES = 20
"""Classes shown in the panels of :func:`class_f1_by_round`, at most."""
_REFERENCES = (
    ("before", Colour.MUTED),
    ("supervised", Colour.GREEN),
    ("teacher", Colour.VERMILION),
)


def learning_by_round(run: Run) -> Figure | None:
    """Draw both headline metrics on test and dev by round; None with fewer than two rounds."""
    return _learning(run, lambda line: line.round, "round")


def learning_by_tokens(run: Run) -> Figure | None:
    """Draw both headline metrics on test and dev by billed teacher tokens.

    Returns:
        The figure; None with fewer than two rounds, or without billed tokens.
    """
    if not any(line.billed_tokens for line in run.metrics):
        return None
    return _learning(
        run, lambda line: line.billed_tokens, "billed teacher tokens (prompt + completion)"
    )


def _learning(run: Run, x_of: Callable[[RoundMetrics], int], unit: str) -> Figure | None:
    from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

    if len(run.metrics) < 2:
        return None
    with figure_style():
        figure = new_figure(3.7)
        for axes, (name, title) in zip(
            figure.subplots(1, 2),
            ((metric.key, metric.title) for metric in run.headline_metrics),
            strict=True,
        ):
            # Curves of dev and test.
            labels: list[tuple[float, str, str]] = []
            values: list[float] = []
            for split, colour in (("dev", Colour.GREY), ("test", Colour.BLUE)):
                drawn = _line(
                    axes,
                    [(x_of(line), getattr(line, split)) for line in run.metrics],
                    name,
                    colour,
                )
                if drawn:
                    values += drawn
                    ink = Colour.MUTED if split == "dev" else colour
                    labels.append((drawn[-1], f"{split} {drawn[-1]:.1%}", ink))
            # Horizontal lines for the references: before, supervised, teacher.
            for (short_name, colour), reference in zip(
                _REFERENCES, reference_scores(run), strict=True
            ):
                value = reference.scores.value(name) if reference.scores else math.nan
                if math.isfinite(value):
                    axes.axhline(
                        value, color=colour, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1
                    )
                    values.append(value)
                    labels.append((value, f"{short_name} {value:.1%}", colour))
            # Axes around all values, with labels at the right end of each line.
            if values:
                room = max(0.02, 0.06 * (max(values) - min(values)))
                low, high = max(0.0, min(values) - room), min(1.0, max(values) + room)
                axes.set_ylim(low, high)
                # Only whole percents as ticks: steps of 2.5 would be printed as 18, 20, 23.
                axes.yaxis.set_major_locator(
                    MaxNLocator(
                        nbins=max(1, min(8, int(100 * (high - low)))), steps=[1, 2, 4, 5, 10]
                    )
                )
            axes.set_title(title[:1].upper() + title[1:])
            axes.set_xlabel(unit)
            axes.set_ylabel(f"{title}, %")
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol="", decimals=0))
            axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
            # Large numbers of tokens in engineering notation ("20 k").
            if max(x_of(line) for line in run.metrics) >= 1000:
                axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
            axes.grid(axis="y")
            label_right(axes, labels)
    return figure


def _line(
    axes: Axes, points: list[tuple[int, Scores | None]], name: str, colour: str
) -> list[float]:
    pairs = [(x, scores.value(name)) for x, scores in points if scores is not None]
    if pairs:
        axes.plot(*zip(*pairs, strict=True), color=colour, marker="o", clip_on=False, zorder=3)
    return [y for _, y in pairs]


def class_f1_by_round(run: Run) -> Figure | None:
    """Draw one small panel per class: its F1 on test by round, over the other classes in grey.

    Rounds without a test score make all panels show dev instead. With more than 20 classes, the 20
    with the lowest final F1 are shown.

    Returns:
        The figure; None with fewer than two rounds with class scores.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    # Test scores if every round has them, else dev scores.
    every_round_tested = all(line.test for line in run.metrics)
    chosen = [(line.round, line.test if every_round_tested else line.dev) for line in run.metrics]
    measured = [
        (round, scores.per_class) for round, scores in chosen if scores and scores.per_class
    ]
    if len(measured) < 2:
        return None
    split = "test" if every_round_tested else "dev"
    # F1 of each class over the rounds in which it occurs.
    curves = {
        label: [
            (number, per_class[label].f1) for number, per_class in measured if label in per_class
        ]
        for label in run.labels
        if any(label in per_class for _, per_class in measured)
    }
    # Choose the classes, and lay out their panels in a grid.
    shown = (
        sorted(curves, key=lambda label: curves[label][-1][1])[:_MOST_CLASSES]
        if len(curves) > _MOST_CLASSES
        else list(curves)
    )
    columns = min(len(shown), 4 if len(shown) <= 12 else 5)
    deep = math.ceil(len(shown) / columns)
    with figure_style():
        figure = new_figure(0.75 + (1.75 if deep < 3 else 1.5) * deep)
        panels = figure.subplots(deep, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, label in zip(panels, shown, strict=False):
            # The other classes in grey, for comparison.
            for other in shown:
                if other != label:
                    axes.plot(*zip(*curves[other], strict=True), color=Colour.GRID, linewidth=0.9)
            numbers, values = zip(*curves[label], strict=True)
            axes.plot(numbers, values, color=Colour.BLUE, clip_on=False)
            axes.plot(numbers[-1:], values[-1:], color=Colour.BLUE, marker="o", clip_on=False)
            axes.set_title(short(label, 26 if columns <= 4 else 20), fontsize=8.5, pad=5)
            # Away from the curve: at the bottom, or at the top for a class with low scores.
            high = max(values) > 0.5
            axes.annotate(
                f"{values[0]:.0%} → {values[-1]:.0%}",
                (0.98, 0.05 if high else 0.95),
                xycoords="axes fraction",
                ha="right",
                va="baseline" if high else "top",
                fontsize=8.5,
                color=Colour.BLUE,
            )
            axes.grid(axis="y")
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        # The last panel of a column that ends early still needs its tick labels.
        for axes in panels[max(0, len(shown) - columns) : len(shown)]:
            axes.xaxis.set_tick_params(labelbottom=True)
        lowest = min(score for label in shown for _, score in curves[label])
        # Axes are shared, so setting the first panel sets them all.
        panels[0].set_ylim(math.floor(max(0.0, lowest - 0.05) * 10) / 10, 1.0)
        panels[0].yaxis.set_major_formatter(PercentFormatter(1.0, symbol="", decimals=0))
        panels[0].yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
        panels[0].xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        figure.supxlabel("round", fontsize=9, color=Colour.MUTED)
        figure.supylabel(f"F1 on {split}, %", fontsize=9, color=Colour.MUTED)
    return figure
