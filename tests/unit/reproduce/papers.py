"""A small file of claims, whose parts a test exchanges, and runs as they are left."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import yaml

SMALL: dict[str, Any] = {
    "mine": {
        "title": "Mine",
        "scales": {
            "cpu": {
                "overrides": ["shots=1"],
                "seeds": [1, 2],
                "minutes": 2,
                "sets": {
                    "a": {"overrides": ["data=snips"], "metric": "accuracy"},
                    "b": {"overrides": ["data=wikigold", "task=ner"], "metric": "f1_strict"},
                },
            },
            "full": {
                "overrides": [],
                "seeds": [1],
                "gpu": "a large one",
                "sets": {"a": {"overrides": ["data=snips"], "metric": "accuracy"}},
            },
        },
        "arms": {
            "base": {
                "title": "the base",
                "overrides": ["method=evokd"],
                "cpu": ["method.rounds=2"],
                "full": ["method.rounds=9"],
            },
            "less": {
                "title": "less of it",
                "like": "base",
                "overrides": ["ablation=no_easy"],
                "cpu": ["shots=2"],
            },
        },
        "claims": [
            {
                "id": "more",
                "table": "main",
                "says": "The base is better.",
                "mark": "known",
                "kind": "gap",
                "better": ["base"],
                "worse": ["less"],
                "sets": {"cpu": ["a", "b"], "full": ["a"]},
                "chosen": ["all of it"],
            },
            {
                "id": "little",
                "paper": "Less & More, 2020",
                "table": "ablations",
                "says": "It takes <b>little</b>.",
                "mark": "inferred",
                "kind": "value",
                "better": ["base:share"],
                "at_most": 0.25,
                "sets": {"cpu": ["a"]},
                "skipped": {"full": "nobody told how"},
                "chosen": ["a quarter"],
            },
        ],
    }
}


def claims_file(folder: Path, index: str = "", value: Any = None) -> Path:
    """Writes the small file with ``value`` at ``index``, a path like mine/claims/0/kind.

    A value of None removes the entry.
    """
    found: Any = copy.deepcopy(SMALL)
    node, keys = found, [int(key) if key.isdigit() else key for key in index.split("/")]
    for key in keys[:-1]:
        node = node[key]
    if index and value is None:
        del node[keys[-1]]
    elif index:
        node[keys[-1]] = value
    path = folder / "claims.yaml"
    path.write_text(yaml.safe_dump(found, sort_keys=False), encoding="utf-8")
    return path


def write_run(folder: Path, **result: Any) -> Path:
    """A run's folder with this result."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps({"tokens": {"billed": 100}, **result}))
    return folder
