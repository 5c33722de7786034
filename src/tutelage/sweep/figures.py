"""The figures of a sweep's report: arms with their intervals, and learning curves with bands."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tutelage.report.style import Colour, figure_style, label_right, new_figure, short
from tutelage.sweep.curve import Point
from tutelage.sweep.results import ArmRun, SweepResults
from tutelage.sweep.statistics import Ranks, summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CURVES = (
    Colour.BLUE,
    Colour.VERMILION,
    Colour.GREEN,
    Colour.PURPLE,
    Colour.AMBER,
    Colour.SKY,
    Colour.MUTED,
)
_SAMPLES = 60
"""Points at which curves of several seeds are averaged."""
_CURVE = (
    "The mean over the runs, up to the end of the shortest; the band spans the worst and the best "
    "run. An arm with a single measurement per run is a dot, whose lines span its runs."
)
_AXES: tuple[tuple[str, str, Callable[[Point], float | None], str], ...] = (
    ("tokens", "billed teacher tokens", lambda point: point.tokens, ""),
    ("round", "round", lambda point: point.round, ""),
    (
        "share",
        "share of the pool, %",
        lambda point: None if point.share is None else 100 * point.share,
        " The share: distinct pool texts that a step has learnt from; for methods without a pool, "
        "their rows.",
    ),
)
"""Name, unit, position of a point (None: unknown) and an addition to the caption, per x-axis."""


def sweep_figures(
    results: SweepResults, ranked: Ranks | None
) -> Iterator[tuple[str, str, str, Figure]]:
    """Draws the figures of a sweep's report.

    Args:
        results: The sweep.
        ranked: Mean ranks; None leaves their figure out.

    Yields:
        Name, title, caption and figure.
    """
    title = dict(results.metrics)[results.metric]
    several = len(results.data) > 1
    for number, data in enumerate(results.data):
        on = f" on {data}" if several else ""
        tag = f"-{number}" if several else ""
        # The arms of each data set, then their curves over every known x-axis.
        yield (
            f"arms{tag}",
            f"Test {title}{on}",
            "A ring is a run, the dot the mean, the line its 95 % bootstrap interval over runs.",
            _arms(results, data, title),
        )
        for name, unit, position, more in _AXES:
            figure = _curves(results, data, position, unit, title)
            if figure is not None:
                yield (
                    f"curve-{name}{tag}",
                    f"Dev {title} by {unit.removesuffix(', %')}{on}",
                    _CURVE + more,
                    figure,
                )
    if ranked is not None:
        blocks = "data sets; arms without a run on each are left out" if several else "seeds"
        yield (
            "ranks",
            "Mean ranks",
            f"1 is best; over {ranked.blocks} {blocks}. Arms closer than the critical difference "
            "(Nemenyi, 5 %) are not separated.",
            _ranks(ranked),
        )


def _arms(results: SweepResults, data: str, title: str) -> Figure:
    values = {
        arm: [run.scores[results.metric] for run in runs]
        for arm in results.arms
        if (runs := results.of(arm, data))
    }
    with figure_style():
        figure = new_figure(0.9 + 0.36 * len(values))
        draw_arms(figure.subplots(), values, title)
    return figure


def draw_arms(axes: Axes, values: Mapping[str, Sequence[float]], title: str) -> None:
    """Draws arms below each other: a ring per run, the mean and its 95 % bootstrap interval.

    Args:
        axes: Axes to draw on.
        values: Scores of the runs of each arm, in [0, 1].
        title: Name of the metric.
    """
    from matplotlib.ticker import PercentFormatter

    for index, arm in enumerate(reversed(list(values))):
        scores = values[arm]
        found = summary(scores)
        # Rings of the runs, then the mean with its interval on top.
        axes.plot(
            scores,
            [index] * len(scores),
            "o",
            mfc="none",
            mec=Colour.MUTED,
            markersize=8,
            clip_on=False,
        )
        if math.isfinite(found.low):
            axes.plot([found.low, found.high], [index, index], color=Colour.BLUE)
        axes.plot([found.mean], [index], "o", color=Colour.BLUE, markersize=6, clip_on=False)
        axes.annotate(
            f"{found.mean:.1%}",
            (1.01, index),
            xycoords=axes.get_yaxis_transform(),
            va="center",
            annotation_clip=False,
        )
    # Names at the left, first arm on top.
    axes.set_yticks(range(len(values)), [short(arm, 44) for arm in reversed(list(values))])
    axes.set_ylim(-0.6, len(values) - 0.4)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    axes.set_xlabel(f"{title} on test, %")
    axes.grid(axis="x")


def _curves(
    results: SweepResults,
    data: str,
    position: Callable[[Point], float | None],
    unit: str,
    title: str,
) -> Figure | None:
    from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

    curves = {arm: _known(results.of(arm, data), position) for arm in results.arms}
    positions = [at for found in curves.values() for curve in found for at in curve]
    if len(set(positions)) < 2:
        return None
    with figure_style():
        figure = new_figure(3.9)
        axes = figure.subplots()
        labels = []
        # A curve with a band, single curves, or a dot, depending on the measurements of an arm.
        for number, (arm, found) in enumerate(
            (arm, found) for arm, found in curves.items() if found
        ):
            colour, again = _CURVES[number % len(_CURVES)], number // len(_CURVES) % 2
            if band := _band(found):
                axes.fill_between(band[0], band[2], band[3], color=colour, alpha=0.13, linewidth=0)
                axes.plot(band[0], band[1], color=colour, linestyle=("-", (0, (4, 2)))[again])
                end, sign = float(band[1][-1]), ""
            elif any(len(curve) > 1 for curve in found):
                # Curves that do not overlap have no mean.
                for curve in found:
                    axes.plot([*curve], [*curve.values()], color=colour, linewidth=0.8)
                end, sign = float(np.mean([[*curve.values()][-1] for curve in found])), ""
            else:
                ends = np.array([[*curve.items()][-1] for curve in found])
                middle = ends.mean(axis=0)
                across, up = np.abs(np.array([ends.min(axis=0), ends.max(axis=0)]) - middle).T[
                    ..., None
                ]
                axes.errorbar(
                    [middle[0]],
                    [middle[1]],
                    up,
                    across,
                    fmt="os"[again],
                    color=colour,
                    markersize=6,
                    elinewidth=1.0,
                    clip_on=False,
                )
                end, sign = float(middle[1]), "●■"[again] + " "
            labels.append((end, f"{sign}{short(arm, 30)} {end:.1%}", str(colour)))

        # Axes and labels at the right end of each curve.
        axes.set_xlabel(unit)
        axes.set_ylabel(f"{title} on dev, %")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
        if all(float(at).is_integer() for at in positions):
            axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        if max(positions) >= 1000:
            axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.grid(axis="y")
        label_right(axes, labels)
    return figure


def _known(
    runs: Sequence[ArmRun], position: Callable[[Point], float | None]
) -> list[dict[float, float]]:
    """The curves of runs, dev by position, without points of unknown position.

    Of several points at one position, such as the last round and the final stage, the last counts.
    """
    found = [
        {at: point.dev for point in run.curve if (at := position(point)) is not None}
        for run in runs
    ]
    return [dict(sorted(curve.items())) for curve in found if curve]


_Band = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _band(curves: Sequence[Mapping[float, float]]) -> _Band | None:
    """Positions, mean, worst and best of several curves, which are linear between their points.

    None if the curves have no common range.
    """
    moving = [[*curve.items()] for curve in curves if len(curve) > 1]
    # Up to the end of the shortest run; beyond it the mean would be of fewer runs.
    start, end = (
        max((curve[0][0] for curve in moving), default=0.0),
        min((curve[-1][0] for curve in moving), default=0.0),
    )
    if start >= end:
        return None
    positions = np.linspace(start, end, _SAMPLES)
    values = np.array([np.interp(positions, *np.array(curve).T) for curve in moving])
    return positions, values.mean(axis=0), values.min(axis=0), values.max(axis=0)


def _ranks(found: Ranks) -> Figure:
    order = sorted(found.mean, key=lambda arm: found.mean[arm])
    with figure_style():
        # The arms, best on top.
        figure = new_figure(1.1 + 0.3 * len(order))
        axes = figure.subplots()
        for index, arm in enumerate(reversed(order)):
            axes.plot(
                [found.mean[arm]], [index], "o", color=Colour.BLUE, markersize=6, clip_on=False
            )

        # A bar as long as the critical difference, from the best arm.
        best = found.mean[order[0]]
        axes.plot(
            [best, best + found.critical],
            [len(order) - 0.3] * 2,
            color=Colour.VERMILION,
            clip_on=False,
        )
        axes.annotate(
            "critical difference",
            (best, len(order) - 0.2),
            color=Colour.VERMILION,
            fontsize=8.5,
            va="bottom",
            annotation_clip=False,
        )
        axes.set_yticks(range(len(order)), [short(arm, 44) for arm in reversed(order)])
        axes.set_ylim(-0.6, len(order) + 0.4)
        axes.set_xlim(0.8, max(len(order) + 0.2, best + found.critical + 0.1))
        axes.set_xlabel("mean rank")
        axes.grid(axis="x")
    return figure
