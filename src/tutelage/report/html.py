"""report.html: one self-contained file that shows a run, from its numbers down to every text that the teacher wrote.

Every text of a run is hostile until shown otherwise. The template escapes by default; the page's script puts text in by
``textContent`` alone; and a content security policy allows no network and no script but ours, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.errors import RunError
from tutelage.report.figures import draw_figures, figure_svg, write_pngs
from tutelage.report.intervals import DRAWS
from tutelage.report.markings import TINTS, cut
from tutelage.report.runs import Run, read_run
from tutelage.report.summary import SummaryLine, changed_outcomes, class_lines, error_lines, summary_lines
from tutelage.report.trail import chapters, rejected_reasons, row_pieces, script_json, sureness, trail_data

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = Path(__file__).parent
_TRACK = 220.0
_MISSING = "\N{EN DASH}"
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"


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
        RunError: the folder cannot be read (see :func:`~tutelage.report.runs.read_run`) or written.
    """
    run = read_run(folder)
    try:
        drawn = draw_figures(run)
        write_pngs(run.folder / "figures", drawn)
        page = _render(run, {kind.name: (kind, figure_svg(figure, kind.name)) for kind, figure in drawn.items()})
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
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    lines = summary_lines(run)
    data = trail_data(run)
    result = run.result
    return (
        page_environment(_HERE)
        .get_template("report.html.j2")
        .render(
            run=run,
            manifest=run.manifest,
            status=run.status,
            result=result,
            name=str(run.manifest.get("name") or run.folder.name),
            csp=f"{_POLICY} script-src 'sha256-{digest}';",
            script=Markup(script),
            island=Markup(script_json(data)),
            figures={name: (*kind.words(run), Markup(svg)) for name, (kind, svg) in figures.items()},
            metrics=run.quoted,
            noun=run.class_noun,
            lines=lines,
            scale=_scale(run, lines),
            draws=DRAWS,
            changed=changed_outcomes(run),
            classes=class_lines(run),
            errors=error_lines(run),
            pieces=lambda row: cut(row_pieces(run, row), 400),
            sureness=sureness,
            tint=lambda label: run.labels.index(label) % TINTS if label in run.labels else TINTS - 1,
            reasons=rejected_reasons(run),
            chapters=chapters(run),
            tokens=_tokens(run),
            seconds=_seconds(run),
            shares={"unique": None, "selections": None, **(result.get("share_of_data") or {})},
            gold=result.get("gold_labels") or run.manifest.get("gold_labels") or {},
            kinds=sorted({row["kind"] for row in data["rows"]}),
        )
    )


def page_environment(templates: Path) -> Environment:
    """Jinja for a page whose template lies in ``templates``: escaping, the ways that numbers are written, ``style`` and ``csp``, which allows no script."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(templates), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= page_filters()
    environment.globals |= {"csp": _POLICY, "style": Markup((_HERE / "report.css").read_text(encoding="utf-8"))}
    return environment


def page_filters() -> dict[str, Callable[[Any], str]]:
    """How numbers are written on a page."""
    return {
        "percent": _percent,
        "count": _count,
        "duration": _duration,
        "points": _points,
        "moment": _moment,
        "signed": _signed,
        "p": _p,
    }


def _scale(run: Run, lines: tuple[SummaryLine, ...]) -> IntervalScale | None:
    """Where each interval is drawn: a scale of whole tens of percent around all of them."""
    measured = [line.interval for line in lines if line.interval]
    if not measured:
        return None
    low = math.floor(min(low for low, _ in measured) * 10) * 10
    high = max(low + 10, math.ceil(max(high for _, high in measured) * 10) * 10)

    def place(share: float) -> float:
        return round((100 * share - low) / (high - low) * _TRACK, 1)

    first = run.quoted[0].key
    marks = [
        IntervalMark(place(line.interval[0]), place(line.scores.value(first)), place(line.interval[1]))
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


def _percent(value: float | None) -> str:
    return _MISSING if value is None or not math.isfinite(value) else f"{100 * value:.1f}"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")


def _signed(count: int) -> str:
    return f"{count:+,}".replace("-", "\N{MINUS SIGN}") if count else "0"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else _MISSING if value is None else str(value)


def _moment(value: Any) -> str:
    """An ISO time without its T and its fractions of a second; anything else as it is."""
    try:
        return datetime.fromisoformat(str(value)).strftime("%Y-%m-%d %H:%M:%S %Z").strip()
    except ValueError:
        return str(value or "")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _p(value: float) -> str:
    return _MISSING if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
