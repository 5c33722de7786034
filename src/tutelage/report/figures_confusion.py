"""Confusions of the student on test at the end: of texts by class, or of entities by type."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tutelage.report.style import Colour, figure_style, new_figure, short
from tutelage.runs.read import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BESIDE = 12
"""Classes up to which the list of confusions has room next to the named matrix."""
_NAMED = 30
"""Classes up to which the matrix shows counts and names."""
_LISTED = 20
"""Confusions listed next to a matrix without names."""


def confusion_matrix(run: Run) -> Figure | None:
    """Draw the confusion matrix of the final test predictions, shaded by the share of each row.

    Up to 30 classes, cells show counts and axes show names; above that, the matrix shows only the
    pattern, and a list next to it names the 20 most frequent confusions. For NER, missed and
    invented entities are confused with "none", and the diagonal counts entities with the correct
    type, whatever their boundary.

    Returns:
        The figure; None before the predictions are written.
    """
    if not run.after:
        return None
    # How often each class was predicted as each other; "" stands for no entity.
    pairs = Counter(pair for outcome in run.after for pair in run.task.confusions(outcome))
    # "none" comes last; no class is called "".
    others = {label for pair in pairs for label in pair} - set(run.labels)
    extra = sorted(others, key=lambda label: (not label, label))
    labels = [*run.labels, *extra]
    confused = [(pair, count) for pair, count in pairs.most_common() if pair[0] != pair[1]]
    size = len(labels)
    with figure_style():
        # A matrix of medium size fills the width; others leave room for the list of confusions.
        if _BESIDE < size <= _NAMED:
            figure = new_figure(2.0 + 0.31 * size)
            _matrix(figure.subplots(), run, labels, pairs, named=True)
            return figure
        listed = confused[: _LISTED if size > _NAMED else 10]
        figure = new_figure(6.2 if size > _NAMED else max(3.6, 1.9 + 0.36 * size))
        matrix, bars = figure.subplots(
            1, 2, width_ratios=(1.15, 1.0) if size <= _NAMED else (1.5, 1.0)
        )
        _matrix(matrix, run, labels, pairs, named=size <= _NAMED)
        _list(bars, run, listed, len(confused))
    return figure


def _name(label: str) -> str:
    return short(label, 22) if label else "none"


def _matrix(
    axes: Axes, run: Run, labels: list[str], pairs: Counter[tuple[str, str]], named: bool
) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    size = len(labels)
    place = {label: index for index, label in enumerate(labels)}
    totals = Counter[str]()
    for (target, _), count in pairs.items():
        totals[target] += count
    # One shaded cell per non-zero count.
    cells: dict[Colour, list[tuple[Rectangle, float]]] = {Colour.BLUE: [], Colour.VERMILION: []}
    for (target, predicted), count in pairs.items():
        share = count / totals[target]
        colour = Colour.BLUE if target == predicted else Colour.VERMILION
        # Faint cells stay visible, because rare confusions are of interest, too.
        shade = 0.12 + 0.88 * share if target == predicted else min(1.0, 0.16 + 1.7 * share)
        cells[colour].append(
            (Rectangle((place[predicted] - 0.5, place[target] - 0.5), 1, 1), shade)
        )
        if named:
            ink = Colour.PAPER if shade > 0.55 else Colour.INK
            axes.text(
                place[predicted],
                place[target],
                str(count),
                ha="center",
                va="center",
                fontsize=8.5 if size <= 20 else 7.5,
                color=ink,
            )
    for colour, shaded in cells.items():
        faces = [to_rgba(colour, shade) for _, shade in shaded]
        axes.add_collection(
            PatchCollection([patch for patch, _ in shaded], facecolors=faces, edgecolors="none")
        )
    # Axes: class names, or label indices if there are too many names.
    axes.set_xlim(-0.5, size - 0.5)
    axes.set_ylim(size - 0.5, -0.5)
    if named:
        names = list(map(_name, labels))
        axes.set_xticks(
            range(size),
            names,
            rotation=35 if size <= 20 else 55,
            ha="right",
            rotation_mode="anchor",
            fontsize=8.5,
        )
        axes.set_yticks(
            range(size),
            [f"{name}  {totals[label]}" for name, label in zip(names, labels, strict=True)],
            fontsize=8.5,
        )
    # A grid between the cells, drawn as minor ticks.
    axes.set_xticks([edge - 0.5 for edge in range(size + 1)], minor=True)
    axes.set_yticks([edge - 0.5 for edge in range(size + 1)], minor=True)
    axes.grid(which="minor", linewidth=0.8 if named else 0.3)
    axes.tick_params(which="minor", length=0)
    axes.tick_params(which="major", length=0 if named else 3)
    kind = run.task.wording.short
    axes.set_title(
        f"True {kind} (with its test {run.task.wording.units}) by predicted {kind}"
        if named
        else f"True {kind} by predicted {kind} (numbers: label order)"
    )
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")


def _list(axes: Axes, run: Run, listed: list[tuple[tuple[str, str], int]], kinds: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(
        f"Most frequent confusions ({len(listed)} of {kinds})" if listed else "No confusions"
    )
    if not listed:
        axes.set_axis_off()
        return
    # Thin bars with the names written above them.
    bars = axes.barh(
        range(len(listed)), [count for _, count in listed], 0.28, color=Colour.VERMILION
    )
    axes.bar_label(bars, padding=3, fontsize=8.5)
    for index, ((target, predicted), _) in enumerate(listed):
        axes.text(
            0, index - 0.24, f"{_name(target)} → {_name(predicted)}", fontsize=8.5, va="bottom"
        )
    axes.set_ylim(len(listed) - 0.6, -0.85)
    axes.set_xlim(0, max(count for _, count in listed) * 1.12)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.set_xlabel(f"test {run.task.wording.units}")
