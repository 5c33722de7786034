"""Claim: what a run's accepted rows are worth is their label precision and how near they lie to the test texts.

    python benchmarks/pool_quality.py outputs/bench-evokd/*

For each run on SNIPS: the share of its accepted rows whose label agrees with a judge (a logistic regression on MiniLM embeddings of the 2,000
gold texts; its own test accuracy is printed first), by kind, and the coverage: mean cosine of a test text to the nearest accepted row
of its class. Then the test accuracy of a logistic regression on the accepted rows, with their labels and with the judge's: what better
labels on the same texts would be worth. The judge sees gold labels that no run sees; nothing of it flows back.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from tutelage.assets import ensure_asset

SAMPLE = Path(__file__).parents[1] / "src" / "tutelage" / "data" / "samples" / "snips_intent"
Array = NDArray[Any]


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Encoder:
    """Mean-pooled, normalised embeddings of the embedded student, before any training."""

    def __init__(self) -> None:
        from transformers import AutoModel, AutoTokenizer

        folder = ensure_asset("student")
        self._tokenizer, self._model = (
            AutoTokenizer.from_pretrained(folder),
            AutoModel.from_pretrained(folder).eval(),
        )

    def __call__(self, texts: list[str]) -> Array:
        """An array [texts, 384]."""
        import torch

        parts = []
        with torch.inference_mode():
            for start in range(0, len(texts), 64):
                batch = self._tokenizer(
                    texts[start : start + 64],
                    return_tensors="pt",
                    padding=True,
                    truncation=True,
                    max_length=64,
                )
                mask = batch["attention_mask"][..., None]
                mean = (self._model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
                parts.append(torch.nn.functional.normalize(mean, dim=-1).numpy())
        return np.concatenate(parts)


def main() -> None:
    """Print one line a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    encode, gold, test = Encoder(), lines(SAMPLE / "pool.jsonl"), lines(SAMPLE / "test.jsonl")
    runs = parser.parse_args().runs
    judge = LogisticRegression(C=30, max_iter=2000).fit(
        encode([line["text"] for line in gold]), [line["label"] for line in gold]
    )
    indices, classes = (
        encode([line["text"] for line in test]),
        np.array([line["label"] for line in test]),
    )
    print(
        f"the judge is right on {100 * (judge.predict(indices) == classes).mean():.1f} % of the test texts"
    )
    for run in runs:
        rows = [
            row
            for row in lines(run / "pool" / "rows.jsonl")
            if row["accepted"] and row["source"] != "gold"
        ]
        if not rows:
            print(f"{run.name:20s} no grown rows")
            continue
        grown, targets = (
            encode([row["text"] for row in rows]),
            np.array([row["target"] for row in rows]),
        )
        right = judge.predict(grown) == targets
        by_kind: dict[str, list[bool]] = defaultdict(list)
        for row, fine in zip(rows, right, strict=True):
            by_kind[row["source"]].append(bool(fine))
        cosine = np.where(targets[None, :] == classes[:, None], indices @ grown.T, 0.0)
        kinds = ", ".join(
            f"{kind} {100 * np.mean(fine):.0f} %" for kind, fine in sorted(by_kind.items())
        )
        accuracy = [
            100
            * (
                LogisticRegression(C=30, max_iter=2000).fit(grown, labels).predict(indices)
                == classes
            ).mean()
            for labels in (targets, judge.predict(grown))
        ]
        print(
            f"{run.name:12s} {len(rows)} rows, {100 * right.mean():.1f} % right by the judge ({kinds}); coverage "
            f"{cosine.max(axis=1).mean():.3f}; regression {accuracy[0]:.1f} %, with the judge's labels {accuracy[1]:.1f} %"
        )


if __name__ == "__main__":
    main()
