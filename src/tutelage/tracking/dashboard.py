"""A report of wandb's with the panels for a review, laid out in the order of docs/wandb.md; a file, or saved to an account."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tutelage.errors import RunError
from tutelage.runs.folder import RunFolder
from tutelage.tracking.review import AXES, group_of

_EVERY_METRIC = ("accuracy", "macro_f1", "f1_strict")
"""Of both tasks; a panel leaves out what the runs do not have."""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What a dashboard shows.

    Attributes:
        groups: names of wandb groups.
        metrics: keys of the quoted metrics.
        project, entity: where the runs are; entity "" is the account's own.
    """

    groups: tuple[str, ...]
    metrics: tuple[str, ...]
    project: str
    entity: str


def reviewed(where: str) -> Reviewed:
    """The groups of a run's folder, of a sweep's folder, or the one that ``where`` names.

    Raises:
        RunError: it is a folder, and no run in it was mirrored.
    """
    folder = Path(where)
    if not folder.is_dir():
        # A group of ours is <sweep>/<time>, or a run's name.
        if len(folder.parts) > 2 or (folder.parent.is_dir() and folder.parent != Path()):
            raise RunError(
                f"There is no folder {where}. Give a run's, a sweep's (multirun_sweeps/<name>[/<time>]), or the name of a group."
            )
        return Reviewed((where,), _EVERY_METRIC, "tutelage", "")
    # A job's folder may be a link into an earlier time of the sweep, whose group it is in.
    found = [
        state.parents[1].resolve()
        for depth in ("", "*/", "*/*/")
        for state in sorted(folder.glob(f"{depth}wandb/mirror.json"))
    ]
    if not found:
        raise RunError(f"No run in {where} was mirrored to wandb. Run it with logger=wandb.")
    configs = {
        run: yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")) for run in found
    }
    groups = dict.fromkeys(group_of(run, config["name"]) for run, config in configs.items())
    # A run that failed at its very start has no manifest.
    manifests = filter(None, (RunFolder(run).read_json("manifest.json") for run in configs))
    metrics = dict.fromkeys(
        metric["key"] for manifest in manifests for metric in manifest["metrics"]
    )
    # A run that went on with logger=none has nothing there.
    logger: dict[str, Any] = next(
        (config["logger"] for config in configs.values() if config["logger"]), {}
    )
    return Reviewed(
        tuple(groups),
        tuple(metrics) or _EVERY_METRIC,
        logger.get("project", "tutelage"),
        logger.get("entity") or "",
    )


def layout(shown: Reviewed) -> Any:
    """The report, a ``wandb_workspaces.reports.v2.Report``; nothing is asked of the service."""
    import wandb_workspaces.reports.v2 as wr

    def curve(title: str, axis: str, *metrics: str, **more: Any) -> Any:
        return wr.LinePlot(title=title, x=axis, y=list(metrics), **more)

    first, axes = (
        shown.metrics[0],
        dict(zip(AXES, ("round", "accepted samples", "billed tokens"), strict=True)),
    )
    tests = [
        wr.SummaryMetric(f"{when}/{metric}")
        for when in ("before", "after")
        for metric in shown.metrics
    ]
    sections: dict[str, tuple[str, list[Any]]] = {
        "1. What did the tokens buy?": (
            "The first metric on dev against billed tokens, which is how arms are compared; then the test set before growth and after it.",
            [
                curve(f"dev {first} by billed tokens", "billed_tokens", f"dev/{first}"),
                wr.BarPlot(title="test, before and after", metrics=tests),
                wr.BarPlot(title="billed tokens", metrics=[wr.SummaryMetric("tokens/billed")]),
            ],
        ),
        "2. Does it still learn?": (
            "A curve that is flat over rounds but not over tokens was bought dearly; loss that falls while dev stands still is overfitting.",
            [
                curve(f"dev by {axes[axis]}", axis, *(f"dev/{metric}" for metric in shown.metrics))
                for axis in ("round", "samples")
            ]
            + [curve("training loss", "round", "train/loss")],
        ),
        "3. Which classes lag?": (
            "EvoKD asks for more of a class whose F1 is low: its line should rise in the rounds after.",
            [
                curve("dev F1 by class", "round", metric_regex="^dev_f1/.*"),
                curve("test F1 by class", "round", metric_regex="^test_f1/.*"),
                curve(
                    "dev errors by kind (named entities)", "round", metric_regex="^dev_errors/.*"
                ),
            ],
        ),
        "4. What did a round keep, and how long did it take?": (
            "Few kept rows a round mean that the teacher is unsure, or writes what is there already.",
            [
                curve("rows kept and rejected", "round", "rows/accepted", "rows/rejected"),
                curve("right before it trained on them", "round", "fresh/accuracy"),
                curve("seconds by phase", "round", metric_regex="^seconds/.*"),
            ],
        ),
        "5. What goes wrong, and what did the teacher write about it?": (
            "Each mistake with the texts that were written after it; sort by `confidence` to see the confident ones first.",
            [wr.WeavePanelSummaryTable(table_name="mistakes", layout=wr.Layout(w=24, h=14))],
        ),
        "6. What differs between the runs?": (
            "The settings that differ. The pool of each run is an artifact, pool-<id of the run>, a version a round.",
            [wr.RunComparer(diff_only="split", layout=wr.Layout(w=24, h=14))],
        ),
    }
    runs = wr.Runset(
        project=shown.project, name="runs", filters=f"Group in {json.dumps(list(shown.groups))}"
    )
    blocks: list[Any] = [wr.TableOfContents()]
    for title, (words, panels) in sections.items():
        blocks += [wr.H2(title), wr.P(words), wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(
        project=shown.project,
        entity=shown.entity,
        title=f"tutelage: {', '.join(shown.groups)}"[:128],
        blocks=blocks,
        width="fluid",
    )


def write_dashboard(shown: Reviewed, path: Path) -> Path:
    """Write the layout to ``path``, as JSON in wandb's own form."""
    # The library shows this form to nothing but its own upload, so its version is held below the next minor one.
    spec = json.loads(
        layout(shown)._to_model().spec.model_dump_json(by_alias=True, exclude_none=True)
    )
    RunFolder(path.resolve().parent).write_json(path.name, spec)
    return path


def save_dashboard(shown: Reviewed) -> str:
    """Save the report to the account that is logged in, and return its address.

    Raises:
        RunError: there is no account or no network, or the runs were not sent yet.
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
            f"The dashboard was not saved: {message}. It needs the network and `wandb login`; send the runs first: `wandb sync`."
        ) from error
