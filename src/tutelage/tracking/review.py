"""Extracts from a run's folder for review: curves, mistakes with later texts, and a summary."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tutelage.records import Outcome, Row
from tutelage.report.panels import panel_of
from tutelage.runs.read import Run

AXES = ("round", "samples", "billed_tokens")
"""Axes of a curve: rounds, accepted samples, and billed teacher tokens."""

FAMILIES = {
    **dict.fromkeys(("dev", "test", "dev_f1", "test_f1"), "billed_tokens"),
    **dict.fromkeys(("dev_errors", "test_errors", "rows", "seconds", "train", "fresh"), "round"),
}
"""Families of curves by the prefix of their names, with the default axis of each."""

COLUMNS = (
    "round",
    "mistake",
    "right",
    "predicted",
    "confidence",
    "next text",
    "next target",
    "kept",
    "reason",
    "written for",
)
"""Columns of the table of mistakes, with one line per text written after a mistake."""

_NEXT_TEXTS = 3
"""Texts shown per mistake."""


def curves(line: dict[str, Any]) -> dict[str, float]:
    """Flatten one line of metrics.jsonl to numbers.

    Returns:
        The axes, and ``dev/…``, ``test/…``, ``dev_f1/<class>``, ``test_f1/<class>``,
        ``dev_errors/…``, ``test_errors/…``, ``fresh/accuracy``, ``train/loss``, ``rows/…`` and
        ``seconds/…``.
    """
    found: dict[str, float] = {
        "round": line["round"],
        "samples": line["accepted"],
        "billed_tokens": line["billed_tokens"],
        "spent_tokens": line["spent_tokens"],
        "rows/accepted": line["accepted"],
        "rows/rejected": line["rejected"],
    }
    # Scores of each split: its metrics, F1 by class, and for NER errors by kind.
    for split in ("dev", "test"):
        scores = line[split] or {}
        found |= {
            f"{split}/{key}": value
            for key, value in scores.items()
            if isinstance(value, int | float)
        }
        found |= {
            f"{split}_f1/{label}": score["f1"]
            for label, score in scores.get("per_class", {}).items()
        }
        found |= {
            f"{split}_errors/{kind}": count for kind, count in scores.get("errors", {}).items()
        }
    if line["fresh"]:
        found["fresh/accuracy"] = line["fresh"]["accuracy"]
    if line["train_loss"] is not None:
        found["train/loss"] = line["train_loss"]
    return found | {f"seconds/{phase}": value for phase, value in line["seconds"].items()}


def mistakes(run: Run, round: int, most: int) -> list[list[Any]]:
    """Build the table of mistakes of one round: its feedback, and the texts written in response.

    Args:
        run: The run.
        round: The round in which the texts were written.
        most: Maximal number of lines.

    Returns:
        Lines with the columns of :data:`COLUMNS`.
    """
    rows = [row for row in run.rows if row.round == round]
    return list(islice(_mistakes(run, round, rows), most))


def _mistakes(run: Run, round: int, rows: list[Row]) -> Iterator[list[Any]]:
    plain = panel_of(run.task).plain
    for one in run.feedback_for(round):
        mistake = [
            round,
            one.text,
            plain(one.text, one.target),
            plain(one.text, one.predicted),
            one.confidence,
        ]
        # Each mistake gets a few of the texts written for it, or an empty line.
        written = islice(_written_after(run, one, rows), _NEXT_TEXTS)
        found = [
            [row.text, plain(row.text, row.target), row.accepted, row.reason, why]
            for row, why in written
        ]
        yield from ([*mistake, *text] for text in found or [["", "", False, "", ""]])


def _written_after(run: Run, mistake: Outcome, rows: list[Row]) -> Iterator[tuple[Row, str]]:
    """Yield the texts written from the mistake itself, then those for its classes."""
    classes = run.task.classes(mistake.target)
    yield from ((row, "this mistake") for row in rows if mistake.id in row.parents)
    yield from (
        (row, "its class") for row in rows if mistake.id not in row.parents and row.asked in classes
    )


def pool_version(path: Path, rows: int, limit: int) -> dict[str, Any]:
    """Identify a state of the pool by its first ``rows`` lines.

    The pool only ever grows, so this suffices to restore any version.

    Args:
        path: The ledger, pool/rows.jsonl.
        rows: Number of rows in this version.
        limit: Size in bytes above which no hash is computed.

    Returns:
        "rows", "bytes", and "sha256" (None above ``limit``).
    """
    # Later rows may already be in the file; this version consists of the first ones.
    with path.open("rb") as handle:
        lines = list(islice(handle, rows))
    size = sum(map(len, lines))
    digest = hashlib.sha256(b"".join(lines)).hexdigest() if size <= limit else None
    return {"rows": rows, "bytes": size, "sha256": digest}


def summary(run: Run, metric: str | None) -> dict[str, Any]:
    """Return the numbers by which finished runs are compared.

    Args:
        run: A run with a result.
        metric: The metric to optimise (``sweep.metric``); None takes the first headline metric.
    """
    # The score of the sweep first, then all results by stage.
    chosen = metric or run.headline_metrics[0].key
    found: dict[str, Any] = {
        "state": run.state,
        "metric": chosen,
        "score": run.result["after"].get(chosen),
        "rounds": run.result["rounds"],
        "wall_seconds": run.result["wall_seconds"],
    }
    for name in ("before", "after", "supervised", "teacher", "majority"):
        found |= {
            f"{name}/{one.key}": run.result[name].get(one.key)
            for one in run.headline_metrics
            if run.result.get(name)
        }
    # Costs and data, flattened to <group>/<name>.
    for name in ("tokens", "rows", "share_of_data"):
        found |= {
            f"{name}/{key}": value for key, value in run.result[name].items() if value is not None
        }
    if kept := run.result.get("kept"):
        found["kept"] = kept["name"]
    return found | {"stopped_by": run.result["stopped_by"], "pool_hash": run.result["pool_hash"]}


def tags(manifest: dict[str, Any]) -> list[str]:
    """Return the run's tags, such as "method:evokd", each of at most 64 characters."""
    # A model may be a path: its last part is the name.
    student = str(manifest["student"]["model"]).rstrip("/").rsplit("/", 1)[-1]
    selectors = manifest.get("selectors", {})
    parts = {
        "task": manifest["task"],
        "data": manifest["data"]["name"],
        "method": manifest["method"],
        **{stage: option for stage, option in selectors.items() if option != "none"},
        "ablation": manifest["ablation"],
        "student": student,
    }
    # The service accepts at most 64 characters.
    return [f"{name}:{value}"[:64] for name, value in parts.items() if value]


def group_of(folder: Path, name: str) -> str:
    """Return the wandb group of a run.

    This is ``<sweep>/<time>`` for a run inside a sweep's folder, else the run's ``name``.
    """
    above = folder.resolve().parent
    return f"{above.parent.name}/{above.name}" if (above / "jobs").is_dir() else name
