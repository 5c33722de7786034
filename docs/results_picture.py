"""Draws docs/images/results.svg from the measurements that are in the package.

The picture is committed, for readers of the README. After a change of measurements.yaml:

    python docs/results_picture.py
"""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from tutelage.measurements import TEACHER, Study, measurements
from tutelage.report.style import DPI, WIDTH, Colour, figure_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMAGE = Path(__file__).parent / "images" / "results.svg"
STUDY = "where mistakes come from"
PANELS = {
    "Some 27,000 billed tokens, one label per class": {
        "shots": ("shots alone", Colour.GREY),
        "class_names": ("the shots and class names", Colour.PURPLE),
        "generation": ("static generation", Colour.AMBER),
        "evokd_pool": ("EvoKD, mistakes on real texts", Colour.BLUE),
        "pool_labels": ("labels of real texts", Colour.SKY),
    },
    "1,000 labels: the student learns from …": {
        "full_pool": ("all", Colour.GREY),
        "llkd": ("what LLKD lets through", Colour.SKY),
        "surest": ("the surest quarter", Colour.AMBER),
        "label_pool": ("what class names confirm", Colour.BLUE),
    },
}
"""By title of the panel: name and colour of each recipe's dots."""


def draw(axes: Axes, study: Study, title: str, dots: dict[str, tuple[str, Colour]]) -> None:
    """Draws one row of dots per data set: the mean over its seeds, and a line for the teacher."""
    sets = list(study.of(next(iter(dots))))
    for row, name in enumerate(reversed(sets)):
        alone = mean(study.of(TEACHER)[name].scores)
        axes.plot([alone, alone], [row - 0.32, row + 0.32], color=Colour.VERMILION, linewidth=2)
        for recipe, (_, colour) in dots.items():
            axes.plot(mean(study.of(recipe)[name].scores), row, "o", color=colour, markersize=8)
    for label, colour in dots.values():
        axes.plot([], [], "o", color=colour, label=label, markersize=8)
    axes.plot([], [], color=Colour.VERMILION, linewidth=2, label="the teacher alone")
    axes.set_yticks(range(len(sets)), list(reversed(sets)))
    axes.set_xlim(0, 100)
    axes.set_xlabel(f"{study.metric} on test, %")
    axes.set_title(title, loc="left")
    axes.grid(axis="x")
    axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.16), ncols=2, columnspacing=1.0)


def main() -> None:
    """Writes the picture."""
    from matplotlib.figure import Figure

    study = next(study for study in measurements().studies if study.name == STUDY)
    with figure_style():
        figure = Figure(figsize=(WIDTH, 3.8), dpi=DPI, layout="constrained", facecolor=Colour.PAPER)
        for place, (title, dots) in enumerate(PANELS.items(), 1):
            draw(figure.add_subplot(1, len(PANELS), place), study, title, dots)
        figure.savefig(IMAGE, metadata={"Date": None})


if __name__ == "__main__":
    main()
