"""The figure of a paper's table, drawn from verdicts.json: its arms on each data set."""

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
    """Draws the arms of the claims of one table.

    Args:
        paper: A paper of claims.yaml.
        table: Main or ablations.
        folder: multirun_sweeps/reproduce-<paper>-<scale>/<time>; without the time, the newest
            one with verdicts.

    Returns:
        Path of the PNG, figures/<paper>_<table>.png beside the verdicts.

    Raises:
        RunError: There are no verdicts, or no runs of that table.
    """
    written = folder / "verdicts.json"
    if not written.is_file():
        newest = max(folder.glob("*/verdicts.json"), default=None)
        if newest is None:
            raise RunError(
                f"{folder} has no verdicts.json. Run `tutelage reproduce {paper}` first."
            )
        written = newest

    # Only runs of this table: the verdicts may be of both.
    record = RunFolder(written.parent).read_json("verdicts.json") or {}
    drawn = {
        (arm, data)
        for claim in read_papers()[paper].only(table=table)
        for data in claim.sets.get(record["scale"], ())
        for arm in claim.arms
    }
    runs = [run for run in record["runs"] if (run["arm"], run["data"]) in drawn]
    if not runs:
        raise RunError(
            f"{written} has no run of {paper}'s {table} table. Run `tutelage reproduce {paper} "
            f"--table {table} --scale {record['scale']}` first."
        )

    # One panel per data set, as high as its number of arms.
    scores: dict[tuple[str, str], dict[str, list[float]]] = {}
    for run in runs:
        panel = scores.setdefault((run["data"], run["metric"]), {})
        panel.setdefault(run["title"], []).append(run["score"])
    heights = [0.9 + 0.36 * len(values) for values in scores.values()]
    with figure_style():
        figure = new_figure(sum(heights))
        panels = figure.subplots(len(scores), squeeze=False, height_ratios=heights)[:, 0]
        for axes, ((data, metric), values) in zip(panels, scores.items(), strict=True):
            draw_arms(axes, values, metric.replace("_", " "))
            axes.set_title(data)
        path = written.parent / "figures" / f"{paper}_{table}.png"
        save_png(figure, path)
    return path


def main(paper: str, table: str) -> None:
    """The command line of reproduce/*.py; its one argument is the folder with the verdicts."""
    parser = argparse.ArgumentParser(description=f"Draw {paper}'s {table} table from its verdicts.")
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path(f"multirun_sweeps/reproduce-{paper}-cpu")
    )
    try:
        print(draw_table(paper, table, parser.parse_args().folder))
    except RunError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
