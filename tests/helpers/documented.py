"""What docs/reference/run-folder.md says, for the tests that hold runs to it."""

from __future__ import annotations

import re
from pathlib import Path

_DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "run-folder.md"


def documented() -> dict[str, str]:
    """The description of each file, by name, with the keys of its table as a last part in braces.

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
    """Documented files that a finished run lacks, and files in it that are not documented."""
    every = {
        re.escape(name).replace("NNN", r"\d{3}").replace(r"\*", r"[\w-]+"): name
        for name in documented()
    }
    patterns = {
        pattern: name
        for pattern, name in every.items()
        if name not in ("checkpoints/", "selection.jsonl", "wandb/", "wandb-dashboard.json")
    }
    there = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    missing = [
        name
        for pattern, name in patterns.items()
        if not any(re.match(pattern, one) for one in there)
    ]
    # The ceiling's own run lies inside, in the same form.
    unknown = [
        one
        for one in there
        if not one.startswith("supervised/")
        and not any(re.match(pattern, one) for pattern in every)
    ]
    return missing, unknown
