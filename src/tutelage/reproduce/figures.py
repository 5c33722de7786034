"""The figure of a paper's table: its arms on each data set, drawn from verdicts.json."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tutelage.errors import RunError
from tutelage.report.figures import save_png
from tutelage.report.style import figure_style, new_figure
from tutelage.reproduce.reading import read_papers
from tutelage.runs.folder import RunFolder
from tutelage.sweep.figures import draw_arms


def draw_table(paper: str, table: str, folder: Path) -> Path:
    """Draw the arms of the claims of one table, and return the path of the PNG, figures/<paper>_<table>.png in the folder of the verdicts.

    Args:
        table: main or ablations.
        folder: multirun_sweeps/reproduce-<paper>-<scale>/<time>, or without the time for the newest that has verdicts.

    Raises:
        RunError: there are no verdicts, or no run of that table.
    """
    written = (
        folder / "verdicts.json"
        if (folder / "verdicts.json").is_file()
        else max(folder.glob("*/verdicts.json"), default=None)
    )
    if written is None:
        raise RunError(f"{folder} has no verdicts.json. Do `tutelage reproduce {paper}` first.")
    record = RunFolder(written.parent).read_json("verdicts.json") or {}
    claims = [claim for claim in read_papers()[paper].claims if claim.table == table]
    drawn = {
        (arm, data)
        for claim in claims
        for data in claim.sets.get(record["scale"], ())
        for arm in claim.arms
    }
    runs = [run for run in record["runs"] if (run["arm"], run["data"]) in drawn]
    if not runs:
        raise RunError(
            f"{written} has no run of {paper}'s {table} table; leave --only out, or choose claims of that table."
        )
    scores: dict[tuple[str, str], dict[str, list[float]]] = {}
    for run in runs:
        scores.setdefault((run["data"], run["metric"]), {}).setdefault(run["title"], []).append(
            run["score"]
        )
    heights = [0.9 + 0.36 * len(values) for values in scores.values()]
    with figure_style():
        figure = new_figure(sum(heights))
        indices = figure.subplots(len(scores), squeeze=False, height_ratios=heights)[:, 0]
        for axes, ((data, metric), values) in zip(indices, scores.items(), strict=True):
            draw_arms(axes, values, metric.replace("_", " "))
            axes.set_title(data)
        path = written.parent / "figures" / f"{paper}_{table}.png"
        save_png(figure, path)
    return path


def main(paper: str, table: str) -> None:
    """The command line of the scripts beside reproduce/*.sh: the folder to draw from."""
    parser = argparse.ArgumentParser(description=f"Draw {paper}'s {table} table from its verdicts.")
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path(f"multirun_sweeps/reproduce-{paper}-cpu")
    )
    try:
        print(draw_table(paper, table, parser.parse_args().folder))
    except RunError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
