"""The figures of a run: which there are, and how they become PNG files and inline SVG."""

from __future__ import annotations

import io
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.report.figures_confusion import confusion_matrix
from tutelage.report.figures_learning import (
    class_f1_by_round,
    learning_by_round,
    learning_by_tokens,
)
from tutelage.report.figures_rows import rejected_by_reason, rows_by_kind
from tutelage.report.figures_selection import selection_by_step
from tutelage.report.figures_teacher import teacher_reliability
from tutelage.report.style import DPI, Colour, figure_style
from tutelage.runs.read import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True, slots=True)
class FigureKind:
    """A figure that the report may hold. ``name`` is its file's stem and its anchor; ``draw`` gives None without data.

    ``title`` and ``caption`` are for a classification; ``for_entities`` holds both for NER where they differ. ``by_stage``: it shows every
    stage's student, so it says which of them the run ended with where that need not be the last.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Run], Figure | None]
    for_entities: tuple[str, str] | None = None
    by_stage: bool = False

    def words(self, run: Run) -> tuple[str, str]:
        """Title and caption in the words of the run's task."""
        title, caption = (
            self.for_entities if run.by_word and self.for_entities else (self.title, self.caption)
        )
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
        "Round 0 is the student before any growth. Dashed, all on test: the student before, trained on gold labels (supervised), "
        "and the teacher alone.",
        learning_by_round,
        by_stage=True,
    ),
    FigureKind(
        "learning-by-tokens",
        "Learning curve by billed tokens",
        "Billed tokens count every request as if nothing had been cached, so that runs compare at equal budget.",
        learning_by_tokens,
        by_stage=True,
    ),
    FigureKind(
        "class-f1-by-round",
        "F1 of each class by round",
        "One panel a class, the others in grey; first → last round. Above 20 classes, the 20 that end worst.",
        class_f1_by_round,
        (
            "F1 of each entity type by round",
            "One panel a type, the others in grey; first → last round. An entity counts where its words and its type are right.",
        ),
        by_stage=True,
    ),
    FigureKind(
        "confusion-matrix",
        "Confusions on test at the end",
        "Shade: share of the true class. Blue is right, orange is wrong; empty cells are zero.",
        confusion_matrix,
        (
            "Confusions of entity types on test at the end",
            "Shade: share of the true type. Blue: the type is right, even where the boundary is not; orange: it is wrong. "
            "Beside “none”: entities missed (column) and invented (row).",
        ),
    ),
    FigureKind(
        "rows-by-kind",
        "Rows by kind, round and class",
        "Every row of the pool. Colour: how an accepted row came about; grey: rejected, never trained on.",
        rows_by_kind,
        (
            "Rows by kind, round and entity type",
            "Every row of the pool, under the type it was asked for. Colour: how an accepted row came about; grey: rejected, never trained on.",
        ),
    ),
    FigureKind(
        "teacher-reliability",
        "Teacher reliability before and after calibration",
        "Left: on the diagonal, confidence is what it says. ECE: expected calibration error. Right: how confidences spread, "
        "right and wrong answers stacked.",
        teacher_reliability,
        (
            "Teacher reliability",
            "An answer is an entity that the teacher marked. Left: on the diagonal, confidence is what it says. ECE: expected calibration "
            "error. Right: how confidences spread, right and wrong entities stacked.",
        ),
    ),
    FigureKind(
        "selection-by-step",
        "What the selector kept",
        "Against the training step, neighbouring steps together. Where there are thresholds (LLKD), a row passes if the teacher's confidence "
        "and the student's uncertainty both reach theirs. Gold labels of the pool are used for the last panel only.",
        selection_by_step,
    ),
    FigureKind(
        "rejected-by-reason",
        "Rejected rows by reason",
        "Rejected rows stay in the pool file, with their reason.",
        rejected_by_reason,
    ),
)


@contextmanager
def _saving() -> Iterator[None]:
    with figure_style(), warnings.catch_warnings():
        # A script that no installed font covers shows as boxes in the PNG; the browser has the SVG's text and its own fonts.
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from")
        warnings.filterwarnings(
            "ignore", message=r"(?s)Matplotlib currently does not support .* natively"
        )
        yield


def save_figures(run: Run) -> list[Path]:
    """Write each figure that has data to figures/<name>.png in the run's folder, 1280 px wide, and return their paths.

    A file appears whole or not at all; the file of a figure that has no data any more is removed.

    Raises:
        OSError: the folder cannot be written.
    """
    return write_pngs(run.folder / "figures", draw_figures(run))


def draw_figures(run: Run) -> dict[FigureKind, Figure]:
    """The figures of ``run`` that have data, in the order of :data:`FIGURES`."""
    drawn = ((kind, kind.draw(run)) for kind in FIGURES)
    return {kind: figure for kind, figure in drawn if figure is not None}


def write_pngs(folder: Path, drawn: Mapping[FigureKind, Figure]) -> list[Path]:
    """What :func:`save_figures` does, for figures already drawn."""
    folder.mkdir(exist_ok=True)
    for kind in FIGURES:
        if kind not in drawn:
            (folder / f"{kind.name}.png").unlink(missing_ok=True)
    written = []
    for kind, figure in drawn.items():
        path = folder / f"{kind.name}.png"
        save_png(figure, path)
        written.append(path)
    return written


def save_png(figure: Figure, path: Path) -> None:
    """Write ``figure`` to ``path``, 1280 px wide, whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(exist_ok=True)
    with _saving(), tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as scratch:
        made = Path(scratch) / path.name
        figure.savefig(made, dpi=DPI, facecolor=str(Colour.PAPER), metadata={"Software": None})
        os.replace(made, path)
    # Laying out takes as long as drawing; what is saved after this keeps the places found here.
    figure.set_layout_engine("none")


def figure_svg(figure: Figure, name: str) -> str:
    """``figure`` as an ``<svg>`` element for an HTML page: no metadata, ids that begin with ``name``, and colours as CSS variables.

    A colour of :class:`~tutelage.report.style.Colour` becomes ``var(--f-<its name>)``, so that the page's theme decides. Text
    stays text, escaped.
    """
    buffer = io.StringIO()
    with _saving():
        import matplotlib

        with matplotlib.rc_context({"svg.hashsalt": name}):
            figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    variables = {str(colour): f"var(--f-{colour.name.lower()})" for colour in Colour}

    def mend(match: re.Match[str]) -> str:
        tag = re.sub(r' (?:xmlns(?::xlink)?|version)="[^"]*"', "", match[0])
        tag = re.sub(r"#[0-9a-f]{6}\b", lambda colour: variables.get(colour[0], colour[0]), tag)
        return re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", tag)

    # Only tags are touched: in an SVG by matplotlib every "<" and ">" of a text is escaped.
    return re.sub(r"<[^!?][^>]*>", mend, drawn).replace("<svg ", '<svg role="img" ', 1)
