"""Reads docs/reference/run-folder.md, for tests comparing runs with it."""

from __future__ import annotations

import re
from pathlib import Path

_DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "run-folder.md"


_OPTIONAL = (
    "checkpoints/",
    "selection.jsonl",
    "csv/",
    "tensorboard/",
    "mlflow/",
    "wandb/",
    "wandb-dashboard.json",
    "export/",
    "audit.jsonl",
    "audit.json",
    "guarantee.json",
    "review/sample.jsonl",
    "review/tasks.json",
    "review/tasks.xml",
    "review/labels.jsonl",
    "review/gold.jsonl",
    "review/review.json",
)
"""Files of some settings only."""


def documented() -> dict[str, str]:
    """The description of each file by name, followed by its JSON keys in braces.

    "NNN" stands for a number.
    """
    text = _DOCUMENT.read_text(encoding="utf-8")
    found: dict[str, str] = {}
    overview = text.partition("\n## ")[0]
    for cells in re.findall(r"^\| (`.*?`) \| (.*) \|$", overview, flags=re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", cells[0]):
            found["predictions/" + name if name.startswith("test-") else name] = cells[1]
    for name, section in re.findall(r"^### `(.*?)`\n(.*?)(?=^##)", text, flags=re.M | re.S):
        keys = ", ".join(dict.fromkeys(re.findall(r'"\w+"', section)))
        found[name] += f" `{{{keys}}}`"
    return found


def missing_and_unknown(folder: Path) -> tuple[list[str], list[str]]:
    """Documented files missing from a finished run, and its undocumented files."""
    every = {
        re.escape(name).replace("NNN", r"\d{3}").replace(r"\*", r"[\w-]+"): name
        for name in documented()
    }
    patterns = {pattern: name for pattern, name in every.items() if name not in _OPTIONAL}
    there = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    missing = [
        name
        for pattern, name in patterns.items()
        if not any(re.match(pattern, one) for one in there)
    ]
    # supervised/ is a run folder of its own.
    unknown = [
        one
        for one in there
        if not one.startswith("supervised/")
        and not any(re.match(pattern, one) for pattern in every)
    ]
    return missing, unknown
