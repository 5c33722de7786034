"""README.md of a student: what it is, how it was made, how good it is, and what it is not for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.assets import EMBEDDED
from tutelage.report.card_facts import CardOptions, common_facts, hub_id, model_name, part
from tutelage.report.intervals import macro_f1_interval, wilson_interval
from tutelage.report.markdown import card_environment, front_matter
from tutelage.report.panels import panel_of
from tutelage.report.summary import class_lines, summary_lines
from tutelage.runs.folder import RunFolder
from tutelage.runs.read import Run, read_run
from tutelage.tasks.protocol import Metric

CARD = "README.md"
"""Name of a card in its folder."""
_PIPELINES = {False: "text-classification", True: "token-classification"}


@dataclass(frozen=True, slots=True)
class ScoreLine:
    """A metric of the student on test.

    Attributes:
        metric: The metric.
        value: Its value, in [0, 1].
        interval: Its 95 % interval; None if it cannot be computed.
        method: Method behind the interval.
    """

    metric: Metric
    value: float
    interval: tuple[float, float] | None
    method: str


def write_student_card(folder: Path) -> None:
    """Write the card of a run's own student, ``student/README.md``.

    What cannot be read of the run is left out.

    Args:
        folder: The folder of a run with its result.

    Raises:
        RunError: The card cannot be written.
    """
    if (folder / "student").is_dir():
        run = read_run(folder, tolerant=True)
        RunFolder(folder).write_text(f"student/{CARD}", model_card(run))


def model_card(
    run: Run,
    options: CardOptions | None = None,
    export: Mapping[str, Any] | None = None,
) -> str:
    """Return the card of a run's student, or of an export of it.

    Args:
        run: A run with its result.
        options: What the user says about the card.
        export: Contents of export.json; None for the run's own student.
    """
    facts = common_facts(run, options or CardOptions())
    student = part(facts["settings"], "student")
    scores = _scores(run)
    base = str((run.manifest.get("student") or {}).get("model") or "")
    facts |= {
        "head": front_matter(_head(facts, scores, base, export)),
        "pipeline": _PIPELINES[facts["is_ner"]],
        "export": export,
        "scores": scores,
        "references": [line for line in summary_lines(run) if line.interval],
        "first": run.headline_metrics[0],
        "classes": [
            (line.label, line.support, line.after or line.before)
            for line in sorted(class_lines(run), key=lambda line: run.labels.index(line.label))
        ],
        "test_texts": len(run.after) or _in_test(run),
        "base": _base(base)[0],
        "max_length": export["max_length"] if export else student.get("max_length") or 128,
        "two_networks": student.get("peers") == 2,
        "own_code": not facts["is_ner"] and student.get("pooling") != "first",
    }
    return card_environment().get_template("model_card.md.j2").render(facts)


def _in_test(run: Run) -> int:
    return int((run.manifest.get("data") or {}).get("test") or 0)


def _base(model: str) -> tuple[str, str]:
    """Return the name of the encoder, and its id on the hub or ""."""
    if model == "embedded":
        return EMBEDDED["student"].name, EMBEDDED["student"].hub_id
    return model_name(model), hub_id(model)


def _scores(run: Run) -> tuple[ScoreLine, ...]:
    line = next(
        (one for one in summary_lines(run) if one.name in ("student after", "student")), None
    )
    if line is None or line.scores is None:
        return ()
    found = []
    for metric in run.headline_metrics:
        value, interval, method = line.scores.value(metric.key), None, ""
        if metric == run.headline_metrics[0] and line.interval:
            interval, method = line.interval, panel_of(run.task).interval_method
        elif metric.key == "accuracy" and run.after:
            interval, method = wilson_interval(value, len(run.after)), "Wilson"
        elif metric.key == "macro_f1" and run.after:
            interval, method = macro_f1_interval(run.after), "bootstrap over the test texts"
        if math.isfinite(value):
            found.append(ScoreLine(metric, value, interval, method))
    return tuple(found)


def _head(
    facts: Mapping[str, Any],
    scores: tuple[ScoreLine, ...],
    base: str,
    export: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the front matter."""
    data, teacher = facts["data"], facts["teacher"]
    task = _PIPELINES[facts["is_ner"]]
    graph = export is not None and export.get("format", "hf") != "hf"
    results = [
        {
            "type": _hub_metric(one.metric.key),
            "value": round(one.value, 4),
            "name": one.metric.title,
        }
        for one in scores
    ]
    tags = ["tutelage", "knowledge-distillation", facts["manifest"].get("method")]
    tags += ["llm-labelled"] if teacher else []
    head = {
        "language": [data.language] if data.language else None,
        "license": facts["options"].license,
        "library_name": "onnx" if graph else "transformers",
        "pipeline_tag": task,
        "tags": [tag for tag in tags if tag],
        "base_model": _base(base)[1],
        "datasets": [data.hub_id] if data.hub_id else None,
        "model-index": [
            {
                "name": facts["name"],
                "results": [
                    {
                        "task": {"type": task},
                        "dataset": {
                            "name": data.name or "test",
                            "type": data.hub_id or data.name or "test",
                            "split": "test",
                        },
                        "metrics": results,
                    }
                ],
            }
        ]
        if results
        else None,
    }
    return {name: value for name, value in head.items() if value}


def _hub_metric(key: str) -> str:
    return "f1" if "f1" in key else key
