"""The figures of a run, and their output as PNG files and inline SVG."""

from __future__ import annotations

import io
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tutelage.report.figures_confusion import confusion_matrix
from tutelage.report.figures_learning import (
    class_f1_by_round,
    learning_by_round,
    learning_by_tokens,
)
from tutelage.report.figures_rows import rejected_by_reason, rows_by_kind
from tutelage.report.figures_selection import selection_by_step
from tutelage.report.figures_teacher import teacher_reliability
from tutelage.report.panels import panel_of
from tutelage.report.style import DPI, Colour, figure_style
from tutelage.runs.read import Run
from tutelage.runs.shapes import why

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SCRATCH = ".drawing-"
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True, slots=True)
class FigureKind:
    """A figure of the report.

    Attributes:
        name: Stem of its file, and its anchor in the page.
        title: Usual title; :attr:`tutelage.report.panels.Panel.captions` may have another one.
        caption: Usual caption, likewise.
        draw: Draws the figure; returns None without data.
        by_stage: Whether it shows the student of every stage. Its caption then names the student
            kept at the end, if that is not necessarily the last one.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Run], Figure | None]
    by_stage: bool = False

    def words(self, run: Run) -> tuple[str, str]:
        """Return title and caption in the terms of the run's task."""
        title, caption = panel_of(run.task).captions.get(self.name, (self.title, self.caption))
        kept = run.result.get("kept")
        return (
            title,
            f"{caption} The run ended with the student {kept['name']}, the best on dev."
            if kept and self.by_stage
            else caption,
        )


FIGURES = (
    FigureKind(
        "learning-by-round",
        "Learning curve by round",
        "Round 0 is the student before any growth. Dashed, all on test: the student before, "
        "the one trained on gold labels (supervised), and the teacher alone.",
        learning_by_round,
        by_stage=True,
    ),
    FigureKind(
        "learning-by-tokens",
        "Learning curve by billed tokens",
        "Billed tokens count every request as if nothing were cached, "
        "so runs are compared at equal budget.",
        learning_by_tokens,
        by_stage=True,
    ),
    FigureKind(
        "class-f1-by-round",
        "F1 of each class by round",
        "One panel per class, the others in grey; first → last round. "
        "With more than 20 classes, the 20 with the lowest final F1.",
        class_f1_by_round,
        by_stage=True,
    ),
    FigureKind(
        "confusion-matrix",
        "Confusions on test at the end",
        "Shade: share of the true class. Blue is correct, orange is wrong; empty cells are zero.",
        confusion_matrix,
    ),
    FigureKind(
        "rows-by-kind",
        "Rows by kind, round and class",
        "Every row of the pool. Colour: source of an accepted row; "
        "grey: rejected, never trained on.",
        rows_by_kind,
    ),
    FigureKind(
        "teacher-reliability",
        "Teacher reliability before and after calibration",
        "Left: on the diagonal, confidence equals accuracy. ECE: expected calibration error. "
        "Right: distribution of the confidence, correct and wrong answers stacked.",
        teacher_reliability,
    ),
    FigureKind(
        "selection-by-step",
        "Rows kept by the selector",
        "By training step, neighbouring steps combined. With thresholds (LLKD), a row passes "
        "if the teacher's confidence and the student's uncertainty both reach their threshold. "
        "Gold labels of the pool are used for the last panel only.",
        selection_by_step,
    ),
    FigureKind(
        "rejected-by-reason",
        "Rejected rows by reason",
        "Rejected rows stay in the pool file, together with the reason.",
        rejected_by_reason,
    ),
)
"""Every figure that a report may contain, in its order."""


@contextmanager
def _saving() -> Iterator[None]:
    with figure_style(), warnings.catch_warnings():
        # Writing systems without an installed font appear as boxes in the PNG only: in the SVG,
        # text stays text, and the browser has fonts of its own.
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from")
        warnings.filterwarnings(
            "ignore", message=r"(?s)Matplotlib currently does not support .* natively"
        )
        yield


def save_figures(run: Run) -> list[Path]:
    """Write each figure with data to figures/<name>.png in the run's folder, 1280 px wide.

    Files are replaced atomically, and the file of a figure without data is removed.

    Returns:
        The paths of the written files.

    Raises:
        OSError: If the folder cannot be written.
    """
    return write_pngs(run.folder / "figures", draw_figures(run))


def draw_figures(run: Run, notes: list[str] | None = None) -> dict[FigureKind, Figure]:
    """Draw the figures of ``run`` with data, in the order of :data:`FIGURES`.

    Args:
        run: The run.
        notes: Where a figure that cannot be drawn is noted; None raises its error.
    """
    drawn = {}
    for kind in FIGURES:
        with figure_noted(kind, notes):
            figure = kind.draw(run)
            if figure is not None:
                drawn[kind] = figure
    return drawn


@contextmanager
def figure_noted(kind: FigureKind, notes: list[str] | None) -> Iterator[None]:
    """Note an error in a figure, so that the rest of the report is drawn.

    Files whose lines are sound may still contradict each other, and drawing finds that out in many
    ways. A full disk is no matter of a figure.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if notes is None:
            raise
        notes.append(
            f"The figure “{kind.title}” could not be drawn ({why(error)}): files of the run do "
            "not fit together."
        )


def write_pngs(folder: Path, drawn: Mapping[FigureKind, Figure]) -> list[Path]:
    """Write figures already drawn; otherwise like :func:`save_figures`."""
    remove_others(folder, drawn)
    written = []
    for kind, figure in drawn.items():
        path = folder / f"{kind.name}.png"
        save_png(figure, path)
        written.append(path)
    return written


def remove_others(folder: Path, drawn: Collection[FigureKind]) -> None:
    """Remove figures of an earlier report that have no data any more, and what a kill left."""
    folder.mkdir(exist_ok=True)
    for kind in FIGURES:
        if kind not in drawn:
            (folder / f"{kind.name}.png").unlink(missing_ok=True)
    remove_scratch(folder)


def scratch_prefix() -> str:
    """Return the beginning of the names of this process's unfinished files."""
    return f"{_SCRATCH}{os.getpid()}-"


def remove_scratch(folder: Path) -> None:
    """Remove unfinished files of processes that were killed."""
    for left in folder.glob(f"{_SCRATCH}*"):
        number = left.name.removeprefix(_SCRATCH).partition("-")[0]
        if number.isdecimal() and psutil.pid_exists(int(number)):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def save_png(figure: Figure, path: Path) -> None:
    """Atomically write ``figure`` to ``path``, 1280 px wide.

    Raises:
        OSError: If the folder cannot be written.
    """
    path.parent.mkdir(exist_ok=True)
    # Write to a temporary folder, and move the finished file into place.
    with (
        _saving(),
        tempfile.TemporaryDirectory(dir=path.parent, prefix=scratch_prefix()) as scratch,
    ):
        made = Path(scratch) / path.name
        figure.savefig(made, dpi=DPI, facecolor=str(Colour.PAPER), metadata={"Software": None})
        os.replace(made, path)
    # The layout takes as long as the drawing; later saves reuse the positions found here.
    figure.set_layout_engine("none")


def figure_svg(figure: Figure, name: str) -> str:
    """Convert ``figure`` to an ``<svg>`` element for an HTML page.

    The element has no metadata, and its text stays text, escaped. Colours of
    :class:`~tutelage.report.style.Colour` become CSS variables ``var(--f-<name>)``, so that the
    page's theme decides on them.

    Args:
        figure: The figure.
        name: Prefix of the ids in the element, unique within the page.
    """
    buffer = io.StringIO()
    with _saving():
        import matplotlib

        # A fixed salt makes the ids reproducible.
        with matplotlib.rc_context({"svg.hashsalt": name}):
            figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    # Drop the XML header, then prefix the ids and turn colours into variables.
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    variables = {str(colour): f"var(--f-{colour.name.lower()})" for colour in Colour}

    def rewrite(match: re.Match[str]) -> str:
        # An inline SVG needs no namespaces.
        tag = re.sub(r' (?:xmlns(?::xlink)?|version)="[^"]*"', "", match[0])
        tag = re.sub(r"#[0-9a-f]{6}\b", lambda colour: variables.get(colour[0], colour[0]), tag)
        return re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", tag)

    # Only tags are rewritten: matplotlib escapes every "<" and ">" in a text.
    return re.sub(r"<[^!?][^>]*>", rewrite, drawn).replace("<svg ", '<svg role="img" ', 1)
