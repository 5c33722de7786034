"""Claim: what keeps a student on generated rows below one on gold sentences, its teacher's labels or its texts, by exchanging one at a time.

    python benchmarks/ner_bottleneck.py outputs/bench-ner/evokd-1 outputs/bench-ner/evokd-2 outputs/bench-ner/evokd-3 [--pool RUN …]

For each run on Wikigold: the student trained anew, with the same number of steps, on (a) the run's accepted rows as they are, (b) the same
texts marked by a judge (a student of all 1,180 gold sentences), (c) as many gold sentences drawn by the run's seed. Beside them the precision
and recall of the run's entities against the judge's. ``--pool`` are runs of ``method=full_pool``: real sentences with the teacher's labels,
as many as the run beside it has rows. The judge sees gold labels that no run sees; nothing of it flows back.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evokd_gain import result_of

from tutelage.student.checkpoint import load_student
from tutelage.student.tagging import find_entities
from tutelage.tasks.spans import Span, read_spans, to_tags

_SAMPLE = Path(__file__).parents[1] / "src" / "tutelage" / "data" / "samples" / "wikigold"
_STEPS = ["training.start_epochs=500", "training.start_max_steps=240"]
Sentence = tuple[list[str], list[str]]


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def trained(sentences: Sequence[Sentence], seed: int, folder: Path) -> dict[str, Any]:
    """The result of a student of ``sentences`` on Wikigold's own dev and test."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    rows = [{"tokens": words, "tags": tags} for words, tags in sentences]
    (data / "train.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
    )
    for split, name in (("validation", "dev"), ("test", "test")):
        (data / f"{split}.jsonl").write_bytes((_SAMPLE / f"{name}.jsonl").read_bytes())
    labels = "data.labels=[LOC,MISC,ORG,PER]"
    words = [
        "task=ner",
        "data=files",
        f"data.path={data}",
        labels,
        "data.near_threshold=1",
        "method=supervised",
        *_STEPS,
        f"seed={seed}",
    ]
    return result_of(folder / "run", words)


def marked(student: Path, texts: Sequence[str]) -> list[list[Span]]:
    """The judge's entities of texts whose words are joined by single spaces."""
    network, tokenizer, length = load_student(student)
    found = []
    for predicted in find_entities(network, tokenizer, length, texts):
        spans = []
        for entity in predicted["entities"]:
            first = predicted["text"][: entity["start"]].count(" ")
            spans.append(Span(first, first + entity["text"].count(" ") + 1, entity["label"]))
        found.append(spans)
    return found


def main() -> None:
    """Train what is missing, and print a line a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--pool", type=Path, nargs="*", default=[])
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench-ner-bottleneck"))
    options = parser.parse_args()
    judge = options.folder / "judge"
    gold = [(line["tokens"], line["tags"]) for line in lines(_SAMPLE / "pool.jsonl")]
    ceiling = result_of(judge, ["task=ner", "data=wikigold", "method=supervised", "seed=1"])
    print(f"judge: {100 * ceiling['after']['f1_strict']:.1f} entity F1 on test\n")
    print(
        f"{'run':28s} {'rows':>5s} {'as they are':>12s} {'judge’s labels':>15s} {'gold sentences':>15s} {'pool, teacher’s':>16s}   teacher against judge"
    )
    for index, run in enumerate(options.runs):
        seed = json.loads((run / "manifest.json").read_text())["seed"]
        rows = [row for row in lines(run / "pool" / "rows.jsonl") if row["accepted"]]
        texts = [row["text"].split(" ") for row in rows]
        own = [list(read_spans(row["target"])) for row in rows]
        judged = marked(judge / "student", [row["text"] for row in rows])
        grown = [number for number, row in enumerate(rows) if row["source"] != "gold"]
        right = sum(len(set(own[number]) & set(judged[number])) for number in grown)
        precision = right / max(1, sum(len(own[number]) for number in grown))
        recall = right / max(1, sum(len(judged[number]) for number in grown))
        variants = {
            "own": [
                (words, to_tags(spans, len(words))) for words, spans in zip(texts, own, strict=True)
            ],
            "judged": [
                (words, to_tags(spans, len(words)))
                for words, spans in zip(texts, judged, strict=True)
            ],
            "gold": random.Random(seed).sample(gold, len(rows)),
        }
        if index < len(options.pool):
            drawn = [
                row
                for row in lines(options.pool[index] / "pool" / "rows.jsonl")
                if row["accepted"] and row["source"] == "pool"
            ]
            drawn = random.Random(seed).sample(drawn, min(len(rows), len(drawn)))
            cut = [(row["text"].split(" "), read_spans(row["target"])) for row in drawn]
            variants["pool"] = [(words, to_tags(spans, len(words))) for words, spans in cut]
        scores = {
            name: 100
            * trained(made, seed, options.folder / f"{run.name}-{name}")["after"]["f1_strict"]
            for name, made in variants.items()
        }
        pool = f"{scores['pool']:16.1f}" if "pool" in scores else f"{'–':>16s}"
        print(
            f"{run.parent.name + '/' + run.name:28s} {len(rows):5d} {scores['own']:12.1f} {scores['judged']:15.1f} {scores['gold']:15.1f} {pool}   "
            f"precision {100 * precision:.0f} %, recall {100 * recall:.0f} %"
        )


if __name__ == "__main__":
    main()
