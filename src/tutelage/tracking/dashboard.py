"""A wandb report with the panels for a review, in the order of docs/how-to/wandb.md.

It is written to a file, or saved to an account.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tutelage.errors import RunError
from tutelage.runs.folder import RunFolder
from tutelage.tasks.registry import TASKS
from tutelage.tracking.review import AXES, group_of

_EVERY_METRIC = tuple(
    dict.fromkeys(metric.key for task in TASKS.values() for metric in task.headline_metrics)
)
"""Headline metrics of all tasks; a panel leaves out metrics absent from its runs."""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The contents of a dashboard.

    Attributes:
        groups: Names of wandb groups.
        metrics: Keys of the headline metrics.
        project: The wandb project of the runs.
        entity: Owner of the project; "" for the default of the account.
    """

    groups: tuple[str, ...]
    metrics: tuple[str, ...]
    project: str
    entity: str


def reviewed(where: str) -> Reviewed:
    """Find the wandb groups to show.

    Args:
        where: The folder of a run or of a sweep, or else the name of a group.

    Raises:
        RunError: If it is a folder without a mirrored run, or a path to a missing folder.
    """
    folder = Path(where)
    if not folder.is_dir():
        # Groups are named <sweep>/<time>, or like a run.
        if len(folder.parts) > 2 or (folder.parent.is_dir() and folder.parent != Path()):
            raise RunError(
                f"There is no folder {where}. Give the folder of a run or of a sweep "
                "(multirun_sweeps/<name>[/<time>]), or the name of a group."
            )
        return Reviewed((where,), _EVERY_METRIC, "tutelage", "")
    # A job's folder may link to an earlier execution of the sweep, and belongs to its group.
    found = [
        state.parents[1].resolve()
        # The folder itself may be a run, an execution of a sweep, or a sweep.
        for depth in ("", "*/", "*/*/")
        for state in sorted(folder.glob(f"{depth}wandb/mirror.json"))
    ]
    if not found:
        raise RunError(f"No run in {where} was mirrored to wandb. Run it with logger=wandb.")
    configs = {
        run: yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")) for run in found
    }
    groups = dict.fromkeys(group_of(run, config["name"]) for run, config in configs.items())
    # A run that failed at the very start has no manifest.
    manifests = filter(None, (RunFolder(run).read_json("manifest.json") for run in configs))
    # Runs of different tasks may be mixed; show the headline metrics of all of them.
    metrics = dict.fromkeys(
        metric["key"] for manifest in manifests for metric in manifest["metrics"]
    )
    # A run that was resumed without logger=wandb has no settings there.
    settings = ((config.get("logger") or {}).get("wandb") for config in configs.values())
    wandb: dict[str, Any] = next(filter(None, settings), {})
    return Reviewed(
        tuple(groups),
        tuple(metrics) or _EVERY_METRIC,
        wandb.get("project", "tutelage"),
        wandb.get("entity") or "",
    )


def layout(shown: Reviewed) -> Any:
    """Build the ``wandb_workspaces.reports.v2.Report``, without contacting the service."""
    import wandb_workspaces.reports.v2 as wr

    def curve(title: str, axis: str, *metrics: str, **more: Any) -> Any:
        return wr.LinePlot(title=title, x=axis, y=list(metrics), **more)

    first, axes = (
        shown.metrics[0],
        dict(zip(AXES, ("round", "accepted samples", "billed tokens"), strict=True)),
    )
    # One section per question of docs/how-to/wandb.md: title, explanation, panels.
    tests = [
        wr.SummaryMetric(f"{when}/{metric}")
        for when in ("before", "after")
        for metric in shown.metrics
    ]
    sections: dict[str, tuple[str, list[Any]]] = {
        "1. What did the tokens buy?": (
            "The first metric on dev against billed tokens, the basis for comparing runs; "
            "then the test set before and after growth.",
            [
                curve(f"dev {first} by billed tokens", "billed_tokens", f"dev/{first}"),
                wr.BarPlot(title="test, before and after", metrics=tests),
                wr.BarPlot(title="billed tokens", metrics=[wr.SummaryMetric("tokens/billed")]),
            ],
        ),
        "2. Does it still learn?": (
            "A curve that is flat over rounds but not over tokens was expensive; "
            "a falling loss with a constant dev score is overfitting.",
            [
                curve(f"dev by {axes[axis]}", axis, *(f"dev/{metric}" for metric in shown.metrics))
                for axis in ("round", "samples")
            ]
            + [curve("training loss", "round", "train/loss")],
        ),
        "3. Which classes lag?": (
            "EvoKD requests more texts of a class with a low F1: "
            "its line should rise in the following rounds.",
            [
                curve("dev F1 by class", "round", metric_regex="^dev_f1/.*"),
                curve("test F1 by class", "round", metric_regex="^test_f1/.*"),
                curve(
                    "dev errors by kind (named entities)", "round", metric_regex="^dev_errors/.*"
                ),
            ],
        ),
        "4. What did a round keep, and how long did it take?": (
            "Few kept rows per round mean an uncertain teacher, "
            "or one that repeats existing texts.",
            [
                curve("rows kept and rejected", "round", "rows/accepted", "rows/rejected"),
                curve("accuracy on fresh rows before training on them", "round", "fresh/accuracy"),
                curve("seconds by phase", "round", metric_regex="^seconds/.*"),
            ],
        ),
        "5. What goes wrong, and what did the teacher write in response?": (
            "Each mistake with the texts written after it; "
            "sort by `confidence` to see confident mistakes first.",
            [wr.WeavePanelSummaryTable(table_name="mistakes", layout=wr.Layout(w=24, h=14))],
        ),
        "6. What differs between the runs?": (
            "The settings that differ. The pool of each run is an artifact, pool-<id of the run>, "
            "with one version per round.",
            [wr.RunComparer(diff_only="split", layout=wr.Layout(w=24, h=14))],
        ),
    }
    # Every panel shows the same runs, those of the groups.
    runs = wr.Runset(
        project=shown.project, name="runs", filters=f"Group in {json.dumps(list(shown.groups))}"
    )
    blocks: list[Any] = [wr.TableOfContents()]
    for title, (text, panels) in sections.items():
        blocks += [wr.H2(title), wr.P(text), wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(
        project=shown.project,
        entity=shown.entity,
        title=f"tutelage: {', '.join(shown.groups)}"[:128],
        blocks=blocks,
        width="fluid",
    )


def write_dashboard(shown: Reviewed, path: Path) -> Path:
    """Write the layout to ``path`` as JSON in wandb's own format, and return ``path``."""
    # This format is internal to the library's upload, so pyproject.toml pins its minor version.
    spec = json.loads(
        layout(shown)._to_model().spec.model_dump_json(by_alias=True, exclude_none=True)
    )
    RunFolder(path.resolve().parent).write_json(path.name, spec)
    return path


def save_dashboard(shown: Reviewed) -> str:
    """Save the report to the account of ``wandb login``, and return its URL.

    Raises:
        RunError: If there is no account or no network, or the runs have not been sent yet.
    """
    import requests
    import wandb

    try:
        report = layout(
            shown
            if shown.entity
            else Reviewed(
                shown.groups, shown.metrics, shown.project, wandb.Api().default_entity or ""
            )
        )
        return str(report.save().url)
    except (wandb.Error, requests.RequestException, ValueError) as error:
        message = " ".join(str(error).split())
        raise RunError(
            f"The dashboard was not saved: {message}. It needs network access and `wandb login`; "
            "send the runs first with `wandb sync`."
        ) from error
