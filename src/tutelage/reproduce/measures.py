"""The measures behind claims, read from the folder of a finished run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.errors import RunError
from tutelage.reproduce.claims import Measure
from tutelage.runs.folder import RunFolder


def measured(run: Path, measure: Measure, metric: str) -> float:
    """Reads a measure of a finished run.

    Args:
        run: The run's folder.
        measure: One of the measures explained in claims.yaml.
        metric: Key of the headline metric of a score.

    Returns:
        A value in [0, 1]; an aim in [-1, 1].

    Raises:
        RunError: The run has no result, or did not take this measure.
    """
    folder = RunFolder(run)
    result: dict[str, Any] = folder.read_json("result.json") or {}
    if measure == "aim":
        return _aim(folder)
    found: dict[str, Any] = {
        "score": result.get("after"),
        "before": result.get("before"),
        "teacher": result.get("teacher"),
        "share": result.get("share_of_data"),
        "rows": result.get("share_of_data"),
    }[measure] or {}
    value = found.get({"share": "unique", "rows": "selections"}.get(measure, metric))
    if value is None:
        raise RunError(
            f"The run in {run} has no {measure} ({metric}). Was it made with other overrides?"
        )
    return float(value)


def _aim(folder: RunFolder) -> float:
    """Spearman's correlation over the classes of F1 on dev and the texts requested next.

    Returns:
        The mean over the rounds. A round of even quotas, or one after equal F1, counts 0: it has
        no order to follow.

    Raises:
        RunError: The run has no round.
    """
    from scipy.stats import spearmanr

    # Scores per class after each round, the start included.
    per_class = {
        line["round"]: line["dev"]["per_class"]
        for line in folder.read_lines("metrics.jsonl")
        if line.get("dev")
    }
    found = []
    for path in sorted((folder.path / "growth").glob("round-*.json")):
        growth: dict[str, Any] = folder.read_json(f"growth/{path.name}") or {}
        before = per_class.get(growth["round"] - 1)
        if before is None:
            continue
        # A quota's key is CLASS/hard or CLASS/easy.
        requested = dict.fromkeys(before, 0)
        for key, count in growth["quota"].items():
            requested[key.rpartition("/")[0]] += count
        scores = np.array([before[name]["f1"] for name in before])
        texts = np.array([requested[name] for name in before])
        # Equal scores or equal numbers of texts have no order.
        level = len(before) < 2 or np.ptp(scores) == 0 or np.ptp(texts) == 0
        found.append(0.0 if level else float(spearmanr(scores, texts).statistic))
    if not found:
        raise RunError(f"The run in {folder.path} has no round of growth, so it has no aim.")
    return math.fsum(found) / len(found)
