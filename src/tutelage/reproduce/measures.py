"""What a claim measures of a finished run, read from its folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.errors import RunError
from tutelage.reproduce.claims import Measure
from tutelage.runs.folder import RunFolder


def measured(run: Path, measure: Measure, metric: str) -> float:
    """A measure of the run in ``run``: in [0, 1], an aim in [-1, 1].

    Args:
        metric: the key of the quoted metric that scores are of.

    Raises:
        RunError: the run has no result, or did not measure it.
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
            f"The run in {run} has no {measure} ({metric}); was it done with other overrides?"
        )
    return float(value)


def _aim(folder: RunFolder) -> float:
    """Spearman's correlation over the classes of F1 on dev and the texts asked for next, in the mean over the rounds.

    A round of even quotas, or on equal F1, has no order to follow and counts 0.

    Raises:
        RunError: there was no round.
    """
    from scipy.stats import spearmanr

    stood = {
        line["round"]: line["dev"]["per_class"]
        for line in folder.read_lines("metrics.jsonl")
        if line.get("dev")
    }
    found = []
    for path in sorted((folder.path / "growth").glob("round-*.json")):
        growth: dict[str, Any] = folder.read_json(f"growth/{path.name}") or {}
        before = stood.get(growth["round"] - 1)
        if before is None:
            continue
        asked = dict.fromkeys(before, 0)
        for key, count in growth["quota"].items():
            asked[key.rpartition("/")[0]] += count
        scores, texts = (
            np.array([before[name]["f1"] for name in before]),
            np.array([asked[name] for name in before]),
        )
        level = len(before) < 2 or np.ptp(scores) == 0 or np.ptp(texts) == 0
        found.append(0.0 if level else float(spearmanr(scores, texts).statistic))
    if not found:
        raise RunError(f"The run in {folder.path} grew in no round, so it aimed at nothing.")
    return math.fsum(found) / len(found)
