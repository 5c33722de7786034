"""report.html: one self-contained file that shows a run, from its numbers to every generated text.

Every text of a run is considered hostile. The template escapes by default, the page's script
inserts text only through ``textContent``, and a content security policy blocks the network and
every script but our own, identified by its hash.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import TemplateError

from tutelage.errors import RunError
from tutelage.report import guarantee
from tutelage.report.audit import audit_section
from tutelage.report.environment import page_environment
from tutelage.report.figures import (
    FigureKind,
    draw_figures,
    figure_noted,
    figure_svg,
    remove_others,
    remove_scratch,
    save_png,
    scratch_prefix,
)
from tutelage.report.markings import cut
from tutelage.report.mistakes import wrong_on_test
from tutelage.report.panels import panel_of
from tutelage.report.review import count_line, part_title
from tutelage.report.summary import (
    SummaryLine,
    changed_outcomes,
    class_lines,
    error_lines,
    summary_lines,
)
from tutelage.report.trail import (
    MOST_MISTAKES,
    chapters,
    rejected_reasons,
    row_pieces,
    script_json,
    sureness,
    trail_data,
)
from tutelage.runs.read import Run, read_run
from tutelage.runs.shapes import why

_LOG = logging.getLogger(__name__)
_HERE = Path(__file__).parent
_TRACK = 220.0
"""Width of the drawn scale, in px."""


@dataclass(frozen=True, slots=True)
class IntervalMark:
    """Position of a summary line's interval on the drawn scale, in px.

    Attributes:
        low: Lower end of the interval.
        point: The measured value.
        high: Upper end of the interval.
    """

    low: float
    point: float
    high: float


@dataclass(frozen=True, slots=True)
class IntervalScale:
    """The scale of the intervals in the summary.

    Attributes:
        low: Lower end of the scale, in percent.
        high: Upper end of the scale, in percent.
        width: Its width, in px.
        marks: One per summary line; None for a line without an interval.
    """

    low: int
    high: int
    width: float
    marks: tuple[IntervalMark | None, ...]


def write_report(folder: Path) -> Path:
    """Write figures/*.png and report.html into a run folder.

    What cannot be read is left out, with a note at the head of the page. Each file is replaced
    atomically, so a report can be rewritten while an older one is open.

    Args:
        folder: The run folder.

    Returns:
        The path of report.html.

    Raises:
        RunError: If the folder has no readable label space (see
            :func:`~tutelage.runs.read.read_run`), its files contradict each other, or it cannot be
            written.
    """
    run = read_run(folder, tolerant=True)
    notes = list(run.notes)
    try:
        # Figures first: the page embeds the same drawings as SVG.
        figures = _figures(run, notes)
        page = _render(run, figures, notes)
        # The run itself told the notes of its teacher.
        told = (run.manifest.get("teacher") or {}).get("notes") or ()
        for note in notes:
            if note not in told:
                _LOG.warning("%s", note)
        return _written(run.folder / "report.html", page)
    except OSError as error:
        raise RunError(
            f"The report of {run.folder} cannot be written: {error.strerror or error}. "
            "Check permissions and the disk."
        ) from error
    except (ArithmeticError, LookupError, TypeError, ValueError, TemplateError) as error:
        # Each line was sound by itself.
        raise RunError(
            f"The report of {run.folder} cannot be drawn ({why(error)}): files of the run do not "
            "fit together. Restore those that were changed, or run again."
        ) from error


def _figures(run: Run, notes: list[str]) -> dict[str, tuple[FigureKind, str]]:
    """Write the PNG of each figure, and return its SVG by name."""
    folder = run.folder / "figures"
    if not folder.resolve().is_relative_to(run.folder.resolve()):
        raise RunError(f"{folder} leads out of the run's folder. Remove it, and draw again.")
    shown = {}
    drawn = draw_figures(run, notes)
    remove_others(folder, drawn)
    for kind, figure in drawn.items():
        with figure_noted(kind, notes):
            save_png(figure, folder / f"{kind.name}.png")
            shown[kind.name] = (kind, figure_svg(figure, kind.name))
    return shown


def _written(path: Path, page: str) -> Path:
    # Write a file next to it, and move it into place. Its permissions follow the umask.
    scratch = path.with_name(f"{scratch_prefix()}{path.name}")
    try:
        # JSON may contain lone surrogates, which UTF-8 cannot encode.
        scratch.write_bytes(page.encode("utf-8", errors="replace"))
        os.replace(scratch, path)
        remove_scratch(path.parent)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    return path


def _render(run: Run, figures: Mapping[str, tuple[FigureKind, str]], notes: Sequence[str]) -> str:
    from markupsafe import Markup

    script = (_HERE / "report.js").read_text(encoding="utf-8")
    lines = summary_lines(run)
    data = trail_data(run)
    audited = audit_section(run)
    result = run.result
    # Everything shown comes from these values; the template only lays it out.
    template = page_environment(_HERE, script).get_template("report.html.j2")
    return template.render(
        run=run,
        manifest=run.manifest,
        status=run.status,
        result=result,
        notes=notes,
        warnings=_warnings(run),
        splits=(run.manifest.get("data") or {}).get("splits") or (),
        name=str(run.manifest.get("name") or run.folder.name),
        script=Markup(script),
        island=Markup(script_json(data)),
        figures={name: (*kind.words(run), Markup(svg)) for name, (kind, svg) in figures.items()},
        metrics=run.headline_metrics,
        panel=panel_of(run.task),
        wording=run.task.wording,
        further=run.task.further_metrics,
        lines=lines,
        scale=_scale(run, lines),
        changed=changed_outcomes(run),
        classes=class_lines(run),
        errors=error_lines(run),
        pieces=lambda row: cut(row_pieces(run, row), 400),
        sureness=sureness,
        audited=audited,
        guarantee=guarantee,
        review_line=count_line(run.review) if run.review else "",
        part_title=part_title,
        tints={**(audited.tints if audited else {}), **data["tints"]},
        wrong=wrong_on_test(run),
        told=result.get("written_or_real"),
        reasons=rejected_reasons(run),
        chapters=chapters(run),
        tokens=_tokens(run),
        seconds=_seconds(run),
        shares={"unique": None, "selections": None, **(result.get("share_of_data") or {})},
        gold=result.get("gold_labels") or run.manifest.get("gold_labels") or {},
        kinds=sorted({row.source for row in run.rows}),
        left_out=data["left_out"],
        listed={"rows": len(data["rows"]), "mistakes": MOST_MISTAKES},
    )


def _warnings(run: Run) -> list[str]:
    """Return the warnings about the data and about the run, each once."""
    found = ((run.manifest.get("data") or {}).get("warnings"), run.result.get("warnings"))
    return list(dict.fromkeys(warning for given in found for warning in given or ()))


def _scale(run: Run, lines: tuple[SummaryLine, ...]) -> IntervalScale | None:
    """Place every interval on a scale of whole tens of percent around all of them."""
    measured = [line.interval for line in lines if line.interval]
    if not measured:
        return None
    # Whole tens of percent around all intervals, at least ten points wide.
    low = math.floor(min(low for low, _ in measured) * 10) * 10
    high = max(low + 10, math.ceil(max(high for _, high in measured) * 10) * 10)

    def position(share: float) -> float:
        return round((100 * share - low) / (high - low) * _TRACK, 1)

    # Intervals belong to the first headline metric.
    first = run.headline_metrics[0].key
    marks = [
        IntervalMark(
            position(line.interval[0]),
            position(line.scores.value(first)),
            position(line.interval[1]),
        )
        if line.interval and line.scores
        else None
        for line in lines
    ]
    return IntervalScale(low, high, _TRACK, tuple(marks))


def _tokens(run: Run) -> dict[str, int]:
    """Return billed and spent tokens, from the result or from the latest round."""
    if given := run.result.get("tokens"):
        return {str(name): int(count) for name, count in given.items() if count is not None}
    if run.metrics:
        return {"billed": run.metrics[-1].billed_tokens, "spent": run.metrics[-1].spent_tokens}
    return {}


def _seconds(run: Run) -> dict[str, float]:
    """Return seconds by phase, longest first, from the result or summed over the rounds so far."""
    total: dict[str, float] = dict(run.result.get("seconds") or {})
    # Without a result yet, sum over the rounds so far.
    if not total:
        for line in run.metrics:
            for phase, spent in line.seconds.items():
                total[phase] = total.get(phase, 0.0) + spent
    return dict(sorted(total.items(), key=lambda item: -item[1]))
