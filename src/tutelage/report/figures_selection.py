"""The choices of a train selector: LLKD's thresholds, kept shares and label accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tutelage.report.style import Colour, figure_style, label_right, new_figure, short
from tutelage.runs.read import Run
from tutelage.runs.records import SelectionStep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POINTS = 12
"""Maximal number of points per curve; neighbouring steps are combined.

A single step keeps one or two rows, so its accuracy alone is meaningless.
"""
_MOST_CLASSES = 7
"""Classes shown, at most."""
_CURVES = (
    Colour.BLUE,
    Colour.VERMILION,
    Colour.GREEN,
    Colour.PURPLE,
    Colour.AMBER,
    Colour.SKY,
    Colour.MUTED,
)


def selection_by_step(run: Run) -> Figure | None:
    """Draw the rows kept by a train selector, by training step.

    One panel shows the share of rows kept of each class, another the accuracy of the teacher's
    labels on kept rows and on all rows, as far as gold labels are known. LLKD has two more panels
    above: the thresholds of teacher and student by class. With more than 7 classes, the 7 with the
    most rows are shown.

    Returns:
        The figure; None without a train selector.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    # The most frequent classes, and neighbouring steps combined into points.
    steps = run.selection
    if not any(sum(step.seen.values()) for step in steps):
        return None
    total: dict[int, int] = {}
    for step in steps:
        for key, count in step.seen.items():
            total[key] = total.get(key, 0) + count
    shown = sorted(sorted(total, key=lambda key: (-total[key], key))[:_MOST_CLASSES])
    colours = dict(zip(shown, _CURVES, strict=False))
    groups = _grouped(steps)
    panels = (
        [("teacher's threshold", "tau_teacher"), ("student's threshold", "tau_student")]
        # Only LLKD has thresholds.
        if steps[-1].tau_teacher
        else []
    )
    with figure_style():
        figure = new_figure(6.4 if panels else 3.4)
        grid = figure.subplots(2 if panels else 1, 2, squeeze=False)
        # Thresholds of LLKD by class.
        for axes, (title, name) in zip(grid[0], panels, strict=False):
            axes.set_title(f"The {title} by class")
            axes.set_ylabel("confidence" if name == "tau_teacher" else "uncertainty")
            curves = {
                key: [
                    (group.end, value)
                    for group in groups
                    if (value := _at(getattr(group.steps[-1], name), key)) is not None
                ]
                for key in shown
            }
            _draw(axes, curves, colours, {key: short(_name(run, key), 16) for key in shown})
        # Kept share of each class.
        kept, right = grid[-1]
        kept.set_title("Rows kept of each class, %")
        names = {
            key: f"{short(_name(run, key), 16)}: {_share(steps, key):.0%} overall" for key in shown
        }
        _draw(
            kept,
            {
                key: [
                    (group.end, _share(group.steps, key))
                    for group in groups
                    if _seen(group.steps, key)
                ]
                for key in shown
            },
            colours,
            names,
        )
        # Label accuracy of all rows and of kept rows, over rows with known gold labels.
        whose = "pseudo-labels" if run.self_labelled else "teacher labels"
        right.set_title(f"Correct {whose}, %")
        ends = []
        for name, colour, pairs in (
            (
                "all rows",
                Colour.MUTED,
                [[step.right_of_seen for step in group.steps] for group in groups],
            ),
            (
                "kept rows",
                Colour.BLUE,
                [[step.right_of_kept for step in group.steps] for group in groups],
            ),
        ):
            sums = [
                # Numbers of correct labels and of known ones, summed over the steps of each point.
                (group.end, sum(one[0] for one in found), sum(one[1] for one in found))
                for group, found in zip(groups, pairs, strict=True)
            ]
            points = [(end, hits / known) for end, hits, known in sums if known]
            if points:
                right.plot(*zip(*points, strict=True), color=colour, marker="o", clip_on=False)
                mean = sum(hits for _, hits, _ in sums) / sum(known for *_, known in sums)
                ends.append((points[-1][1], f"{name}: {mean:.1%} overall", colour))
        right.set_ylim(0, 1)
        label_right(right, ends)
        if not ends:
            right.annotate(
                "gold labels of the pool are unknown",
                (0.5, 0.5),
                xycoords="axes fraction",
                ha="center",
                color=Colour.MUTED,
            )
        for axes in (kept, right):
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol="", decimals=0))
        for axes in grid.ravel():
            axes.grid(axis="y")
            axes.set_xlabel("training step")
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    return figure


class _Group:
    """Neighbouring steps combined into one point, and the number of the last one."""

    def __init__(self, steps: Sequence[SelectionStep], end: int) -> None:
        self.steps = steps
        self.end = end


def _grouped(steps: Sequence[SelectionStep]) -> list[_Group]:
    # Round up, so that there are at most _POINTS groups.
    size = -(-len(steps) // _POINTS)
    return [
        _Group(steps[start : start + size], min(start + size, len(steps)))
        for start in range(0, len(steps), size)
    ]


def _at(values: Sequence[float | None], key: int) -> float | None:
    return values[key] if key < len(values) else None


def _seen(steps: Sequence[SelectionStep], key: int) -> int:
    return sum(step.seen.get(key, 0) for step in steps)


def _share(steps: Sequence[SelectionStep], key: int) -> float:
    """Return the share of a class's rows that was kept."""
    return sum(step.kept.get(key, 0) for step in steps) / _seen(steps, key)


def _draw(
    axes: Axes,
    curves: dict[int, list[tuple[int, float]]],
    colours: dict[int, Any],
    names: dict[int, str],
) -> None:
    ends = []
    for key, points in curves.items():
        if points:
            axes.plot(*zip(*points, strict=True), color=colours[key], clip_on=False, linewidth=1.3)
            ends.append((points[-1][1], names[key], colours[key]))
    axes.set_ylim(
        0, max([value for points in curves.values() for _, value in points] + [0.05]) * 1.05
    )
    label_right(axes, ends, gap=0.09)


def _name(run: Run, key: int) -> str:
    """Return the name of a class; for NER, the index after the last type means no entity."""
    return run.labels[key] if key < len(run.labels) else "no entity"
