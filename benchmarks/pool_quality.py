"""Question: are the rows of a run limited by their labels or by their texts?

    python benchmarks/pool_quality.py RUN [RUN ...]

For each run on SNIPS: the share of its accepted rows whose label agrees with a judge (a logistic
regression on MiniLM embeddings of the 2,000 gold texts; its own test accuracy is printed first), by
kind, and the coverage: mean cosine of a test text to the nearest accepted row of its class. Then
the test accuracy of a logistic regression on the accepted rows, with their labels and with the
judge's: the gain of better labels on the same texts. The judge sees gold labels that no run sees;
nothing flows back to a run.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from runs import read_lines
from sklearn.linear_model import LogisticRegression

from tutelage.assets import ensure_asset

SAMPLE = Path(__file__).parents[1] / "src" / "tutelage" / "data" / "samples" / "snips_intent"
Array = NDArray[Any]


class Encoder:
    """Mean-pooled, normalised embeddings of the embedded student, before any training."""

    def __init__(self) -> None:
        from transformers import AutoModel, AutoTokenizer

        folder = ensure_asset("student")
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder).eval()

    def __call__(self, texts: list[str]) -> Array:
        """Embeds texts: an array [texts, 384]."""
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


def regression(embeddings: Array, labels: Any) -> LogisticRegression:
    """A fitted logistic regression."""
    return LogisticRegression(C=30, max_iter=2000).fit(embeddings, labels)


def main() -> None:
    """Prints one line per run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    runs = parser.parse_args().runs

    encode = Encoder()
    gold, test = read_lines(SAMPLE / "pool.jsonl"), read_lines(SAMPLE / "test.jsonl")
    judge = regression(encode([one["text"] for one in gold]), [one["label"] for one in gold])
    tests = encode([one["text"] for one in test])
    classes = np.array([one["label"] for one in test])
    accuracy = 100 * (judge.predict(tests) == classes).mean()
    print(f"the judge is right on {accuracy:.1f} % of the test texts")

    for run in runs:
        rows = read_lines(run / "pool" / "rows.jsonl")
        rows = [row for row in rows if row["accepted"] and row["source"] != "gold"]
        if not rows:
            print(f"{run.name:20s} no generated rows")
            continue
        # Labels: agreement with the judge, by kind.
        grown = encode([row["text"] for row in rows])
        targets = np.array([row["target"] for row in rows])
        right = judge.predict(grown) == targets
        by_kind: dict[str, list[bool]] = defaultdict(list)
        for row, agrees in zip(rows, right, strict=True):
            by_kind[row["source"]].append(bool(agrees))
        kinds = ", ".join(
            f"{kind} {100 * np.mean(agree):.0f} %" for kind, agree in sorted(by_kind.items())
        )
        # Texts: distance to the test texts of the same class.
        cosine = np.where(targets[None, :] == classes[:, None], tests @ grown.T, 0.0)
        coverage = cosine.max(axis=1).mean()
        own, judged = (
            100 * (regression(grown, labels).predict(tests) == classes).mean()
            for labels in (targets, judge.predict(grown))
        )
        print(
            f"{run.name:12s} {len(rows)} rows, {100 * right.mean():.1f} % right by the judge "
            f"({kinds}); coverage {coverage:.3f}; regression {own:.1f} %, with the judge's labels "
            f"{judged:.1f} %"
        )


if __name__ == "__main__":
    main()
