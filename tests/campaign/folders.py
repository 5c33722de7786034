"""Compares two run folders file by file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

COSTS = {
    "seconds",
    "wall_seconds",
    "spent",
    "spent_tokens",
    "cached",
    "started",
    "updated",
    "pid",
    "resume_command",
}
"""Keys that a kill may change: times, and what had to be sent again."""

PASSED_OVER = {"teacher", ".lock", ".hydra", "report.html", "figures", "console.log"}
"""The transcript lists every request, and those in flight at a kill are sent twice; the report is
drawn from the other files. The console is a job's output."""


def differences(mine: Path, other: Path) -> list[str]:
    """Return one line for each file that only one folder has, or whose content differs."""
    here, there = _names(mine), _names(other)
    found = [f"{name} is left over" for name in sorted(here - there)]
    found += [f"{name} is missing" for name in sorted(there - here)]
    for name in sorted(here & there):
        ours, theirs = _content(mine / name), _content(other / name)
        if ours != theirs:
            found.append(f"{name} differs{_where(ours, theirs)}")
    return found


def _names(folder: Path) -> frozenset[str]:
    return frozenset(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] not in PASSED_OVER
    )


def _content(path: Path) -> Any:
    if path.suffix == ".json":
        return _without_costs(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".jsonl":
        lines = path.read_bytes().split(b"\n")
        return [_without_costs(json.loads(line)) for line in lines if line.strip()]
    if path.name == "config.yaml":
        # A resumed run was begun with another value of this one setting.
        return [line for line in path.read_bytes().splitlines() if not line.startswith(b"resume:")]
    return path.read_bytes()


def _where(ours: Any, theirs: Any) -> str:
    if not (isinstance(ours, dict) and isinstance(theirs, dict)):
        return ""
    keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    return f" in {', '.join(f'{key} ({ours.get(key)}, {theirs.get(key)})' for key in keys)}"


def _without_costs(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_costs(one) for key, one in value.items() if key not in COSTS}
    if isinstance(value, list):
        return [_without_costs(one) for one in value]
    return value
