"""report.html: one self-contained file that shows a run, from its numbers down to every text that the teacher wrote.

Every text of a run is hostile until shown otherwise. The template escapes by default; the page's script puts text in by
``textContent`` alone; and a content security policy allows no network and no script but ours, by its hash.
"""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.errors import RunError
from tutelage.report.environment import page_environment
from tutelage.report.figures import draw_figures, figure_svg, write_pngs
from tutelage.report.intervals import DRAWS
from tutelage.report.markings import cut
from tutelage.report.mistakes import wrong_on_test
from tutelage.report.summary import (
    SummaryLine,
    changed_outcomes,
    class_lines,
    error_lines,
    summary_lines,
)
from tutelage.report.trail import (
    chapters,
    rejected_reasons,
    row_pieces,
    script_json,
    sureness,
    trail_data,
)
from tutelage.runs.read import Run, read_run

_HERE = Path(__file__).parent
_TRACK = 220.0


@dataclass(frozen=True, slots=True)
class IntervalMark:
    """Where a line of the summary lies on the drawn scale, in px."""

    low: float
    point: float
    high: float


@dataclass(frozen=True, slots=True)
class IntervalScale:
    """The scale that the intervals of the summary are drawn on: its ends as percentages, and a mark (or None) a line."""

    low: int
    high: int
    width: float
    marks: tuple[IntervalMark | None, ...]


def write_report(folder: Path) -> Path:
    """Write figures/*.png and report.html into the run folder ``folder``, and return the path of report.html.

    Each file appears whole or not at all, so a report can be written again while an older one is being read.

    Raises:
        RunError: the folder cannot be read (see :func:`~tutelage.runs.read.read_run`) or written.
    """
    run = read_run(folder)
    try:
        drawn = draw_figures(run)
        write_pngs(run.folder / "figures", drawn)
        page = _render(
            run,
            {kind.name: (kind, figure_svg(figure, kind.name)) for kind, figure in drawn.items()},
        )
        path = run.folder / "report.html"
        handle, scratch = tempfile.mkstemp(dir=run.folder, prefix=".report-", suffix=".html")
        try:
            with os.fdopen(handle, "wb") as stream:
                # A lone surrogate, which JSON may carry, has no UTF-8 form.
                stream.write(page.encode("utf-8", errors="replace"))
            os.chmod(scratch, 0o644)
            os.replace(scratch, path)
        except BaseException:
            Path(scratch).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise RunError(
            f"The report of {run.folder} cannot be written: {error.strerror or error}. Check permissions and the disk."
        ) from error
    return path


def _render(run: Run, figures: dict[str, Any]) -> str:
    from markupsafe import Markup

    script = (_HERE / "report.js").read_text(encoding="utf-8")
    lines = summary_lines(run)
    data = trail_data(run)
    result = run.result
    template = page_environment(_HERE, script).get_template("report.html.j2")
    return template.render(
        run=run,
        manifest=run.manifest,
        status=run.status,
        result=result,
        name=str(run.manifest.get("name") or run.folder.name),
        script=Markup(script),
        island=Markup(script_json(data)),
        figures={name: (*kind.words(run), Markup(svg)) for name, (kind, svg) in figures.items()},
        metrics=run.headline_metrics,
        noun=run.class_noun,
        lines=lines,
        scale=_scale(run, lines),
        draws=DRAWS,
        changed=changed_outcomes(run),
        classes=class_lines(run),
        errors=error_lines(run),
        pieces=lambda row: cut(row_pieces(run, row), 400),
        sureness=sureness,
        tints=data["tints"],
        wrong=wrong_on_test(run),
        reasons=rejected_reasons(run),
        chapters=chapters(run),
        tokens=_tokens(run),
        seconds=_seconds(run),
        shares={"unique": None, "selections": None, **(result.get("share_of_data") or {})},
        gold=result.get("gold_labels") or run.manifest.get("gold_labels") or {},
        kinds=sorted({row["kind"] for row in data["rows"]}),
    )


def _scale(run: Run, lines: tuple[SummaryLine, ...]) -> IntervalScale | None:
    """Where each interval is drawn: a scale of whole tens of percent around all of them."""
    measured = [line.interval for line in lines if line.interval]
    if not measured:
        return None
    low = math.floor(min(low for low, _ in measured) * 10) * 10
    high = max(low + 10, math.ceil(max(high for _, high in measured) * 10) * 10)

    def index(share: float) -> float:
        return round((100 * share - low) / (high - low) * _TRACK, 1)

    first = run.headline_metrics[0].key
    marks = [
        IntervalMark(
            index(line.interval[0]), index(line.scores.value(first)), index(line.interval[1])
        )
        if line.interval and line.scores
        else None
        for line in lines
    ]
    return IntervalScale(low, high, _TRACK, tuple(marks))


def _tokens(run: Run) -> dict[str, int]:
    """Billed and spent tokens, from the result or from the latest round."""
    if given := run.result.get("tokens"):
        return {str(name): int(count) for name, count in given.items() if count is not None}
    if run.metrics:
        return {"billed": run.metrics[-1].billed_tokens, "spent": run.metrics[-1].spent_tokens}
    return {}


def _seconds(run: Run) -> dict[str, float]:
    """Seconds by phase, longest first, from the result or summed over the rounds so far."""
    total: dict[str, float] = dict(run.result.get("seconds") or {})
    if not total:
        for line in run.metrics:
            for phase, spent in line.seconds.items():
                total[phase] = total.get(phase, 0.0) + spent
    return dict(sorted(total.items(), key=lambda item: -item[1]))
