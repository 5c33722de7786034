"""What of a run's folder is shown for review: its curves, the mistakes with what the teacher wrote next, the summary, and where it belongs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tutelage.records import Outcome, Row
from tutelage.report.markings import marked
from tutelage.runs.read import Run
from tutelage.tasks.spans import read_spans

AXES = ("round", "samples", "billed_tokens")
"""What a curve can be drawn against: rounds, accepted samples, billed teacher tokens."""

FAMILIES = {
    **dict.fromkeys(("dev", "test", "dev_f1", "test_f1"), "billed_tokens"),
    **dict.fromkeys(("dev_errors", "test_errors", "rows", "seconds", "train", "fresh"), "round"),
}
"""Of curves by the beginning of their names, with the axis that is shown where no other is chosen."""

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
"""Of the table of mistakes: a line for each text that the teacher wrote after a mistake."""

_NEXT_TEXTS = 3
"""Texts shown with one mistake."""


def curves(line: dict[str, Any]) -> dict[str, float]:
    """The numbers of one line of metrics.jsonl under flat names: axes, ``dev/…``, ``test/…``, ``dev_f1/<class>``, ``rows/…``, ``seconds/…``."""
    found: dict[str, float] = {
        "round": line["round"],
        "samples": line["accepted"],
        "billed_tokens": line["billed_tokens"],
        "spent_tokens": line["spent_tokens"],
        "rows/accepted": line["accepted"],
        "rows/rejected": line["rejected"],
    }
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
    """Lines of the table of mistakes (:data:`COLUMNS`), ``most`` at most: what round ``round`` was aimed at, and what the teacher wrote then."""
    rows = [row for row in run.rows if row.round == round]
    return list(islice(_mistakes(run, round, rows), most))


def _mistakes(run: Run, round: int, rows: list[Row]) -> Iterator[list[Any]]:
    for one in run.feedback_for(round):
        mistake = [
            round,
            one.text,
            _plain(run, one.target, one.text),
            _plain(run, one.predicted, one.text),
            one.confidence,
        ]
        written = islice(_written_after(run, one, rows), _NEXT_TEXTS)
        found = [
            [row.text, _plain(run, row.target, row.text), row.accepted, row.reason, why]
            for row, why in written
        ]
        yield from ([*mistake, *text] for text in found or [["", "", False, "", ""]])


def _written_after(run: Run, mistake: Outcome, rows: list[Row]) -> Iterator[tuple[Row, str]]:
    """Texts written from the mistake itself first, then those for its classes."""
    classes = run.task.classes(mistake.target)
    yield from ((row, "this mistake") for row in rows if mistake.id in row.parents)
    yield from (
        (row, "its class") for row in rows if mistake.id not in row.parents and row.asked in classes
    )


def _plain(run: Run, target: str, text: str) -> str:
    """A target in words; for NER each name with its type."""
    if not run.by_word:
        return target
    return "; ".join(
        f"{piece.text} [{piece.type}]" for piece in marked(text, read_spans(target)) if piece.type
    )


def pool_version(path: Path, rows: int, limit: int) -> dict[str, Any]:
    """Which state of the pool a version is: its first ``rows`` lines, with their size and SHA-256 (None above ``limit`` bytes).

    The pool only ever grows, so this is enough to have any version back.
    """
    with path.open("rb") as handle:
        lines = list(islice(handle, rows))
    size = sum(map(len, lines))
    digest = hashlib.sha256(b"".join(lines)).hexdigest() if size <= limit else None
    return {"rows": rows, "bytes": size, "sha256": digest}


def summary(run: Run, metric: str | None) -> dict[str, Any]:
    """The numbers that a run is compared by, once it is done.

    Args:
        metric: the one that is optimised (sweep.metric); None: the first one quoted.
    """
    chosen = metric or run.headline_metrics[0].key
    found: dict[str, Any] = {
        "state": run.state,
        "metric": chosen,
        "score": run.result["after"].get(chosen),
        "rounds": run.result["rounds"],
        "wall_seconds": run.result["wall_seconds"],
    }
    for name in ("before", "after", "supervised", "teacher"):
        found |= {
            f"{name}/{one.key}": run.result[name].get(one.key)
            for one in run.headline_metrics
            if run.result.get(name)
        }
    for name in ("tokens", "rows", "share_of_data"):
        found |= {
            f"{name}/{key}": value for key, value in run.result[name].items() if value is not None
        }
    if kept := run.result.get("kept"):
        found["kept"] = kept["name"]
    return found | {"stopped_by": run.result["stopped_by"], "pool_hash": run.result["pool_hash"]}


def tags(manifest: dict[str, Any]) -> list[str]:
    """What a run is found by."""
    student = str(manifest["student"]["model"]).rstrip("/").rsplit("/", 1)[-1]
    parts = {
        "task": manifest["task"],
        "data": manifest["data"]["name"],
        "method": manifest["method"],
        "selector": manifest.get("selector"),
        "ablation": manifest["ablation"],
        "student": student,
    }
    # 64 characters are what the service takes.
    return [f"{name}:{value}"[:64] for name, value in parts.items() if value]


def group_of(folder: Path, name: str) -> str:
    """The sweep that a run's folder lies in, as ``<sweep>/<time>``; else the run's ``name``."""
    above = folder.resolve().parent
    return f"{above.parent.name}/{above.name}" if (above / "jobs").is_dir() else name
