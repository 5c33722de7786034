"""Verdicts in the terminal, in verdicts.json and in one self-contained verdicts.html."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tutelage.launch import shown
from tutelage.report.environment import page_environment
from tutelage.reproduce.claims import Paper, Scale
from tutelage.reproduce.measures import measured
from tutelage.reproduce.runs import PlannedRun, check_command, commands
from tutelage.reproduce.verdicts import LEFT_OUT, Finding, Verdict
from tutelage.runs.folder import RunFolder
from tutelage.runs.manifest import environment
from tutelage.sweep.session import print_line

_STYLES = {"reproduced": "green", "not reproduced": "yellow", "not run": "dim"}


def write_verdicts(
    folder: Path,
    paper: Paper,
    scale: Scale,
    verdicts: Sequence[Verdict],
    extra: Sequence[str],
    runs: Mapping[PlannedRun, Path],
    console: Console,
) -> None:
    """Writes verdicts.json and verdicts.html, and prints the table.

    Args:
        folder: The folder of the sweep.
        paper: The paper of the claims.
        scale: The scale of the runs.
        verdicts: One per claim of the paper, those not chosen included.
        extra: Overrides of every run, beyond those of the claims.
        runs: Folders of the finished runs.
        console: Where to print.

    Raises:
        RunError: A file cannot be written.
    """
    files = RunFolder(folder)
    record = _record(folder, paper, scale, verdicts, extra, runs)
    files.write_json("verdicts.json", record)
    page = page_environment(Path(__file__).parent).get_template("verdicts.html.j2")
    text = page.render(
        paper=paper,
        scale=scale,
        verdicts=[(one, _findings(one)) for one in verdicts],
        record=record,
        extra=list(extra),
    )
    files.write_text("verdicts.html", text.encode("utf-8", errors="replace").decode("utf-8"))
    _print(paper, scale, verdicts, console)
    print_line(console, f"report   {shown(folder / 'verdicts.html')}")


def _record(
    folder: Path,
    paper: Paper,
    scale: Scale,
    verdicts: Sequence[Verdict],
    extra: Sequence[str],
    runs: Mapping[PlannedRun, Path],
) -> dict[str, Any]:
    """The content of verdicts.json."""
    here = environment()
    return {
        **{key: here[key] for key in ("tutelage", "commit", "hardware")},
        "paper": paper.name,
        "scale": scale.name,
        "overrides": list(extra),
        # Each claim with its verdict and the commands to repeat it.
        "claims": [
            {
                "id": one.claim.id,
                "paper": one.claim.paper or paper.title,
                "table": one.claim.table,
                "says": one.claim.says,
                "mark": one.claim.mark,
                "expected": one.claim.expected,
                "verdict": one.state,
                "why": one.why,
                "findings": [_plain(asdict(finding)) for finding in one.findings],
                "command": check_command(paper, scale, [one.claim], extra),
                "runs": list(commands(paper, scale, [one.claim], extra)),
                "chosen": list(one.claim.chosen),
            }
            for one in verdicts
        ],
        # Each run with its score and origin, for the figures.
        "runs": [
            {
                "arm": run.arm,
                "title": paper.arms[run.arm].title,
                "data": run.data,
                "seed": run.seed,
                "metric": scale.sets[run.data].metric,
                "score": measured(path, "score", scale.sets[run.data].metric),
                "tokens": (RunFolder(path).read_json("result.json") or {})["tokens"]["billed"],
                # A run may come from an earlier version or another machine.
                **{
                    key: (RunFolder(path).read_json("manifest.json") or {}).get(key)
                    for key in ("commit", "hardware")
                },
                "folder": os.path.relpath(path, folder),
            }
            for run, path in runs.items()
        ],
    }


def _plain(finding: dict[str, Any]) -> dict[str, Any]:
    # JSON has no NaN.
    return {
        key: None if isinstance(value, float) and not isfinite(value) else value
        for key, value in finding.items()
    }


def _findings(verdict: Verdict) -> list[tuple[Finding, str, str]]:
    """Each finding with its formatted figure and interval."""
    form = verdict.claim.shown
    return [
        (one, form(one.mean), f"{form(one.low)} to {form(one.high)}" if isfinite(one.low) else "–")
        for one in verdict.findings
    ]


def _print(paper: Paper, scale: Scale, verdicts: Sequence[Verdict], console: Console) -> None:
    table = Table(
        title=f"{paper.title}, {scale.name} scale",
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
    )
    # Ids stay whole, because they are typed after --only.
    table.add_column("claim", no_wrap=True)
    for name in ("expected", "here (95 %)", "verdict"):
        table.add_column(name, overflow="fold")
    # Claims that were not chosen get one line together.
    chosen = [one for one in verdicts if one.why != LEFT_OUT]
    for one in chosen:
        found = _findings(one)
        figure = f"{found[0][1]} ({found[0][2]})" if found else ""
        verdict = Text(one.state, style=_STYLES[one.state])
        if one.why:
            verdict.append(f": {one.why}", style="default")
        table.add_row(one.claim.id, Text(one.claim.expected), Text(figure), verdict)
    console.print(table)
    if len(chosen) < len(verdicts):
        left_out = len(verdicts) - len(chosen)
        print_line(console, f"{LEFT_OUT}: {left_out} of {len(verdicts)}")
