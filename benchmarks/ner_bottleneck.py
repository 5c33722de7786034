"""Question: is a student of generated rows held back by its teacher's labels or by its texts?

    python benchmarks/ner_bottleneck.py RUN [RUN ...] [--pool RUN ...]

For each run on Wikigold, new students with the same number of steps are trained on (a) the run's
accepted rows, (b) the same texts with the labels of a judge (a student of all 1,180 gold
sentences), (c) as many gold sentences, drawn by the run's seed. Printed with them: precision and
recall of the run's entities against the judge's. ``--pool`` are runs of ``method=full_pool``: real
sentences with the teacher's labels, as many as the run at the same position has rows. The judge
sees gold labels that no run sees; nothing flows back to a run.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runs import read_lines, train

from tutelage.student.loading import load_student
from tutelage.student.tagging import find_entities
from tutelage.tasks.spans import Span, read_spans, to_tags

_SAMPLE = Path(__file__).parents[1] / "src" / "tutelage" / "data" / "samples" / "wikigold"
_STEPS = ["training.start_epochs=500", "training.start_max_steps=240"]
Sentence = tuple[list[str], list[str]]
"""Words and tags."""


def trained(sentences: Sequence[Sentence], seed: int, folder: Path) -> float:
    """Strict F1 in % of a student of ``sentences``, on Wikigold's test set."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    rows = [json.dumps({"tokens": words, "tags": tags}) for words, tags in sentences]
    (data / "train.jsonl").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    for split, name in (("validation", "dev"), ("test", "test")):
        (data / f"{split}.jsonl").write_bytes((_SAMPLE / f"{name}.jsonl").read_bytes())
    overrides = [
        "task=ner",
        "data=files",
        f"data.path={data}",
        "data.labels=[LOC,MISC,ORG,PER]",
        "data.near_threshold=1",
        "method=supervised",
        *_STEPS,
        f"seed={seed}",
    ]
    return 100 * float(train(folder / "run", overrides)["after"]["f1_strict"])


def marked(student: Path, texts: Sequence[str]) -> list[list[Span]]:
    """The judge's entities in texts whose words are joined by single spaces."""
    network, tokenizer, length = load_student(student)
    found = []
    for predicted in find_entities(network, tokenizer, length, texts):
        spans = []
        for entity in predicted["entities"]:
            first = predicted["text"][: entity["start"]].count(" ")
            spans.append(Span(first, first + entity["text"].count(" ") + 1, entity["label"]))
        found.append(spans)
    return found


def tagged(texts: Sequence[list[str]], spans: Sequence[Sequence[Span]]) -> list[Sentence]:
    """Sentences from words and entities."""
    return [(words, to_tags(own, len(words))) for words, own in zip(texts, spans, strict=True)]


def pool_sentences(run: Path, count: int, seed: int) -> list[Sentence]:
    """Real sentences with the teacher's labels, from a run of ``method=full_pool``."""
    rows = read_lines(run / "pool" / "rows.jsonl")
    rows = [row for row in rows if row["accepted"] and row["source"] == "pool"]
    drawn = random.Random(seed).sample(rows, min(count, len(rows)))
    return tagged(
        [row["text"].split(" ") for row in drawn], [read_spans(row["target"]) for row in drawn]
    )


def main() -> None:
    """Trains missing students and prints a line per run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--pool", type=Path, nargs="*", default=[])
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench-ner-bottleneck"))
    options = parser.parse_args()

    judge = options.folder / "judge"
    gold = [(line["tokens"], line["tags"]) for line in read_lines(_SAMPLE / "pool.jsonl")]
    ceiling = train(judge, ["task=ner", "data=wikigold", "method=supervised", "seed=1"])
    print(f"judge: {100 * ceiling['after']['f1_strict']:.1f} entity F1 on test\n")
    print(
        f"{'run':28s} {'rows':>5s} {'as they are':>12s} {'judge’s labels':>15s} "
        f"{'gold sentences':>15s} {'pool, teacher’s':>16s}   teacher against judge"
    )
    for index, run in enumerate(options.runs):
        # The run's own entities against the judge's, over the generated rows.
        seed = json.loads((run / "manifest.json").read_text())["seed"]
        rows = [row for row in read_lines(run / "pool" / "rows.jsonl") if row["accepted"]]
        texts = [row["text"].split(" ") for row in rows]
        own = [list(read_spans(row["target"])) for row in rows]
        judged = marked(judge / "student", [row["text"] for row in rows])
        grown = [number for number, row in enumerate(rows) if row["source"] != "gold"]
        right = sum(len(set(own[number]) & set(judged[number])) for number in grown)
        precision = right / max(1, sum(len(own[number]) for number in grown))
        recall = right / max(1, sum(len(judged[number]) for number in grown))

        # One student per variant of the training set.
        variants: dict[str, list[Any]] = {
            "own": tagged(texts, own),
            "judged": tagged(texts, judged),
            "gold": random.Random(seed).sample(gold, len(rows)),
        }
        if index < len(options.pool):
            variants["pool"] = pool_sentences(options.pool[index], len(rows), seed)
        scores = {
            name: trained(sentences, seed, options.folder / f"{run.name}-{name}")
            for name, sentences in variants.items()
        }
        pool = f"{scores['pool']:16.1f}" if "pool" in scores else f"{'–':>16s}"
        print(
            f"{run.parent.name + '/' + run.name:28s} {len(rows):5d} {scores['own']:12.1f} "
            f"{scores['judged']:15.1f} {scores['gold']:15.1f} {pool}   "
            f"precision {100 * precision:.0f} %, recall {100 * recall:.0f} %"
        )


if __name__ == "__main__":
    main()
