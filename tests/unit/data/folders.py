"""Small folders of labelled texts on disk, without near duplicates."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

ANIMALS = [
    "badger",
    "curlew",
    "dolphin",
    "gecko",
    "hornet",
    "jackal",
    "lobster",
    "mongoose",
    "osprey",
    "pelican",
    "quokka",
    "weasel",
]
TOOLS = [
    "anvil",
    "bradawl",
    "chisel",
    "drill",
    "gouge",
    "jigsaw",
    "lathe",
    "mattock",
    "pliers",
    "spirit level",
    "toolbox",
    "wrench",
]
Rows = list[dict[str, Any]]


def rows(start: int, stop: int) -> Rows:
    animals = [
        {"text": f"I once saw a {word}, yes a {word}, there", "label": "animal"}
        for word in ANIMALS[start:stop]
    ]
    tools = [
        {"text": f"lend me your {word}, will you, the {word}?", "label": "HandTool"}
        for word in TOOLS[start:stop]
    ]
    return [row for pair in zip(animals, tools, strict=True) for row in pair]


def write(path: Path, content: Rows) -> None:
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(content), path)
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(
                handle, list(content[0]), delimiter="," if path.suffix == ".csv" else "\t"
            )
            writer.writeheader()
            writer.writerows(content)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")


def folder(tmp_path: Path, suffix: str = ".jsonl", **splits: Rows | None) -> Path:
    """Write a folder of three splits; a keyword replaces a split, None leaves it out."""
    content: dict[str, Rows | None] = {
        "train": rows(0, 8),
        "validation": rows(8, 10),
        "test": rows(10, 12),
        **splits,
    }
    for name, split in content.items():
        if split is not None:
            write(tmp_path / f"{name}{suffix}", split)
    return tmp_path
