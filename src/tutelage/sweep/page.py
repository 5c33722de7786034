"""The report of a sweep: a self-contained report.html, PNG figures, CSV and LaTeX tables."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from jinja2 import TemplateError

from tutelage.errors import RunError
from tutelage.report.environment import page_environment
from tutelage.report.figures import figure_svg, save_png
from tutelage.runs.folder import RunFolder
from tutelage.runs.shapes import why
from tutelage.sweep.figures import sweep_figures
from tutelage.sweep.results import ArmRun, SweepResults, mean_share, mean_tokens, read_sweep
from tutelage.sweep.statistics import comparisons, ranks, summary, tokens_to_reach
from tutelage.sweep.tables import arms_csv, arms_latex, comparisons_csv, runs_csv

_HERE = Path(__file__).parent
_REACHED = 0.95
"""The default target, as a share of the best arm's final score."""


def write_sweep_report(
    folder: Path, metric: str | None = None, target: float | None = None, by_overrides: bool = False
) -> Path:
    """Writes report.html, figures/*.png and tables/* into the folder of a sweep.

    Args:
        folder: multirun_sweeps/<name>/<time>, or multirun_sweeps/<name> for the newest one.
        metric: Metric for comparing arms; None for the sweep's own, or the task's first one.
        target: Score on dev in [0, 1] for the table "tokens to a target"; None for 95 % of the
            best arm's final mean on each data set.
        by_overrides: Groups runs into arms by their overrides alone
            (:func:`~tutelage.sweep.results.read_sweep`).

    Returns:
        The path of report.html.

    Raises:
        RunError: No folder of a sweep, no finished job in it, or it cannot be written.
    """
    results = read_sweep(folder, metric, by_overrides)
    figures = results.folder / "figures"
    if not figures.resolve().is_relative_to(results.folder.resolve()):
        raise RunError(f"{figures} leads out of the sweep's folder. Remove it, and draw again.")
    try:
        _write(results, target)
    except OSError as error:
        raise RunError(
            f"The report of {results.folder} cannot be written: {error.strerror or error}. "
            "Check permissions and the disk."
        ) from error
    except (ArithmeticError, LookupError, TypeError, ValueError, TemplateError) as error:
        # Each file was sound by itself.
        raise RunError(
            f"The report of {results.folder} cannot be drawn ({why(error)}): its runs do not fit "
            "together. Remove those that were changed, or start the sweep again."
        ) from error
    return results.folder / "report.html"


def _write(results: SweepResults, target: float | None) -> None:
    from markupsafe import Markup

    compared, ranked = comparisons(results), ranks(results)
    files = RunFolder(results.folder)

    # Tables and figures as files of their own.
    for name, text in (
        ("runs.csv", runs_csv(results)),
        ("arms.csv", arms_csv(results)),
        ("comparisons.csv", comparisons_csv(compared)),
        ("arms.tex", arms_latex(results)),
    ):
        files.write_text(f"tables/{name}", text)
    figures = []
    for name, title, caption, figure in sweep_figures(results, ranked):
        save_png(figure, results.folder / "figures" / f"{name}.png")
        figures.append((name, title, caption, Markup(figure_svg(figure, name))))

    # The page, with a target on each data set.
    groups = [
        (data, arm, runs)
        for data in results.data
        for arm in results.arms
        if (runs := results.of(arm, data))
    ]
    aims = {
        data: target if target is not None else _aim([runs for on, _, runs in groups if on == data])
        for data in results.data
    }
    # Everything inline: the page works offline and can be mailed.
    template = page_environment(_HERE).get_template("sweep.html.j2")
    page = template.render(
        results=results,
        name=results.folder.parent.name,
        time=results.folder.name,
        metrics=results.metrics,
        arms=[
            (
                data,
                arm,
                runs,
                [summary([run.scores[key] for run in runs]) for key, _ in results.metrics],
                mean_tokens(runs),
                [mean_share(runs, key) for key in results.shares],
            )
            for data, arm, runs in groups
        ],
        constant=[
            (data, [results.majority(data, key) for key, _ in results.metrics])
            for data in results.data
            if results.majority(data, results.metric) is not None
        ],
        comparisons=compared,
        ranks=ranked,
        figures=figures,
        reached=[
            (data, arm, aims[data], tokens_to_reach(results, arm, data, aims[data]))
            for data, arm, runs in groups
            if any(run.tokens for run in runs)
        ],
        link=lambda run: _link(run.folder / "report.html", results.folder),
    )
    files.write_text("report.html", page.encode("utf-8", errors="replace").decode("utf-8"))


def _link(page: Path, folder: Path) -> str:
    """A link from the report to another page; names of folders may hold any character."""
    # With ./ in front nothing is taken for a scheme such as javascript:.
    return f"./{quote(os.fsencode(os.path.relpath(page, folder)))}"


def _aim(arms: Sequence[Sequence[ArmRun]]) -> float:
    """95 % of the best arm's mean score on dev at the end of its runs."""
    ends = [
        sum(run.curve[-1].dev for run in runs) / len(runs)
        for runs in arms
        if all(run.curve and run.tokens for run in runs)
    ]
    return _REACHED * max(ends, default=math.nan)
