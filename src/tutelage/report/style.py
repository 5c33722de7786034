"""The common style of all figures.

A palette for colour-blind readers (after Okabe and Ito), quiet axes, direct labels. Figures are
built from ``matplotlib.figure.Figure`` and never through pyplot, so no global figure is left
behind.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 9.85
"""Width in inches; 1280 px at :data:`DPI`."""
DPI = 130
_SCRIPTS = (
    "Noto Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
    "Arial Unicode MS",
)


class Colour(StrEnum):
    """The colours of the figures.

    In HTML, each becomes the CSS variable ``--f-<name>``, which the dark theme redefines.
    """

    INK = "#1b2029"
    MUTED = "#667080"
    GRID = "#e2e5ea"
    PAPER = "#fefefe"
    BLUE = "#0072b2"
    VERMILION = "#d55e00"
    AMBER = "#e69f00"
    GREEN = "#009e73"
    PURPLE = "#b0608f"
    SKY = "#56b4e9"
    GREY = "#b6bcc7"


def kind_colour(kind: str) -> Colour:
    """Return the colour of a row's source."""
    known = {
        "gold": Colour.AMBER,
        "class_name": Colour.VERMILION,
        "init": Colour.PURPLE,
        "easy": Colour.SKY,
        "hard": Colour.BLUE,
        "pool": Colour.GREEN,
    }
    return known.get(kind, Colour.GREY)


@contextmanager
def figure_style() -> Iterator[None]:
    """Set fonts and axes for figures made or saved inside the context."""
    import matplotlib
    from matplotlib import font_manager

    # DejaVu Sans first; further fonts only serve characters that it lacks.
    have = set(font_manager.get_font_names())
    settings: dict[Any, Any] = {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", *(name for name in _SCRIPTS if name in have)],
        "font.size": 9.0,
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.titlepad": 8.0,
        "axes.labelsize": 9.0,
        "axes.labelcolor": str(Colour.MUTED),
        "axes.edgecolor": str(Colour.GREY),
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.facecolor": "none",
        "axes.axisbelow": True,
        "xtick.color": str(Colour.GREY),
        "ytick.color": str(Colour.GREY),
        "xtick.labelcolor": str(Colour.INK),
        "ytick.labelcolor": str(Colour.INK),
        "text.color": str(Colour.INK),
        "grid.color": str(Colour.GRID),
        "grid.linewidth": 0.8,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "lines.linewidth": 1.8,
        "lines.markersize": 4.0,
        # Labels such as "$\frac" are text, not formulas.
        "text.parse_math": False,
        "svg.fonttype": "none",
    }
    with matplotlib.rc_context(settings):
        yield


def new_figure(height: float) -> Figure:
    """Return an empty figure of the common width and ``height`` inches, with automatic layout."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained", facecolor="none")


def short(text: str, length: int = 24) -> str:
    """Put ``text`` on one line of at most ``length`` characters.

    Control characters are removed, and long texts are cut in the middle, because names often differ
    at their ends.
    """
    clean = "".join(
        " " if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char
        for char in text
    )
    clean = " ".join(clean.split())
    if len(clean) <= length:
        return clean
    # Keep both ends of the text, with the ellipsis in the middle.
    tail = (length - 1) // 2
    return clean[: length - 1 - tail].rstrip() + "…" + clean[-tail:].lstrip()


def label_right(axes: Axes, entries: Sequence[tuple[float, str, str]], gap: float = 0.07) -> None:
    """Label curves at the right end of the axes, moving labels apart if they would overlap.

    Args:
        axes: The axes.
        entries: Height in data coordinates, text and colour of each label.
        gap: Minimal distance between two labels, as a share of the height of the axes.
    """
    low, high = axes.get_ylim()
    # Place labels from the bottom up, each at least one gap above the previous one.
    ordered = sorted(
        (((y - low) / (high - low), text, colour, y) for y, text, colour in entries),
        key=lambda entry: entry[0],
    )
    heights: list[float] = []
    for share, *_ in ordered:
        heights.append(max(share, heights[-1] + gap) if heights else share)
    # Labels pushed beyond the top come back down, with the gaps preserved.
    for index in range(len(heights) - 1, -1, -1):
        ceiling = 1.0 if index == len(heights) - 1 else heights[index + 1] - gap
        heights[index] = min(heights[index], ceiling)
    for height, (_, text, colour, y) in zip(heights, ordered, strict=True):
        axes.annotate(
            text,
            xy=(1.0, y),
            xycoords=axes.get_yaxis_transform(),
            xytext=(1.035, height),
            textcoords="axes fraction",
            color=colour,
            fontsize=8.5,
            va="center",
            ha="left",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "lw": 0.6,
                "shrinkA": 1,
                "shrinkB": 0,
                "alpha": 0.7,
            },
        )
